"""The memory and disk that the dry run states, compared with what a separate process used and wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from inputs import PEAK_MEMORY, on_linux

SCRIPT = """
import json, sys
from pathlib import Path

import torch
import torch._dynamo
from metamery.analysis.studies.parts import load_parts
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.studies.estimate import estimate
from metamery.framework import ImageDomain, Model, Plugins, Stimulus, Study, hookimpl
from metamery.framework.study import ModelReference, Reference
from torchvision.transforms.v2 import functional

COUNT, SIDE, CHANNELS, FOLDER = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
torch.set_num_threads(1)


class Noise:
    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return Stimulus(torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(index)), name=f"s{index}")


def network():
    torch.manual_seed(0)
    wide = torch.nn.Conv2d(3, CHANNELS, 3, padding=1, stride=1 if CHANNELS > 1 else 16)
    parts = wide, torch.nn.Tanh(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4 * CHANNELS, 3)
    return Model(torch.nn.Sequential(*parts).eval(), ImageDomain(3, SIDE, SIDE), ["output"])


@hookimpl
def register_models(register):
    register("network", network)


@hookimpl
def register_stimuli(register):
    register("noise", Noise)


plugins = Plugins([sys.modules["__main__"]], installed=())
study = Study((ModelReference("network"),), Reference("noise"), None, {"steps": 1, "batch_size": 16}, null_signals=2)
load_parts(study, plugins, torch.device("cpu"))
before = peak_memory()
run_study(study, FOLDER, plugins)
took = peak_memory() - before
planned = estimate(study, plugins, torch.device("cpu"))
wrote = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
print(json.dumps({"memory": [planned.memory_bytes, took], "disk": [planned.disk_bytes, wrote]}))
"""


def measured(count: int, side: int, channels: int, folder: Path) -> dict[str, list[int]]:
    asked = [sys.executable, "-c", PEAK_MEMORY + SCRIPT, *map(str, (count, side, channels)), folder]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "side", "channels"), [(200, 160, 1), (600, 160, 1), (16, 160, 64), (16, 160, 160)]
)  # many signals, and a wide network
def test_what_is_planned_is_what_is_taken(count: int, side: int, channels: int, tmp_path: Path) -> None:
    found = measured(count, side, channels, tmp_path / "study")
    planned, took = found["memory"]
    assert took / 1.35 < planned < 1.6 * took  # the C library keeps more or less of what is freed
    planned, wrote = found["disk"]  # before compression, which takes about a tenth from noise
    assert 0.8 * planned < wrote < 1.05 * planned
