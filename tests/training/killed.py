"""Trains again and again, and is killed in the middle of it; `test_killed.py` runs this in a process.

Each attempt is a child forked after the imports. A child is killed with SIGKILL when its turn of the training's events
comes: an update begun, a checkpoint about to be put in its place, one just put there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from metamery.framework import Plugins, Recipe
from metamery.framework.progress import Progress
from metamery.framework.run import Run
from metamery.framework.study import Reference
from metamery.training import checkpoints
from metamery.training.driver import run_training
from metamery.training.loop import BEST, LAST

_EARLY = torch._dynamo

torch.set_num_threads(1)


class Events(Progress):
    """Counts updates."""

    def __init__(self, happened: Callable[[str], None]) -> None:
        self.happened = happened

    def advance(self, steps: int = 1) -> None:
        self.happened("update")


def attempt(run: Run, folder: Path, every: int | None, last: int | None) -> int:
    """Train until event number `last`, and die; return the number of events of one that is not killed."""
    count = 0

    def happened(_event: str) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    replace = os.replace

    def replaced(source: Any, target: Any) -> None:
        happened("before")
        replace(source, target)
        happened("after")

    checkpoints.os.replace = replaced  # type: ignore[attr-defined]
    run_training(run, folder, Plugins(), checkpoint_every=every, progress=Events(happened))
    return count


def seen(folder: Path) -> dict[str, Any]:
    """What can be read of a run that was killed."""
    found: dict[str, Any] = {"epoch": -1, "batch": -1}
    if (folder / LAST).exists():
        tensors, state = checkpoints.load(folder / LAST)
        found = {"epoch": state["epoch"], "batch": state["batch"], "rows": len(state["history"])}
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    if (folder / BEST).exists():
        checkpoints.load(folder / BEST)
    return found


def main(spec: Path) -> None:
    given = json.loads(spec.read_text(encoding="utf-8"))
    stimuli = Reference("folder", {"path": given["data"]})
    run = Run(Reference(given["model"]), stimuli, None, ("cat", "dog"), Recipe(epochs=3, batch_size=4, ema=0.9))
    every, folder = given["every"], Path(given["folder"])
    events = attempt(run, folder / "whole", every, None)
    print(json.dumps({"events": events}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            attempt(run, folder / asked["name"], every, asked["last"])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"signal": os.WTERMSIG(status), **seen(folder / asked["name"])}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
