#!/usr/bin/env bash
# Trains and compares four small networks for CIFAR-10, with the same number of updates: standard, adversarial
# (Linf 8/255), on random perturbations of the same size, and with blur pooling. After an interruption it resumes.
#
#   examples/robustness.sh [DATA [FOLDER]]
#
# DATA is a folder with train/CLASS/FILE and test/CLASS/FILE, or a name such as torchvision/CIFAR10, which is downloaded.
# The runs and an evaluation with its report go to FOLDER.
set -euo pipefail
data=${1:-torchvision/CIFAR10} folder=${2:-robustness}

run() {  # recipe, name, further options
    echo "$2"
    metamery train "$1" --model small-cnn --stimuli "$data" --epochs 8 --setting learning_rate=0.05 \
        --setting schedule=cosine --setting warmup=1 "${@:3}" -o "$folder/$2"
}

run standard standard
run random-linf random
run standard blurred --antialias blur3
run adversarial-linf adversarial

measure() {  # evaluator, further options
    metamery evaluate "$1" "$folder"/{standard,random,blurred,adversarial} "${@:2}" -o "$folder/evaluation"
}

measure accuracy
measure shift-consistency
measure robustness --limit 1000
if python -c "import torchattacks" 2> /dev/null; then
    measure autoattack --limit 200
else
    echo "torchattacks is not installed, so AutoAttack is left out"
fi
