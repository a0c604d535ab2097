#!/usr/bin/env bash
# Accuracy of coch-cnn-digits on a speaker who is not in its training data: leaves out each speaker in turn.
#
#   examples/digits/speakers.sh DATA [FOLDER]
#
# DATA holds train/WORD/SPEAKER_NN.wav and test/WORD/SPEAKER_NN.wav of the Free Spoken Digit Dataset. The measured
# weights are the best ones on the test clips of the other speakers.
set -euo pipefail
data=$(realpath "$1") folder=${2:-speakers} here=$(dirname "$0")
mkdir -p "$folder"
folder=$(realpath "$folder")

for speaker in $(ls "$data"/test/* | sed -n 's/_.*wav$//p' | sort -u); do
    own=$folder/$speaker
    for part in train test; do
        for word in "$data/$part"/*/; do
            mkdir -p "$own/others/$part/$(basename "$word")" "$own/own/$(basename "$word")"
            for clip in "$word"*.wav; do
                case $(basename "$clip") in
                    "$speaker"_*) ln -sf "$clip" "$own/own/$(basename "$word")/${part}_$(basename "$clip")" ;;
                    *) ln -sf "$clip" "$own/others/$part/$(basename "$word")/" ;;
                esac
            done
        done
    done
    echo "$speaker"
    metamery train "$here/standard.toml" --model coch-cnn-digits --stimuli "$own/others" -o "$own/run"
    metamery evaluate accuracy "$own/run" --stimuli "$own/own" -o "$own/evaluation"
done
