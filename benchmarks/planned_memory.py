"""Is what a dry run states what a study takes? Memory, disk and time, of networks and batch sizes.

Each study is made in a process of its own, from stimuli that are random noise, which hardly compresses. Memory is the
peak above what the process has once the network is loaded and has run once (VmHWM − VmRSS of /proc/self/status), with
one thread. Ratios are measured over planned.

``python benchmarks/planned_memory.py``
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from memory import forget_peak, peak
from metamery.analysis.studies.estimate import estimate
from metamery.analysis.studies.run_study import run_study
from metamery.framework import ImageDomain, Plugins, Stimulus, Study, hookimpl
from metamery.framework.study import ModelReference, Reference
from table import Benchmark, Column

NETWORKS = {
    "small-cnn": (),
    "efficientnet-lite0": ("_blocks.1", "_blocks.8", "output"),
    "coch-cnn-digits": ("cochleagram", "relu3", "output"),
}
COLUMNS = [
    Column(title, unit, "")
    for what, unit in (("memory", "MB"), ("disk", "MB"), ("time", "s"))
    for title, unit in ((f"{what} planned", unit), (f"{what} taken", unit), (f"{what} taken / planned", ""))
]
CPU = torch.device("cpu")


class Noise:
    """Random pictures or sounds."""

    def __init__(self, *, count: int, side: int = 0, samples: int = 0, rate: int = 0) -> None:
        self.count, self.shape, self.rate = count, (3, side, side) if side else (samples,), rate or None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Stimulus:
        signal = torch.rand(self.shape, generator=torch.Generator().manual_seed(index))
        return Stimulus(signal if self.rate is None else signal - 0.5, name=f"s{index}", sample_rate=self.rate)


@hookimpl
def register_stimuli(register: Callable[..., None]) -> None:
    register("noise", Noise)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--networks", default=",".join(NETWORKS), help="between commas")
    benchmark.option("--batch-sizes", type=int, nargs="+", default=[4, 16])
    benchmark.option("--stimuli", type=int, default=32)
    benchmark.option("--steps", type=int, default=10)
    benchmark.option("--child", help="the study that this process makes, as JSON")
    arguments = benchmark.parse()
    if arguments.child:
        print(json.dumps(measured(json.loads(arguments.child))))
        return
    benchmark.head()
    table = benchmark.table(f"Studies of {arguments.stimuli} stimuli", ["network", "batch"], COLUMNS)
    for network in arguments.networks.split(","):
        for batch_size in arguments.batch_sizes:
            given = {"network": network, "batch_size": batch_size}
            given |= {"stimuli": arguments.stimuli, "steps": arguments.steps}
            asked = [sys.executable, __file__, "--child", json.dumps(given)]
            found = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout)
            cells = [cell for planned, took in found for cell in (planned, took, took / planned)]
            table.row(network, batch_size, *cells)


def measured(given: dict[str, int | str]) -> list[tuple[float, float]]:
    """Make a study, and return what was planned and what it took of memory, disk and time."""
    torch.set_num_threads(1)
    plugins = Plugins([sys.modules["__main__"]])
    name = str(given["network"])
    reference = ModelReference(name, NETWORKS[name])
    domain = plugins.load("model", name).domain
    is_picture = isinstance(domain, ImageDomain)
    shape = {"side": domain.height} if is_picture else {"samples": domain.samples, "rate": domain.sample_rate}

    def study(count: object, steps: object, batch_size: object) -> Study:
        settings = {"steps": steps, "batch_size": batch_size}
        return Study((reference,), Reference("noise", {"count": count, **shape}), None, settings)

    asked = study(given["stimuli"], given["steps"], given["batch_size"])
    with tempfile.TemporaryDirectory() as folder:
        run_study(study(2, 1, 1), Path(folder) / "first", plugins)  # imports, and memory that is taken once
        before = forget_peak()
        began = time.perf_counter()
        run_study(asked, Path(folder) / "study", plugins)
        taken, most = time.perf_counter() - began, peak()
        wrote = sum(path.stat().st_size for path in (Path(folder) / "study").rglob("*") if path.is_file())
    planned = estimate(asked, plugins, CPU)
    return [
        (planned.memory_bytes / 1e6, most - before),
        (planned.disk_bytes / 1e6, wrote / 1e6),
        (planned.seconds, taken),
    ]


if __name__ == "__main__":
    main()
