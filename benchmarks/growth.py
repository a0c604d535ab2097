"""How do the time and the memory of a synthesis grow with its stimuli, its layers and the size of its signals?

A small network of convolutions that keep the size of the picture, each followed by ReLUs, of which any number can be
matched at about the same cost. `synthesise` makes metamers of random pictures with the preset `fast`, in batches of 8.
One of the three numbers is varied, the others stay at 8 stimuli, 1 layer and a side of 64 pixels. Each point has a
process of its own: its time is that of a second call, after a short one, its memory the peak above what it held before
(VmHWM; on Linux alone). The last column is the time that one update of one signal took.

With few updates the match shows, too: it is measured at all layers for each of them, so its cost grows with the square
of their number.

    python benchmarks/growth.py    about five minutes on two cores
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import torch
from memory import forget_peak, peak
from metamery.analysis import synthesise
from metamery.framework import ImageDomain, Model, Stimulus
from table import Benchmark, Column
from torch import nn

FIXED = {"stimuli": 8, "layers": 1, "side": 64}
BATCH = 8
RELUS = 16
FIRST_RELU = 3  # index of the first of those that can be matched
COLUMNS = (Column("time", "s"), Column("memory", "MB"), Column("an update of one signal", "ms"))


def network(side: int) -> Model:
    torch.manual_seed(0)
    convolutions = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    behind = nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    module = nn.Sequential(*convolutions, *(nn.ReLU() for _ in range(RELUS)), *behind)
    return Model(module.eval(), ImageDomain(3, side, side), relus(1))


def relus(count: int) -> list[str]:
    """Names of the last ReLUs of the network."""
    return [str(FIRST_RELU + number) for number in range(RELUS - count, RELUS)]


def measured(stimuli: int, layers: int, side: int, steps: int) -> list[float]:
    """Figures of one point, in the order of `COLUMNS`."""
    model = network(side)
    generator = torch.Generator().manual_seed(0)
    pictures = [Stimulus(torch.rand(3, side, side, generator=generator), name=str(n)) for n in range(stimuli)]

    synthesise(model, pictures[:1], relus(1), "fast", steps=2)
    before, began = forget_peak(), time.perf_counter()
    synthesise(model, pictures, relus(layers), "fast", steps=steps, batch_size=BATCH)
    seconds = time.perf_counter() - began
    return [seconds, peak() - before, seconds / steps / stimuli / layers * 1e3]


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--stimuli", type=int, nargs="+", default=[8, 32, 128, 512])
    benchmark.option("--layers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    benchmark.option("--sides", type=int, nargs="+", default=[32, 64, 128, 256], help="of the pictures, in pixels")
    benchmark.option("--steps", type=int, default=50, help="updates")
    benchmark.option("--point", type=json.loads, help="that this process measures")
    given = benchmark.parse()
    if given.point:
        print(json.dumps(measured(**given.point, steps=given.steps)))
        return
    benchmark.head()
    known: dict[str, list[float]] = {}
    for varied, values in (("stimuli", given.stimuli), ("layers", given.layers), ("side", given.sides)):
        table = benchmark.table(f"Growth with {varied}", [varied], COLUMNS, across=varied)
        for value in values:
            point = json.dumps({**FIXED, varied: value})
            if point not in known:
                command = [sys.executable, __file__, "--point", point, "--steps", str(given.steps)]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                known[point] = json.loads(said)
            table.row(value, *known[point])


if __name__ == "__main__":
    main()
