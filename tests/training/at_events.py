"""Trains, and has something happen at one of the events that the training causes in its folder, each in turn.

`test_at_events.py` runs this in a process. An event is a call of the operating system that changes the folder, as
Python's audit hook reports it: a file opened to be written, moved, removed, a folder made or removed. At event N the
training is killed (``kill``), the call fails since the disk is full (``full``) or the folder may not be written to
(``denied``), or the whole folder has been removed just before (``removed``). Each attempt is a child forked after the
imports. After all but ``removed`` the same training is started again. With ``twice`` two start 0 to 2 s apart.

Run by itself it goes through every event: ``python at_events.py SPEC.json kill 1000``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from metamery.framework import MetameryError, Plugins, Recipe, open_study
from metamery.framework.folders import RUN_FILE
from metamery.framework.run import Run
from metamery.framework.study import Reference
from metamery.training import checkpoints
from metamery.training.driver import run_training
from metamery.training.loop import BEST, LAST
from metamery.training.update_log import LOG

_EARLY = torch._dynamo

CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate")
EXPECTED = {RUN_FILE, LAST, BEST, LOG, "results.zarr"}

torch.set_num_threads(1)


def changed(event: str, arguments: tuple[Any, ...]) -> str:
    """The path that an event changes, or nothing."""
    if event not in CHANGES or not isinstance(arguments[0], str | bytes):
        return ""
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & writes):
        return ""
    return os.fsdecode(arguments[0])


def watch(folder: Path, happened: Callable[[], None]) -> None:
    """Call `happened` before each change of what is in a folder, for the rest of the process's life."""
    inside = f"{folder}{os.sep}"
    quiet = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal quiet
        if not quiet and changed(event, arguments).startswith(inside):
            quiet = True
            happened()
            quiet = False

    sys.addaudithook(hook)


def attempt(run: Run, folder: Path, mode: str, number: int | None) -> dict[str, Any]:
    """Train in a child; return how it ended, and the number of events that there were."""
    return begun(run, folder, mode, number)()


def begun(run: Run, folder: Path, mode: str = "", number: int | None = None) -> Callable[[], dict[str, Any]]:
    """Begin to train in a child; return what waits for its end."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        count = 0

        def happened() -> None:
            nonlocal count
            count += 1
            if number is None or count < number or (mode != "full" and count > number):
                return
            if mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            elif mode == "removed":
                os.rename(folder, f"{folder}-gone")
            else:
                raise OSError(errno.ENOSPC if mode == "full" else errno.EACCES, "the disk says no")

        watch(folder, happened)
        try:
            run_training(run, folder, Plugins())
            said = "done"
        except MetameryError as error:
            said = str(error)
        os.write(writing, json.dumps({"said": said, "events": count}).encode())
        os._exit(0)
    os.close(writing)

    def end() -> dict[str, Any]:
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        return {"signal": os.WTERMSIG(status), **(json.loads(told) if told else {"said": "", "events": 0})}

    return end


def content(folder: Path) -> dict[str, Any]:
    """All that a finished run holds, but for the time that it took."""
    tensors, state = checkpoints.load(folder / LAST)
    history = open_study(folder)["history"].to_dataset().drop_vars("seconds")
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in state.pop("history")]
    return {
        "weights": {name: tensor.tolist() for name, tensor in tensors.items()},
        "state": state | {"history": rows},
        "best": (folder / BEST).read_bytes().hex(),
        "history": {str(name): column.values.tolist() for name, column in history.variables.items()},
        "log": [line.rsplit(",", 2)[0] for line in (folder / LOG).read_text(encoding="utf-8").splitlines()],
        "file": (folder / RUN_FILE).read_text(encoding="utf-8"),
        "left over": sorted(
            {path.name for path in folder.iterdir()} - EXPECTED | {path.name for path in folder.rglob("*.partial")}
        ),
    }


def readable(folder: Path) -> None:
    """Read what there is of a run that was stopped."""
    for name in (LAST, BEST):
        if (folder / name).exists():
            tensors, _ = checkpoints.load(folder / name)
            assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
    if (folder / "results.zarr").exists():
        open_study(folder).load()
    if (folder / LAST).exists():
        Run.read(folder)


def trial(run: Run, folder: Path, whole: dict[str, Any], mode: str, number: int) -> str:
    """Have something happen at one event, and train again; return what is wrong with that, or nothing."""
    first = attempt(run, folder, mode, number)
    if mode == "kill" and first["signal"] != signal.SIGKILL:
        return f"not killed: {first}"
    if mode == "removed":
        shutil.rmtree(f"{folder}-gone", ignore_errors=True)
        left = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if first["said"] == "done":  # it had not begun, or was at its end
            return f"a half run is left: {left}" if left and left != EXPECTED else ""
        wrong = [] if "moved or removed" in first["said"] or "cannot" in first["said"] else [str(first)]
        return "; ".join([*wrong, *([f"a half run is left: {left}"] if left else [])])
    if mode != "kill" and not ("cannot" in first["said"] or first["said"] == "done"):
        return f"no line: {first}"
    try:
        readable(folder)
    except Exception as error:
        return f"unreadable: {error!r}"
    again = attempt(run, folder, "kill", None)
    if again["said"] != "done":
        return f"does not go on: {again}"
    came = content(folder)
    return ", ".join(name for name, value in whole.items() if came[name] != value)


def twice(run: Run, folder: Path, whole: dict[str, Any], seconds: float) -> tuple[str, bool]:
    """Begin the same training twice; return what is wrong with that, or nothing, and whether one was refused."""
    ends = [begun(run, folder)]
    time.sleep(seconds)
    ends.append(begun(run, folder))
    said = [end()["said"] for end in ends]
    if said.count("done") == 2:
        said = ["done"]  # one after the other
    refused = [text for text in said if text != "done"]
    wrong = [text for text in refused if f"'{folder}' is being written to by " not in text]
    if "done" not in said or wrong:
        return f"neither, or another reason: {said}", False
    came = content(folder)
    return ", ".join(name for name, value in whole.items() if came[name] != value), bool(refused)


def main(spec: Path, mode: str, most: int) -> None:
    given = json.loads(spec.read_text(encoding="utf-8"))
    stimuli = Reference("folder", {"path": given["data"]})
    recipe = Recipe(epochs=given["epochs"], batch_size=4, ema=0.9)
    run = Run(Reference(given["model"]), stimuli, None, ("cat", "dog"), recipe)
    place = Path(given["folder"])
    for name in ("warm", "whole"):
        shutil.rmtree(place / name, ignore_errors=True)
    run_training(run, place / "warm", Plugins())
    count = attempt(run, place / "whole", "kill", None)["events"]
    whole = content(place / "whole")
    if mode == "twice":
        seconds = [2 * step / max(most - 1, 1) for step in range(most)]
        came = [twice(run, place / f"twice-{step}", whole, each) for step, each in enumerate(seconds)]
        failed = {each: wrong for each, (wrong, _) in zip(seconds, came, strict=True) if wrong}
        print(json.dumps({"tried": most, "refused": sum(refused for _, refused in came), "failed": failed}))
        return
    most = min(most, count)
    tried = sorted({1 + round(step * (count - 1) / max(most - 1, 1)) for step in range(most)})
    failed = {}
    for number in tried:
        if wrong := trial(run, place / f"{mode}-{number}", whole, mode, number):
            failed[number] = wrong
        shutil.rmtree(place / f"{mode}-{number}", ignore_errors=True)
    print(json.dumps({"events": count, "tried": len(tried), "left over": whole["left over"], "failed": failed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
