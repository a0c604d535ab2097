"""Several processes give the weights that one gives, and every way of training runs on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.training.checkpoints import load
from metamery.training.loop import LAST

SCRIPT = """
import sys
from pathlib import Path
import torch
from metamery.framework import Plugins, Recipe
from metamery.framework.study import Use
from metamery.training.conduct import Machine, conduct
from metamery.training.runs import Run

torch.set_num_threads(1)
data = Use("folder", {"path": sys.argv[3]})
model = Use("small-cnn", {"norm": sys.argv[4], "width": 4})
recipe = Recipe.from_toml(sys.argv[5]).changed({"epochs": 2, "batch_size": 4, "learning_rate": 0.01})
run = Run(model, data, data, ("cat", "dog"), recipe)
conduct(run, Path(sys.argv[2]), Plugins(), Machine(devices=int(sys.argv[1])))
"""


REPLAYS = "replays = 2\nreplay_epsilon = 0.01"
TRADES = 'loss = "trades"\nperturbation = "pgd_kl"\nperturbation_options = { steps = 2 }\ncheck = "fgsm"'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here"),
]


@pytest.fixture
def trained(tmp_path: Path, drawn: Any) -> Any:
    """``trained(processes, norm, recipe)``: the last checkpoint of a run."""
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    (tmp_path / "train.py").write_text(SCRIPT)

    def train(processes: int, norm: str, recipe: str) -> Any:
        command = [sys.executable, "train.py", str(processes), f"run{processes}", str(data), norm, recipe]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        return load(tmp_path / f"run{processes}" / LAST)

    return train


@pytest.mark.parametrize("recipe", ["", REPLAYS], ids=["standard", "free"])
def test_two_processes_are_one_with_the_same_batches(trained: Any, recipe: str) -> None:
    (one, said), (two, told) = (trained(processes, "group", recipe) for processes in (1, 2))
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


def test_a_loss_of_two_passes_runs_on_two_processes(trained: Any) -> None:
    tensors, state = trained(2, "batch", TRADES)
    assert state["epoch"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
