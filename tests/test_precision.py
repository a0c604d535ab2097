"""The recorded precision of a run is that of its computation, or the run is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError
from metamery.framework.devices import check_precision
from metamery.training.hardware import Hardware


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"precision": "float16"},
            "precision is float16, which training does not support on device 'cpu': expected",
        ),
        ({"precision": "float16", "device": "auto"}, "expected float32 or bfloat16"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        ({"precision": "16-mixed"}, "unknown precision '16-mixed'"),
        ({"precision": None}, "unknown precision 'None'"),
        ({"devices": 0}, "devices is 0, expected a whole number of at least 1"),
        ({"devices": 10**9}, "devices is 1000000000, expected a whole number of at most 1024"),
        ({"workers": -1}, "workers is -1, expected a whole number of at least 0"),
        ({"workers": 10**6}, "expected a whole number of at most 1024"),
        ({"device": "nowhere"}, "unknown device 'nowhere'"),
        ({"device": "meta"}, "unknown device 'meta'"),
    ],
)
def test_a_machine_that_would_compute_otherwise_is_refused(given: dict[str, Any], said: str) -> None:
    if given.get("device") == "auto" and torch.accelerator.is_available():
        pytest.skip("the accelerator here does")
    with pytest.raises(MetameryError, match=said):
        Hardware(**given).fabric()


def test_what_a_cpu_computes_in_is_what_is_asked_for() -> None:
    with Hardware(precision="bfloat16").fabric().autocast():
        assert torch.nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.bfloat16
    for precision in ("float32", "bfloat16", "float16"):
        check_precision(precision, torch.device("cpu"))


@pytest.mark.parametrize(("device", "precision"), [("meta", "float16"), ("cpu", "float64"), ("cpu", "half")])
def test_a_precision_that_a_device_has_not_is_refused(device: str, precision: str) -> None:
    with pytest.raises(MetameryError, match="precision"):
        check_precision(precision, torch.device(device))


def test_no_run_is_left_behind(command: Any, tiny: str, pictures: Path, tmp_path: Path) -> None:
    given = ["train", "standard", "--model", tiny, "--stimuli", pictures, "-o", tmp_path / "run"]
    for more in (["--dry-run"], []):
        assert "precision is float16" in command(*given, "--precision", "float16", *more).error
    assert not (tmp_path / "run").exists()


def test_a_machine_of_a_cluster_trains_without_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning warns wherever the program `srun` exists; warnings are errors here."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Hardware().fabric().world_size == 1
