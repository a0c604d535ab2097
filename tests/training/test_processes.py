"""Several processes give the weights that one gives."""

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
model = Use("small-cnn", {"norm": "group", "width": 4})
run = Run(model, data, data, ("cat", "dog"), Recipe(epochs=2, batch_size=4, learning_rate=0.01))
conduct(run, Path(sys.argv[2]), Plugins(), Machine(devices=int(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here")
def test_two_processes_are_one_with_the_same_batches(tmp_path: Path, drawn: Any) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    (tmp_path / "train.py").write_text(SCRIPT)
    for devices in (1, 2):
        command = [sys.executable, "train.py", str(devices), f"run{devices}", str(data)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
    (one, said), (two, told) = (load(tmp_path / f"run{devices}" / LAST) for devices in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)
    for row, other in zip(said["history"], told["history"], strict=True):
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            assert other[name] == pytest.approx(row[name], abs=1e-5)
