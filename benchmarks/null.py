"""How long does the null of a million pairs take, beside its bare arithmetic, and how much memory?

For each layer of EfficientNet-Lite0: the time for all pairs of the signals beyond the forward passes, which are
shared by all layers, and of that

bare        what no null can do without: two float64 products of the K × D matrix of activations with itself, for
            Pearson's r and Spearman's ρ, of which symmetry leaves a half to compute, and a sort of each of its rows,
            of values that are in memory and have their positions packed with them into integers, which NumPy sorts
            fastest. Some columns and the rows of some signals are timed, right after the layer's null, and taken as
            often as needed. Where other programs run meanwhile, the ratio by processor time is steadier; it means
            something with one thread alone;
one by one  what the same pairs would take one after the other, of which a sample is timed.

At the end the largest memory the process had. Without a folder of pictures, ``CLASS/FILE``, the signals are coarse
random ones.

    python benchmarks/null.py FOLDER
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from metamery.analysis import null_distribution
from metamery.analysis.proof.measures import NULL_METRICS, measure, snr_db
from metamery.analysis.proof.pairs import BLOCK_BYTES, add_products
from metamery.framework import Model, Plugins, Stimuli, Stimulus, Tap
from metamery.framework.progress import Progress
from metamery.framework.running import channels_last, frozen
from numpy.typing import NDArray
from table import Benchmark, Column

Seconds = NDArray[np.float64]
"""By the clock, and of the processor."""

SAMPLE = 24  # signals whose rows are sorted, and whose pairs are taken one by one
PAIRS = "null: pairs at "
COLUMNS = (
    Column("units", "", ""),
    Column("all pairs", "s"),
    Column("bare", "s", ""),
    Column("of which sorting", "s", ""),
    Column("all pairs / bare", "×", limit="bare matrix products and sort"),
    Column("by processor time", "×", ""),
    Column("one by one", "h", ""),
    Column("one by one / all pairs", "×", "higher", peer="pairs one by one"),
    *(Column(f"largest {metric}", "", "") for metric in NULL_METRICS),
)


class Coarse:
    """Random pictures of 8 × 8 squares, made when they are read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Stimulus:
        coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(index))
        return Stimulus(torch.nn.functional.interpolate(coarse, size=224)[0], name=str(index))


def now() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


class Clock(Progress):
    """Notes how long each part of the work takes; what `between` does before the next part is not in it."""

    def __init__(self, between: Callable[[str], None]) -> None:
        self.seconds: dict[str, Seconds] = {}
        self._between, self._part, self._began = between, "", now()

    def start(self, total: int, description: str = "") -> None:
        self.describe(description)

    def describe(self, description: str) -> None:
        self.seconds[self._part] = now() - self._began
        self._between(self._part)
        self._part, self._began = description, now()


def activations(model: Model, stimuli: Stimuli, layer: str) -> torch.Tensor:
    """Rows of the first signals, ``(SAMPLE, D)``."""
    signals = torch.stack([model.domain.fit(stimuli[index]) for index in range(SAMPLE)])
    with (
        torch.no_grad(),
        frozen(model.module),
        channels_last(model.module, model.domain),
        Tap(model.module, [layer]) as tap,
    ):
        return tap(signals)[layer].flatten(1).contiguous()


def bare(rows: torch.Tensor, count: int) -> tuple[Seconds, Seconds]:
    """Seconds for the products and for the sort of `count` rows like these."""
    width = rows.shape[1]
    block = torch.rand(count, min(width, BLOCK_BYTES // (4 * count)), dtype=torch.float64)
    gram = torch.zeros(count, count, dtype=torch.float64)
    product = timed(lambda: add_products(gram, block))
    packed = (rows.numpy().view(np.int32).astype(np.int64) << 32) | np.arange(width)
    return 2 * product * width / block.shape[1], timed(lambda: np.sort(packed, axis=1)) * count / len(rows)


def timed(work: Callable[[], object]) -> Seconds:
    """Median seconds of five times, after one."""
    times = []
    for _ in range(6):
        began = now()
        work()
        times.append(now() - began)
    return np.median(times[1:], axis=0)


def one_by_one(rows: torch.Tensor) -> float:
    """Seconds for one pair, both orders, without the forward passes."""
    began = time.perf_counter()
    for one, two in zip(rows[:-1, None], rows[1:, None], strict=True):
        measure(one, two)
        snr_db(two, one)
    return (time.perf_counter() - began) / (len(rows) - 1)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("folder", type=Path, nargs="?")
    benchmark.option("--signals", type=int, default=1415)
    benchmark.option("--layers", nargs="+", help="the model's own by default")
    benchmark.option("--scratch", type=Path, help="where activations are kept meanwhile")
    given = benchmark.parse()
    benchmark.head()
    plugins = Plugins(installed=())
    model: Model = plugins.load("model", "efficientnet-lite0")
    stimuli = plugins.load("stimuli", "folder", path=str(given.folder)) if given.folder else Coarse(given.signals)
    layers = given.layers or list(model.layers)
    limits: dict[str, tuple[int, Seconds, Seconds, float]] = {}

    def measure_limits(part: str) -> None:
        if (layer := part.removeprefix(PAIRS)) in layers:
            rows = activations(model, stimuli, layer)
            limits[layer] = rows.shape[1], *bare(rows, min(given.signals, len(stimuli))), one_by_one(rows)

    null_distribution(model, Coarse(4), layers[:1])  # what is done once is not of interest
    clock = Clock(measure_limits)
    null = null_distribution(model, stimuli, layers, signals=given.signals, progress=clock, scratch=given.scratch)
    clock.describe("")
    pairs = null.attrs["pairs"]
    benchmark.note(f"near-duplicates left out: {', '.join(null.attrs['left_out']) or 'none'}")
    parts = Column("reading the signals, and near-duplicates", "s"), Column("forward passes, all layers", "s")
    shared = (clock.seconds[f"null: {part}"][0] for part in ("reading signals", "activations"))
    benchmark.table(f"{null.attrs['signals']:,} signals, {pairs:,} pairs", ["of"], parts).row("the null", *shared)
    table = benchmark.table(f"The null of {pairs:,} pairs", ["layer"], COLUMNS)
    for layer in layers:
        together, (units, products, sorting, one) = clock.seconds[PAIRS + layer], limits[layer]
        least, slowly = products + sorting, pairs * one
        maxima = (float(null["maximum"].sel(layer=layer, metric=metric)) for metric in NULL_METRICS)
        ratios = *(together / least), slowly / 3600, slowly / together[0]
        table.row(layer, units, together[0], least[0], sorting[0], *ratios, *maxima)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    benchmark.table("Memory of the process", ["of"], [Column("at most", "GiB")]).row("the null", peak)


if __name__ == "__main__":
    main()
