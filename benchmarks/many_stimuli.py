"""Does the memory of a study grow with its stimuli? Peak memory of creating, making, resuming and reporting studies.

Pictures of 224 × 224, which are computed when they are read, a small network, metamers at one layer with one update.
Each stage runs in a process of its own; its peak is VmHWM of /proc/self/status. The null is of 100 signals in all
studies, so that it is the same work. With ``--files`` a folder of that many tiny pictures is listed instead.

``python benchmarks/many_stimuli.py --stimuli 200 2000 20000``, ``python benchmarks/many_stimuli.py --files 100000``
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from memory import peak, resident
from metamery.analysis.report import write_report
from metamery.analysis.studies.creation import create
from metamery.analysis.studies.parts import load_parts
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, Model, Plugins, Stimulus, Study, hookimpl
from metamery.framework.progress import Progress
from metamery.framework.study import ModelReference, Reference, load_stimuli
from PIL import Image
from table import Benchmark, Column, Table

SIDE = 224
CPU = torch.device("cpu")
STAGES = ("create", "make", "resume", "report")


class Squares:
    """Pictures of 14 × 14 squares in random colours, computed when they are read."""

    def __init__(self, *, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Stimulus:
        colours = torch.rand(3, 14, 14, generator=torch.Generator().manual_seed(index))
        picture = colours.repeat_interleave(SIDE // 14, 1).repeat_interleave(SIDE // 14, 2)
        return Stimulus(picture, category=f"class {index % 100}", name=f"class {index % 100}/{index}")


def network() -> Model:
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 8, 7, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten()
    return Model(torch.nn.Sequential(*parts, torch.nn.Linear(128, 10)).eval(), ImageDomain(3, SIDE, SIDE), ["1"])


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    register("network", network)


@hookimpl
def register_stimuli(register: Callable[..., None]) -> None:
    register("squares", Squares)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--stimuli", type=int, nargs="+", default=[200, 2000])
    benchmark.option("--stages", nargs="+", choices=STAGES, default=STAGES, help="in this order")
    benchmark.option("--folder", type=Path, help="of the studies, on a disk with room; removed afterwards")
    benchmark.option("--files", type=int, help="number of files of a folder to list")
    benchmark.option("--stage", choices=STAGES, help="that this process measures")
    arguments = benchmark.parse()
    if arguments.stage:
        measure(arguments.stage, arguments.stimuli[0], arguments.folder)
        return
    benchmark.head()
    if arguments.files:
        columns = Column("listed", "", ""), Column("time", "s")
        list_files(benchmark.table("Listing a folder of pictures", ["files", "limit"], columns), arguments.files)
    else:
        parts = (("at the start", "MB", ""), ("at most", "MB", "lower"), ("time", "s", "lower"))
        columns = [Column(f"{stage}: {what}", *more) for stage in arguments.stages for what, *more in parts]
        columns.append(Column("disk", "GB"))
        table = benchmark.table("Stages of a study", ["stimuli"], columns, across="stimuli")
        compare(table, arguments.stimuli, arguments.stages, arguments.folder)


def compare(table: Table, counts: list[int], stages: list[str], folder: Path | None) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory(dir=folder) as held:
            cells: list[float] = []
            for stage in stages:
                if stage == "make":  # from the start, as the command does
                    shutil.rmtree(Path(held) / "study", ignore_errors=True)
                asked = [sys.executable, __file__, "--stage", stage, "--stimuli", str(count), "--folder", held]
                said = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
                cells += map(float, said.split())
            disk = sum(path.stat().st_size for path in Path(held).rglob("*") if path.is_file())
            table.row(count, *cells, disk / 1e9)


def measure(stage: str, count: int, held: Path) -> None:
    """Run one stage of a study, and print the memory at its start and its peak in MB, and its seconds."""
    plugins, folder = Plugins([sys.modules["__main__"]], installed=()), held / "study"
    stimuli = Reference("squares", {"count": count})
    study = Study((ModelReference("network"),), stimuli, None, {"steps": 1}, null_signals=100)
    parts, settings = load_parts(study, plugins, CPU), resolve_settings(study.synthesis)
    start, began = resident(), time.perf_counter()
    if stage == "create":
        create(study, folder, plugins, parts, settings, CPU, Progress())
    elif stage == "report":
        write_report(folder)
    else:
        run_study(study, folder, plugins)
    print(start, peak(), time.perf_counter() - began)


def list_files(table: Table, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, "PNG")
        for number in range(count):
            path = Path(folder) / f"class {number % 100}" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture.getvalue())
        plugins = Plugins(installed=())
        for options in ({}, {"limit": 1000}):
            load_stimuli(plugins, Reference("folder", {"path": folder, **options}))  # the system's cache is warm
            began = time.perf_counter()
            found = load_stimuli(plugins, Reference("folder", {"path": folder, **options}))
            table.row(count, options.get("limit", "none"), len(found), time.perf_counter() - began)


if __name__ == "__main__":
    main()
