"""Twenty participants at once, by the benchmark's script, which compares what is kept with what was answered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "experiment_server.py"


def test_twenty_participants_at_once_lose_nothing(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    options = ["--participants", "20", "--lists", "6", "--trials", "5", "--pause", "0.05", "--picture", "1000"]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        cwd=tmp_path,
        env={**os.environ, "METAMERY_PLUGINS": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "20 participants, 100 answers: none lost, doubled or misassigned\nlists filled to within one" in run.stdout
