"""Runs a study again and again, and is killed in the middle of it; `test_resume.py` runs this in a process.

Each attempt is a child forked after the imports, so that twenty of them are quick (some imports are here for that
alone). A child is killed with SIGKILL at one moment that its `Kill` names: after half the bytes of the Nth write of
Zarr, after all of them but before the file is put in its place, just after that, or when a time has passed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torchvision.transforms.v2.functional
import xarray as xr
import zarr.storage._local as local
from metamery.analysis.studies.run_study import run_study
from metamery.framework import MetameryError, Plugins, Study, open_study
from metamery.framework.store import RESULTS
from metamery.plugins.files import folder as _folder

_EARLY = (torch._dynamo, torchvision.transforms.v2.functional, _folder)


@dataclass(frozen=True)
class Kill:
    """When a child is to die: `moment` is ``half``, ``before``, ``after`` (of write number `write`) or ``time``."""

    moment: str
    write: int = 0
    seconds: float = 0.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class HalfWritten:
    """A file that gets half of what is written to it, and then the process is gone."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, view: Any) -> int:
        data = bytes(view)
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()
        return 0


def arm(kill: Kill | None, counted: Callable[[str], None] = lambda _path: None) -> None:
    """Make Zarr's writes count themselves, and let one of them be the last."""
    lock, count = threading.Lock(), 0
    original = local._atomic_write

    @contextmanager
    def write(path: Path, mode: Any, exclusive: bool = False) -> Iterator[Any]:
        nonlocal count
        with lock:
            count += 1
            mine = count
        counted(str(path))
        moment = kill.moment if kill is not None and kill.write == mine else ""
        try:
            with original(path, mode, exclusive) as file:
                yield HalfWritten(file) if moment == "half" else file
                if moment == "before":
                    file.flush()
                    die()
        finally:  # an exclusive write of what is there already ends with an error, which Zarr expects
            if moment == "after":
                die()

    local._atomic_write = write  # type: ignore[assignment]
    if kill is not None and kill.moment == "time":
        threading.Timer(kill.seconds, die).start()


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do something in a child; return the signal that ended it (0 if none did) and what it returned."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a child failed; its traceback is above")
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), json.loads(said) if said else None


def contents(folder: Path) -> dict[str, Any]:
    """Every array by its path, exactly."""
    found = {}
    with open_study(folder) as tree:
        for node in tree.subtree:
            for name, variable in node.dataset.variables.items():
                values = variable.values
                found[f"{node.path}/{name}"] = values.tolist() if values.dtype.kind in "OTU" else values.tobytes().hex()
    return found


def conducted(study: Study, folder: Path, kill: Kill | None = None) -> dict[str, Any]:
    places: list[str] = []
    arm(kill, places.append)
    began = time.perf_counter()
    run_study(study, folder, Plugins())
    took = time.perf_counter() - began
    creating = sum(f".{RESULTS}." in place for place in places)
    return {"seconds": took, "creating": creating, "writes": len(places), "contents": contents(folder)}


def looked_at(folder: Path) -> dict[str, Any]:
    """Read what a killed child left, in both ways; how far it is, or -1 where no study was begun."""
    try:
        tree = open_study(folder).load()
    except MetameryError as error:
        return {"done": -1, "error": str(error)}
    plain = xr.open_datatree(folder / RESULTS, engine="zarr").load()
    (group,) = tree["models"].children.values()
    state = group["metamers/state"]
    # Whatever is said to be done is there, whole.
    whole = bool(group["metamers/signal"].notnull().where(state == 1, True).all()) and bool(
        group["metamers/loss"].notnull().where(state == 1, True).all()
    )
    left = len(list(folder.rglob("*.partial"))) + len(list(folder.glob(f".{RESULTS}.*")))
    return {"done": int((state == 1).sum()), "same": plain.identical(tree), "whole": whole, "left": left}


def main(spec: Path) -> None:
    """Read ``{study, folder}``, and then kills one a line from standard input; say what came of each on a line."""
    torch.set_num_threads(1)
    asked = json.loads(spec.read_text())
    study, folder = Study.from_toml(asked["study"]), Path(asked["folder"])
    _, whole = forked(lambda: conducted(study, folder / "whole"))
    print(json.dumps({key: value for key, value in whole.items() if key != "contents"}), flush=True)
    for number, line in enumerate(sys.stdin):
        place, kill = folder / f"killed{number}", Kill(**json.loads(line))
        ended, _ = forked(lambda place=place, kill=kill: conducted(study, place, kill))
        _, seen = forked(lambda place=place: looked_at(place))
        _, resumed = forked(lambda place=place: conducted(study, place))
        _, after = forked(lambda place=place: looked_at(place))
        equal = [name for name, value in whole["contents"].items() if resumed["contents"].get(name) == value]
        other = sorted(set(whole["contents"]) ^ set(resumed["contents"]) | set(whole["contents"]) - set(equal))
        said = {"signal": ended, "seen": seen, "differs": other, "arrays": len(equal), "left": after["left"]}
        files = sorted(path.name for path in place.iterdir())
        print(json.dumps(said | {"files": files, "writes": resumed["writes"]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
