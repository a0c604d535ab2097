#!/usr/bin/env bash
# The paper in miniature: trains fifteen small networks, three of each kind, makes metamers of twelve of them at every
# layer, has every other network recognise them, and prints which findings of Feather et al. (2023) replicate.
#
#   examples/replication/replicate.sh pictures|sounds DATA [FOLDER]
#
# DATA holds train/CLASS/FILE and test/CLASS/FILE: CIFAR-10's pictures, or spoken digits. After an interruption the same
# command resumes. Each part prints how long it took. STEPS=N makes N updates of each metamer instead of 300; SEEDS="1 2"
# trains two networks of each kind.
set -euo pipefail
kind=$1 data=$(realpath "$2") folder=${3:-replication-$1} here=$(realpath "$(dirname "$0")") steps=${STEPS:-300}
read -ra seeds <<< "${SEEDS:-1 2 3}"
mkdir -p "$folder/study" "$folder/prior"
cd "$folder"

part() {  # description, command
    SECONDS=0
    "${@:2}"
    echo "$1: $SECONDS s" | tee -a times.txt
}

train() {  # the seeds side by side, each with its share of the cores
    local cores=$(($(nproc) / ${#seeds[@]})) running=()
    for seed in "${seeds[@]}"; do
        OMP_NUM_THREADS=$((cores > 0 ? cores : 1)) "$here/train.sh" "$kind" "$data" . "$seed" > "training-$seed.log" 2>&1 &
        running+=($!)
    done
    for each in "${running[@]}"; do wait "$each"; done
}

named() {  # kinds; their networks
    for name in "$@"; do printf "$name-%s\n" "${seeds[@]}"; done
}

listed() {  # networks, as an option
    printf '"%s", ' "$@" | sed 's/, $//; s/.*/recognisers=[&]/'
}

describe() {  # networks
    echo "stimuli = { name = \"folder\", path = \"$data/test\", limit = 100 }"
    echo "null_stimuli = \"$data/test/\""
    echo "null_signals = 400"
    printf "[[models]]\nname = \"../%s\"\n${layers:+layers = [\"$layers\"]\n}" "$@"
    echo "[synthesis]"
    echo "steps = $steps"
    echo "batch_size = 100"
}

echo "training five networks of each seed, see $PWD/training-*.log"
part training train
mapfile -t made < <(named standard random hann adversarial)
mapfile -t standard < <(named standard)
mapfile -t others < <(named other)
describe "${made[@]}" > study/study.toml
{
    layers=output describe "${standard[@]}"  # finding 6 is about the logits
    echo "total_variation = 1.0"
    echo "bounds = 0.01"
} > prior/study.toml
part metamers metamery run study --trust
part "metamers with a prior" metamery run prior --trust
part recognition metamery evaluate recognition study --set "$(listed "${others[@]}")" --trust
mapfile -t asked < <(named random hann adversarial other)
part "recognition with a prior" metamery evaluate recognition prior --set "$(listed "${asked[@]}")" --trust
part contrast metamery evaluate contrast study --set limit=30 --trust
part accuracy metamery evaluate accuracy "${made[@]}" "${others[@]}" -o evaluation --trust
python "$here/findings.py" .
