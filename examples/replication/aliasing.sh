#!/usr/bin/env bash
# Finding 4 once more, where more folds: trains three CochCNN9 and three with Hann windows (coch_cnn9.py), makes
# metamers of them, and has the networks that `replicate.sh sounds` trained recognise these.
#
#   examples/replication/aliasing.sh DATA [FOLDER]
#
# FOLDER is that of `replicate.sh`. After an interruption the same command resumes. STEPS=N makes N updates of each
# metamer instead of 200.
set -euo pipefail
data=$(realpath "$1") folder=${2:-replication-sounds} here=$(realpath "$(dirname "$0")")
mkdir -p "$folder/aliasing/study"
cd "$folder/aliasing"

part() {  # description, command
    SECONDS=0
    "${@:2}"
    echo "$1: $SECONDS s" | tee -a times.txt
}

train() {  # seed
    for kind in standard hann; do
        metamery train "$here/../digits/standard.toml" --model "$here/coch_cnn9.py:coch_cnn9" --set "seed=$1" \
            --set "hann=$([ $kind = hann ] && echo true || echo false)" --stimuli "$data" --epochs 8 --seed "$1" -o "$kind-$1"
    done
}

describe() {
    echo "stimuli = { name = \"folder\", path = \"$data/test\", limit = 50 }"
    echo "null_stimuli = \"$data/test/\""
    echo "null_signals = 400"
    for network in standard hann; do
        printf "[[models]]\nname = \"../$network-%s\"\nlayers = [\"relu1\", \"relu4\", \"output\"]\n" 1 2 3
    done
    echo "[synthesis]"
    echo "steps = ${STEPS:-200}"
    echo "batch_size = 50"
}

for seed in 1 2 3; do part "training, seed $seed" train "$seed"; done
describe > study/study.toml
part metamers metamery run study --trust
judges=$(printf '"../%s", ' other-{1,2,3} random-{1,2,3} | sed 's/, $//')
part recognition metamery evaluate recognition study --set "recognisers=[$judges]" --trust
part "what folds" metamery evaluate character study --trust
python "$here/aliasing.py" study
