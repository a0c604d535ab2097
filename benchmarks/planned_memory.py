"""Is what a dry run states what a study takes? Memory, disk and time, of networks and batch sizes.

Each study is made in a process of its own, from stimuli that are random noise, which hardly compresses. Memory is the
peak above what the process has once the network is loaded and has run once (VmHWM − VmRSS of /proc/self/status), with
one thread. Ratios are measured over planned.

``python benchmarks/planned_memory.py``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from metamery.analysis.studies.estimate import estimate
from metamery.analysis.studies.run_study import run_study
from metamery.framework import ImageDomain, Plugins, Stimulus, Study, hookimpl
from metamery.framework.study import ModelReference, Reference

NETWORKS = {
    "small-cnn": (),
    "efficientnet-lite0": ("_blocks.1", "_blocks.8", "output"),
    "coch-cnn-digits": ("cochleagram", "relu3", "output"),
}
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="between commas")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--stimuli", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(json.loads(arguments.child))))
        return
    print("| network | batch | memory, MB | measured | ratio | disk, MB | written | ratio | time, s | taken | ratio |")
    print("|---" * 11 + "|")
    for network in arguments.networks.split(","):
        for batch_size in arguments.batch_sizes:
            given = {"network": network, "batch_size": batch_size}
            given |= {"stimuli": arguments.stimuli, "steps": arguments.steps}
            asked = [sys.executable, __file__, "--child", json.dumps(given)]
            found = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout)
            cells = [network, str(batch_size)]
            for planned, took in found:
                cells += [f"{planned:.3g}", f"{took:.3g}", f"{took / planned:.2f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


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
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak until now
        began = time.perf_counter()
        run_study(asked, Path(folder) / "study", plugins)
        taken, peak = time.perf_counter() - began, status("VmHWM")
        wrote = sum(path.stat().st_size for path in (Path(folder) / "study").rglob("*") if path.is_file())
    planned = estimate(asked, plugins, CPU)
    return [
        (planned.memory_bytes / 1e6, peak - before),
        (planned.disk_bytes / 1e6, wrote / 1e6),
        (planned.seconds, taken),
    ]


def status(name: str) -> float:
    """Return a number of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


if __name__ == "__main__":
    main()
