#!/usr/bin/env bash
# Finding 4 once more, where more folds: trains three CochCNN9 and three with Hann windows (coch_cnn9.py), makes
# metamers of their logits, and has the networks that `replicate.sh sounds` trained recognise these.
#
#   examples/replication/aliasing.sh DATA [FOLDER]
#
# FOLDER is that of `replicate.sh`. After an interruption the same command resumes. STEPS=N makes N updates of each
# metamer instead of 200.
set -euo pipefail
data=$(realpath "$1") folder=${2:-replication-sounds} here=$(realpath "$(dirname "$0")") seeds=(1 2 3)
mkdir -p "$folder/aliasing/study"
cd "$folder/aliasing"

part() {  # description, command
    SECONDS=0
    "${@:2}"
    echo "$1: $SECONDS s" | tee -a times.txt
}

of_seed() {
    for kind in standard hann; do
        metamery train "$here/../digits/standard.toml" --model "$here/coch_cnn9.py:coch_cnn9" --set "seed=$1" \
            --set "hann=$([ $kind = hann ] && echo true || echo false)" --setting learning_rate=0.1 \
            --stimuli "$data" --seed "$1" -o "$kind-$1"
    done
}

train() {  # the seeds side by side, each with its share of the cores
    local cores=$(($(nproc) / ${#seeds[@]})) running=()
    for seed in "${seeds[@]}"; do
        OMP_NUM_THREADS=$((cores > 0 ? cores : 1)) of_seed "$seed" > "training-$seed.log" 2>&1 &
        running+=($!)
    done
    for each in "${running[@]}"; do wait "$each"; done
}

describe() {
    echo "stimuli = { name = \"folder\", path = \"$data/test\", limit = 50 }"
    echo "null_stimuli = \"$data/test/\""
    echo "null_signals = 400"
    printf '[[models]]\nname = "../%s"\nlayers = ["output"]\n' {standard,hann}-{1,2,3}
    echo "[synthesis]"
    echo "steps = ${STEPS:-200}"
    echo "batch_size = 50"
}

echo "training two networks of each seed, see $PWD/training-*.log"
part training train
describe > study/study.toml
part metamers metamery run study --trust
judges=$(printf '"../%s", ' {random,other}-{1,2,3} | sed 's/, $//')
part recognition metamery evaluate recognition study --set "recognisers=[$judges]" --trust
part "what folds" metamery evaluate character study --trust
python "$here/aliasing.py" study
