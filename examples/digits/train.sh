#!/usr/bin/env bash
# Trains the weights that come with coch-cnn-digits, and measures them.
#
#   examples/digits/train.sh DATA [FOLDER]
#
# DATA holds train/WORD/SPEAKER_NN.wav and test/WORD/SPEAKER_NN.wav of the Free Spoken Digit Dataset.
set -euo pipefail
data=$1 folder=${2:-digits} here=$(dirname "$0")

run() {  # recipe, name, model
    echo "$2"
    metamery train "$here/$1.toml" --model "$3" --stimuli "$data" -o "$folder/$2"
}

run standard standard coch-cnn-digits
run adversarial adversarial coch-cnn-digits
run standard hann coch-cnn-digits-hann

measure() {  # evaluator, further options
    metamery evaluate "$1" "$folder"/{standard,adversarial,hann} "${@:2}" -o "$folder/evaluation"
}

measure accuracy
measure accuracy-in-noise
measure robustness --limit 100 --set norm=l2 --set epsilons=[0.1,0.5] --set apgd_steps=25
measure shift-consistency --set edges=zero
