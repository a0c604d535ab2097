"""What of a metamer depends on the batch it was made in? The same metamers, one at a time and several at once.

A network rounds otherwise where it works on another number of signals at once, and descent then amplifies that. For
layers of EfficientNet-Lite0: how far the losses are apart after some updates, as a share of the loss; how far the final
signals are (their range is [0, 1]); the final losses themselves; and on how many of the verdicts (label, match, success
against the null of the bundled photographs) both ways agree. Two seeds in place of two batch sizes are the yardstick.
Last, the first photograph is made again with other mates, and at another index, in batches of the same size.

``python benchmarks/batch_size.py --threads 1``
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import xarray as xr
from metamery.analysis import judge, null_distribution, synthesise
from metamery.framework import Model, Plugins, Stimulus
from table import Benchmark, Column, Table

LAYERS = ("_blocks.1", "_blocks.8", "output")
EARLY = (0, 1, 5, 20)
VERDICTS = ("agrees", "matches", "success")
APART = (
    *(Column(f"losses apart after {step}", "", "") for step in (*EARLY, "all")),
    Column("median final loss of one", "", ""),
    Column("and of the other", "", ""),
    Column("largest ratio of a pair", "", ""),
    Column("signals: largest difference", "", ""),
    Column("and mean", "", ""),
    *(Column(f"equal: {name}", "share", "") for name in VERDICTS),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--layers", default=",".join(LAYERS), help="between commas")
    benchmark.option("--limit", type=int, default=4, help="photographs, and the larger batch")
    benchmark.option("--steps", type=int, default=200)
    arguments = benchmark.parse()
    benchmark.head()
    layers, count, steps = arguments.layers.split(","), arguments.limit, arguments.steps
    plugins = Plugins(installed=())
    model = plugins.load("model", "efficientnet-lite0")
    photographs = plugins.load("stimuli", "natural")
    some = [photographs[index] for index in range(2 * count - 1)]
    made = {}
    table = benchmark.table("Making the metamers", ["batches of"], [Column("time", "s")])
    for size in (1, count):
        began = time.perf_counter()
        made[size] = synthesise(model, some[:count], layers, steps=steps, seeds=2, batch_size=size)
        table.row(size, time.perf_counter() - began)
    null = null_distribution(model, photographs, layers)
    judged = {size: found.merge(judge(found, null)) for size, found in made.items()}
    table = benchmark.table(f"How far apart after {steps} updates", ["layer", "between"], APART)
    for layer in layers:
        one, many = (found.sel(layer=layer) for found in judged.values())
        tell(table, layer, f"batches of 1 and {count}", one, many)
        tell(table, layer, "two seeds", one.isel(seed=0), one.isel(seed=1))
    table = benchmark.table(
        f"The first photograph again, in batches of {count}: the same bits?", ["mates"], [Column(n) for n in layers]
    )
    table.row("other mates", *same_with(model, [some[0], *some[count:]], made[count], layers, steps))
    table.row("others, last in the batch", *same_with(model, [*some[count:], some[0]], made[count], layers, steps))


def tell(table: Table, layer: str, what: str, one: xr.Dataset, other: xr.Dataset) -> None:
    """Print how far two ways of making the same metamers are apart."""
    losses = [found.loss.values.reshape(-1, found.sizes["step"]) for found in (one, other)]  # (N, step)
    apart = np.abs(losses[0] - losses[1]) / losses[0]
    last = losses[0].shape[1] - 1
    ends = [values[:, -1] for values in losses]
    ratio = np.maximum(ends[0] / ends[1], ends[1] / ends[0]).max()
    moved = np.abs(one.signal.values - other.signal.values)
    early = [apart[:, step].max() if step <= last else None for step in (*EARLY, last)]
    medians = (np.median(values) for values in ends)
    equal = [np.mean(one[name].values == other[name].values) for name in VERDICTS]
    table.row(layer, what, *early, *medians, ratio, moved.max(), moved.mean(), *equal)


def same_with(
    model: Model, mates: Sequence[Stimulus], before: xr.Dataset, layers: Sequence[str], steps: int
) -> list[str]:
    """Say whether the first photograph's metamers come out bit for bit in another company."""
    again = synthesise(model, mates, layers, steps=steps, batch_size=len(mates))
    first = before.stimulus.values[0]
    equal = [
        np.array_equal(*(found.signal.sel(layer=layer, stimulus=first, seed=0).values for found in (again, before)))
        for layer in layers
    ]
    return ["equal" if same else "not equal" for same in equal]


if __name__ == "__main__":
    main()
