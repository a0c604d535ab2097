"""How near does the store of a study come to the disk's bandwidth? Metamers written and read, beside a plain file.

Random pictures of 224 × 224 pixels, which hardly compress, are written in batches of 8 as metamers, with the losses of
200 updates, and read back one batch at a time; and the same bytes to and from one file by NumPy. What was written is
on the disk at the end (fsync of every file). What is read may come from the system's cache, in both. The store
compresses and keeps checksums of chunks. Medians over rounds in which the two take turns.

    python benchmarks/store.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import zarr
from metamery.analysis.synthesis.driver import metamer_group
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, Model
from metamery.framework.folders import RESULTS
from metamery.framework.store import StudyStore
from numpy.typing import NDArray
from table import Benchmark, Column
from torch import nn

SIDE, STEPS, BATCH = 224, 200, 8
GROUP = "models/net/metamers"
COLUMNS = (
    Column("the store", "MB/s", "higher"),
    Column("a plain file", "MB/s", "higher"),
    Column("store / plain file", "×", "higher", limit="a plain file on the same disk"),
)


def regions(count: int) -> Iterator[dict[str, slice]]:
    for first in range(0, count, BATCH):
        yield {"layer": slice(0, 1), "stimulus": slice(first, first + BATCH), "seed": slice(0, 1)}


def write_store(folder: Path, signals: NDArray[np.float32]) -> None:
    model = Model(nn.Identity(), ImageDomain(3, SIDE, SIDE), [""])
    names = [str(index) for index in range(len(signals))]
    settings = resolve_settings("fast", steps=STEPS, batch_size=BATCH)
    store = StudyStore.create(folder, {GROUP: metamer_group(model, [""], names, settings)}, {})
    losses = np.zeros((1, BATCH, 1, STEPS + 1), np.float32)
    for region in regions(len(signals)):
        batch = signals[region["stimulus"]][None, :, None]  # (1, B, 1, C, H, W)
        store.write(GROUP, region, {"signal": batch, "loss": losses})


def read_store(folder: Path, count: int) -> None:
    signals = zarr.open_group(folder / RESULTS, mode="r", use_consolidated=False)[f"{GROUP}/signal"]
    for region in regions(count):
        signals[:, region["stimulus"]]


def synced(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def timed(work: Callable[[], object], folder: Path | None = None) -> float:
    began = time.perf_counter()
    work()
    if folder:
        synced(folder)
    return time.perf_counter() - began


def one_round(folder: Path, signals: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Seconds of writing a store and a file, and of reading them."""
    store, plain = folder / "store", folder / "plain"
    plain.mkdir()
    return (
        timed(lambda: write_store(store, signals), store),
        timed(lambda: signals.tofile(plain / "signals"), plain),
        timed(lambda: read_store(store, len(signals))),
        timed(lambda: np.fromfile(plain / "signals", np.float32)),
    )


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--stimuli", type=int, default=512, help="a multiple of 8")
    benchmark.option("--rounds", type=int, default=5)
    benchmark.option("--folder", type=Path, help="on the disk in question; the system's for temporary files by default")
    given = benchmark.parse()
    benchmark.head("zarr")
    signals = np.random.default_rng(0).random((given.stimuli, 3, SIDE, SIDE), np.float32)
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            rounds.append(one_round(Path(folder), signals))
    table = benchmark.table(f"{given.stimuli} signals, {signals.nbytes / 1e6:,.0f} MB", ["what"], COLUMNS)
    for what, ours, theirs in (("written", 0, 1), ("read", 2, 3)):
        speeds = (signals.nbytes / 1e6 / median(times[which] for times in rounds) for which in (ours, theirs))
        table.row(what, *speeds, median(times[theirs] / times[ours] for times in rounds))


if __name__ == "__main__":
    main()
