"""Killed at any moment, a training loses no more than documented, and ends where an uninterrupted one ends."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metamery.training.checkpoints import load
from metamery.training.loop import BEST, LAST

UPDATES = 3  # of an epoch
KILLS = 5


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("every", [None, 2])
def test_killed_again_and_again_nothing_is_lost_beyond_what_is_promised(
    every: int | None, sized: str, drawn: Any, start: Any, tmp_path: Path
) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"model": sized, "data": str(data), "every": every, "folder": str(tmp_path)}))
    draw = random.Random(0)
    served = [sys.executable, Path(__file__).with_name("killed.py"), spec]
    with start(served, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(**asked: Any) -> dict[str, Any]:
            server.stdin.write(json.dumps(asked) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
            assert line, "the server died; its traceback is above"
            answer: dict[str, Any] = json.loads(line)
            return answer

        events = json.loads(server.stdout.readline())["events"]
        kept = -1
        for _ in range(KILLS):  # one run, killed again and again soon after it has gone on
            came = ask(name="often", last=draw.randint(13, 12 + events // 4))
            assert came["signal"] in (signal.SIGKILL, 0)
            reached = came["epoch"] * UPDATES + came["batch"] if came["epoch"] >= 0 else -1
            assert reached >= kept
            kept = reached
        assert ask(name="often", last=None)["signal"] == 0
        for number in range(KILLS):  # as many runs, each killed once
            name = f"once-{number}"
            came = ask(name=name, last=draw.randint(13, events))
            assert came["signal"] == signal.SIGKILL
            assert ask(name=name, last=None)["signal"] == 0
        server.stdin.close()
    tensors, state = load(tmp_path / "whole" / LAST)
    assert state["epoch"] == 3
    for name in ("often", *(f"once-{number}" for number in range(KILLS))):
        again, said = load(tmp_path / name / LAST)
        assert all((again[key] == tensor).all() for key, tensor in tensors.items())
        assert [row["loss"] for row in said["history"]] == [row["loss"] for row in state["history"]]
        assert (tmp_path / name / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()
        assert not list((tmp_path / name).glob(".last*"))
