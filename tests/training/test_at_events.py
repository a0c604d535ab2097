"""Whatever happens at any event of a training, or to two at once: nothing is lost, and one line states the error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EVENTS = int(os.environ.get("METAMERY_EVENTS", "5"))
"""How many of a training's events are tried, spread over all; 1000 are all that there are."""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("mode", ["kill", "full", "denied", "removed", "twice"])
def test_at_any_event_of_a_training(mode: str, sized: str, drawn: Any, tmp_path: Path) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"model": sized, "data": str(data), "epochs": 2, "folder": str(tmp_path)}))
    script = Path(__file__).with_name("at_events.py")
    done = subprocess.run(
        [sys.executable, script, spec, mode, str(EVENTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert came["tried"] >= min(EVENTS, 100)
    assert came["failed"] == {}, done.stderr
