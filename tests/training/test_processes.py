"""Several processes give the weights that one gives, and every way of training runs on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import Plugins, Recipe
from metamery.framework.folders import RUN_FILE
from metamery.framework.run import Run
from metamery.framework.study import Reference
from metamery.training.checkpoints import load
from metamery.training.driver import run_training
from metamery.training.hardware import Hardware
from metamery.training.loop import LAST

ALARMING = """
import os
import signal
import torch
from metamery.framework import ImageDomain, Model


class Alarming(torch.nn.Linear):
    calls = 0

    def forward(self, signals):
        self.calls += self.training
        if self.calls > 4 and os.environ["LOCAL_RANK"] == os.environ["RANK_THAT_FAILS"]:
            if os.environ["FAILS_BY"] == "error":
                raise ValueError("no answer")
            os.kill(os.getpid(), int(os.environ["FAILS_BY"]))
        return super().forward(signals.flatten(1))


def build(num_classes: int = 2) -> Model:
    return Model(Alarming(3 * 8 * 8, num_classes), ImageDomain(3, 8, 8), ["output"])
"""

COMMAND = """
from metamery.framework.start import entry

entry()
"""


SCRIPT = """
import sys
from pathlib import Path
import torch
from metamery.framework import Plugins
from metamery.framework.run import Run
from metamery.training.driver import run_training
from metamery.training.hardware import Hardware

torch.set_num_threads(1)
run_training(Run.read(Path("asked")), Path("run"), Plugins(), Hardware(devices=2))
"""

REPLAYS = "replays = 2\nreplay_epsilon = 0.01"
MIXED = """
augment = [{ name = "RandomResizedCrop", scale = [0.5, 1.0] }, "flip", { name = "mixup", alpha = 0.5 }, "cutmix"]
loss_options = { label_smoothing = 0.1 }
"""
TRADES = 'loss = "trades"\nperturbation = "pgd_kl"\nperturbation_options = { steps = 2 }\ncheck = "fgsm"'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here"),
]


@pytest.fixture
def run(tmp_path: Path, drawn: Any) -> Callable[[str, str], Run]:
    """``run(norm, recipe)``: what is to be trained."""
    path = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])

    def make(norm: str, text: str) -> Run:
        data = Reference("folder", {"path": str(path)})
        recipe = Recipe.from_toml(text).changed({"epochs": 2, "batch_size": 4, "learning_rate": 0.01})
        return Run(Reference("small-cnn", {"norm": norm, "width": 4}), data, data, ("cat", "dog"), recipe)

    return make


def trained_on_two(run: Run, folder: Path) -> Any:
    """Return the last checkpoint of two processes."""
    (folder / "asked").mkdir(parents=True)
    (folder / "asked" / RUN_FILE).write_text(run.to_toml())
    (folder / "train.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load(folder / "run" / LAST)


@pytest.mark.parametrize("recipe", [REPLAYS, MIXED], ids=["free", "mixed"])
def test_two_processes_are_one_with_the_same_batches(
    run: Callable[[str, str], Run], tmp_path: Path, recipe: str
) -> None:
    asked = run("group", recipe)
    run_training(asked, tmp_path / "one", Plugins(), Hardware(devices=1))
    (one, said), (two, told) = load(tmp_path / "one" / LAST), trained_on_two(asked, tmp_path / "two")
    moved = two.pop("moved/signals", None)
    if (whole := one.pop("moved/signals", None)) is not None:
        assert moved.shape == (2, 2, 3, 32, 32)
        same = moved.transpose(0, 1).reshape(whole.shape) == whole  # processes take a batch's signals in turns
        assert same.float().mean() > 0.999  # a sign may turn with the rounding
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)
    for row, other in zip(said["history"], told["history"], strict=True):
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            assert other[name] == pytest.approx(row[name], abs=1e-5)


def test_a_loss_of_two_passes_runs_on_two_processes(run: Callable[[str, str], Run], tmp_path: Path) -> None:
    tensors, state = trained_on_two(run("batch", TRADES), tmp_path / "two")
    assert state["epoch"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.fixture
def failing(start: Any, tmp_path: Path, drawn: Any) -> Any:
    """``failing(rank, by)`` trains for ever on two processes, of which one fails."""
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    (tmp_path / "alarming.py").write_text(ALARMING, encoding="utf-8")
    (tmp_path / "command.py").write_text(COMMAND, encoding="utf-8")
    settings = ["--setting", "batch_size=4", "--epochs", "5000", "--devices", "2"]

    def begin(rank: object, by: object) -> subprocess.Popen[str]:
        model = f"{tmp_path / 'alarming.py'}:build"
        train = ["train", "standard", "--model", model, "--stimuli", data, "-o", tmp_path / "run", *settings]
        return start(
            [sys.executable, tmp_path / "command.py", *train],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "RANK_THAT_FAILS": str(rank), "FAILS_BY": str(by), "METAMERY_PLUGINS": ""},
        )  # fmt: skip

    return begin


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("rank", "by", "status", "said"),
    [
        (1, "error", 2, "error: process 1: ValueError: no answer"),
        (
            1,
            int(signal.SIGKILL),
            2,
            "error: process 1 of the training was ended by signal 9, perhaps for lack of memory",
        ),
        (0, int(signal.SIGTERM), 130, "stopped: the same command resumes where this one stopped"),
        (0, int(signal.SIGKILL), -signal.SIGKILL, ""),
    ],
)
def test_where_one_process_ends_all_do_with_one_line(
    failing: Any, tmp_path: Path, rank: int, by: object, status: int, said: str
) -> None:
    with failing(rank, by) as first:
        others: set[str] = set()
        while first.poll() is None:
            others |= set(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split())
            time.sleep(0.05)
        while any(Path(f"/proc/{other}").exists() for other in others):  # one that is left stays for ever
            time.sleep(0.05)
        _, error = first.communicate()
    assert first.returncode == status
    lines = [line for line in error.splitlines() if line.startswith(("error: ", "stopped: "))]
    assert lines == ([said] if said else [])
    assert "rank0" not in error
