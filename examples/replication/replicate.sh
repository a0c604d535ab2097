#!/usr/bin/env bash
# The paper in miniature: trains ten small networks, two of each kind, makes metamers of eight of them at every layer, has
# every other network recognise them, and prints which findings of Feather et al. (2023) replicate.
#
#   examples/replication/replicate.sh pictures|sounds DATA [FOLDER]
#
# DATA holds train/CLASS/FILE and test/CLASS/FILE: CIFAR-10's pictures, or spoken digits. After an interruption the same
# command resumes. Each part prints how long it took. STEPS=N makes N updates of each metamer instead of 300.
set -euo pipefail
kind=$1 data=$(realpath "$2") folder=${3:-replication-$1} here=$(realpath "$(dirname "$0")") steps=${STEPS:-300}
mkdir -p "$folder/study" "$folder/prior"
cd "$folder"

part() {  # description, command
    SECONDS=0
    "${@:2}"
    echo "$1: $SECONDS s" | tee -a times.txt
}

both_seeds() {  # side by side, each with half of the cores
    local cores=$(($(nproc) / 2)) seeds=()
    for seed in 1 2; do
        OMP_NUM_THREADS=$((cores > 0 ? cores : 1)) "$here/train.sh" "$kind" "$data" . "$seed" > "training-$seed.log" 2>&1 &
        seeds+=($!)
    done
    for seed in "${seeds[@]}"; do wait "$seed"; done
}

describe() {  # networks
    echo "stimuli = { name = \"folder\", path = \"$data/test\", limit = 100 }"
    echo "null_stimuli = \"$data/test/\""
    echo "null_signals = 400"
    printf '[[models]]\nname = "../%s"\n' "$@"
    echo "[synthesis]"
    echo "steps = $steps"
    echo "batch_size = 100"
}

echo "training ten networks, see $PWD/training-1.log and training-2.log"
part training both_seeds
made=({standard,random,hann,adversarial}-{1,2})
describe "${made[@]}" > study/study.toml
{
    describe standard-{1,2}
    echo "total_variation = 1.0"
    echo "bounds = 0.01"
} > prior/study.toml
part metamers metamery run study --trust
part "metamers with a prior" metamery run prior --trust
asked='recognisers=["other-1", "other-2"]'
part recognition metamery evaluate recognition study --set "$asked" --trust
asked='recognisers=["random-1", "random-2", "hann-1", "hann-2", "adversarial-1", "adversarial-2", "other-1", "other-2"]'
part "recognition with a prior" metamery evaluate recognition prior --set "$asked" --trust
part contrast metamery evaluate contrast study --set limit=30 --trust
part accuracy metamery evaluate accuracy "${made[@]}" other-{1,2} -o evaluation --trust
python "$here/findings.py" .
