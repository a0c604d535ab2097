#!/usr/bin/env bash
# Trains the networks of one seed: standard, adversarial, on random perturbations of the same size, with Hann windows in
# place of strides and pools; and networks of other architectures, which only recognise.
#
#   examples/replication/train.sh pictures|sounds DATA FOLDER SEED
#
# KINDS="standard hann" trains only these.
set -euo pipefail
kind=$1 data=$2 folder=$3 seed=$4 digits=$(dirname "$0")/../digits

run() {  # name, recipe, model, further options
    [[ " ${KINDS:-$1} " == *" $1 "* ]] || return 0
    SECONDS=0
    echo "$1-$seed"
    metamery train "$2" --model "$3" --set "seed=$seed" --stimuli "$data" --seed "$seed" -o "$folder/$1-$seed" "${@:4}"
    echo "$1-$seed: $SECONDS s"
}

if [ "$kind" = pictures ]; then
    common=(--epochs 12 --setting schedule=cosine --setting warmup=1 --setting 'augment=["flip", "crop"]')
    run standard standard cifar-resnet20 "${common[@]}"
    run random random-linf cifar-resnet20 "${common[@]}" --setting perturbation_options.epsilon=0.0157
    run hann standard cifar-resnet20 "${common[@]}" --antialias hann
    run other standard small-cnn "${common[@]}" --setting learning_rate=0.05
    run adversarial fast cifar-resnet20 "${common[@]}" --setting perturbation_options.epsilon=0.0157 \
        --setting perturbation_options.step_size=0.0196 --setting check_options.epsilon=0.0157 --setting learning_rate=0.1
else
    network=$(realpath "$(dirname "$0")")/coch_resnet20.py:coch_resnet20
    run standard "$digits/standard.toml" "$network"
    run random "$digits/random.toml" "$network"
    run hann "$digits/standard.toml" "$network" --antialias hann
    run other "$digits/standard.toml" coch-cnn-digits --set front_end=mel
    run adversarial "$digits/adversarial.toml" "$network"
fi
