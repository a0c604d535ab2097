#!/usr/bin/env bash
# How often independently trained networks recognise the metamers of each layer of coch-cnn-digits, of its
# adversarially trained and of its anti-aliased variant.
#
#   examples/digits/recognition.sh DATA [FOLDER]
#
# DATA holds train/WORD/SPEAKER_NN.wav and test/WORD/SPEAKER_NN.wav of the Free Spoken Digit Dataset. The stimuli are
# one test clip of each word and speaker.
set -euo pipefail
data=$(realpath "$1") folder=${2:-recognition} here=$(realpath "$(dirname "$0")")
mkdir -p "$folder/study"
cd "$folder"

for clip in "$data"/test/*/*_00.wav; do
    word=$(basename "$(dirname "$clip")")
    mkdir -p "stimuli/$word"
    ln -sf "$clip" "stimuli/$word/"
done

run() {  # name, model, further options
    echo "$1"
    metamery train "$here/standard.toml" --model "$2" --stimuli "$data" --seed 1 -o "$1" "${@:3}"
}

run again coch-cnn-digits --set seed=1             # the same network, from other weights
run mel coch-cnn-digits --set front_end=mel        # another front end
run waveform "$here/m5.py:m5"                      # another architecture, without a front end

cat > study/study.toml <<END
stimuli = "../stimuli/"
null_stimuli = "$data/test/"

[[models]]
name = "coch-cnn-digits"

[[models]]
name = "coch-cnn-digits-adversarial"

[[models]]
name = "coch-cnn-digits-hann"

[synthesis]
steps = 300
batch_size = 50
END
metamery run study
metamery evaluate recognition study --set 'recognisers=["again","mel","waveform"]' --set siblings=false --trust
