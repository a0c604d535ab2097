"""How much faster are several workers? Updates a second of a study with 1, 2, … local workers of Dask.

Each number of workers makes the same study, of units that use one core each, from the first unit that is made to the
last, without the start of the processes; rounds alternate. All stores are compared byte for byte.

    OMP_NUM_THREADS=1 python benchmarks/workers.py --workers 1 2 --rounds 3
"""

from __future__ import annotations

import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from metamery.analysis import run_study
from metamery.framework import Study
from metamery.framework.folders import RESULTS
from metamery.framework.progress import Progress
from table import Benchmark, Column, skip

STUDY = """
stimuli = {{ name = "natural", limit = 12 }}
models = [{{ name = "efficientnet-lite0", layers = ["_blocks.4"] }}]
synthesis = {{ preset = "fast", steps = {steps}, batch_size = 1 }}
"""


class Timed(Progress):
    """Records when units end; the first of each worker includes loading the network."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def start(self, total: int, description: str = "") -> None:
        self.ended = []

    def advance(self, steps: int = 1) -> None:
        self.ended.append(time.perf_counter())


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--workers", type=int, nargs="+", default=[1, 2])
    benchmark.option("--rounds", type=int, default=3)
    benchmark.option("--steps", type=int, default=300)
    asked = benchmark.parse()
    if not find_spec("distributed"):
        skip("needs Dask (pip install metamery[distributed])")
    benchmark.head("distributed")
    study = Study.from_toml(STUDY.format(steps=asked.steps))
    rates: dict[int, list[float]] = {count: [] for count in asked.workers}
    stores = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.rounds):
            for count in asked.workers:
                timed = Timed()
                stores.append(Path(folder) / f"{count}-{turn}")
                run_study(study, stores[-1], progress=timed, scheduler=f"local:{count}")
                # The first units of all workers are the warm-up.
                units = len(timed.ended) - count
                rates[count].append(units * asked.steps / (timed.ended[-1] - timed.ended[count - 1]))
        same = len({_contents(store) for store in stores}) == 1
    first = asked.workers[0]
    columns = Column("updates", "1/s", "higher"), Column(f"of those of {first}", "×", "higher")
    table = benchmark.table("Updates of local workers", ["workers"], columns, across="workers")
    for count, measured in rates.items():
        ratio = median(own / base for own, base in zip(measured, rates[first], strict=True))
        table.row(count, median(measured), ratio)
    benchmark.note("the stores are the same, byte for byte" if same else "the stores are NOT the same")


def _contents(folder: Path) -> tuple[tuple[str, bytes], ...]:
    """All files of a store, but for when and where it was made."""
    files = {
        str(file.relative_to(folder)): file.read_bytes() for file in (folder / RESULTS).rglob("*") if file.is_file()
    }
    root = json.loads(files[f"{RESULTS}/zarr.json"])
    for name in ("created", "folder"):
        root["attributes"].pop(name)
    return tuple(sorted((files | {f"{RESULTS}/zarr.json": json.dumps(root).encode()}).items()))


if __name__ == "__main__":
    main()
