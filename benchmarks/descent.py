"""How low does the loss get, by Adam's β₂ and by the distance that is lowered? `fast` with each, side by side.

EfficientNet-Lite0, scikit-image's photograph `chelsea`, the start and the schedule of `fast`. The loss is the relative
L2 at the layer after the last update, whatever is lowered.

    python benchmarks/descent.py                  2,000 and 6,000 updates at three layers: an hour or two on one core
    python benchmarks/descent.py --layers _blocks.8 --updates 6000 --betas 0.9 0.99
"""

from __future__ import annotations

import torch
from metamery.analysis import synthesise
from metamery.analysis.proof.distances import relative_l2
from metamery.framework import Plugins
from synthesis import LAYERS, activations
from table import Benchmark, Column


def squared(found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return relative_l2(found, targets) ** 2


DISTANCES = {"relative L2": relative_l2, "its square": squared}
COLUMNS = (Column("loss"), Column("loss / the first", "×", ""))


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    benchmark.option("--updates", type=int, nargs="+", default=[2000, 6000])
    benchmark.option("--betas", type=float, nargs="+", default=[0.9, 0.99, 0.999], help="beginning with that of `fast`")
    given = benchmark.parse()
    model = Plugins(installed=()).load("model", "efficientnet-lite0")
    stimulus = Plugins(installed=()).load("stimuli", "natural")[0]
    benchmark.head()
    table = benchmark.table("Loss after all updates", ["layer", "updates", "distance", "β₂"], COLUMNS)
    for layer in given.layers:
        target = activations(model, layer, model.domain.fit(stimulus)[None])
        for updates in given.updates:
            first = None
            for name, distance in DISTANCES.items():
                for beta2 in given.betas:
                    changes = {"steps": updates, "optimizer_options": {"beta2": beta2}}
                    made = synthesise(model, [stimulus], [layer], "fast", distance=distance, **changes)
                    signal = torch.from_numpy(made["signal"].values[0, :, 0])
                    loss = float(relative_l2(activations(model, layer, signal), target))
                    first = first or loss
                    table.row(layer, updates, name, beta2, loss, loss / first)


if __name__ == "__main__":
    main()
