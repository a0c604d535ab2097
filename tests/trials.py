"""Kills commands at every file event in turn, and starts them side by side; `test_trials.py` runs this in a process.

Each command runs in a child that is forked after the imports, so that hundreds of them are quick. By hand::

    python tests/trials.py kill 1 synthesise evaluate    # at every event of these commands; 10: at every tenth
    python tests/trials.py together 50                   # 50 pairs of each command, started 0 to 2 s apart

with ``--command NAME 'train … -o {here}/run'`` for one more; ``{here}`` is the trial's folder, ``{tiny}`` a network,
``{pictures}`` a folder. The result of each trial is a line of JSON; the last line is a summary.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
import torchvision.transforms.v2.functional
from metamery.analysis import report as _report
from metamery.analysis.recognition import agreement as _agreement
from metamery.analysis.studies import evaluate as _evaluation
from metamery.analysis.studies import export as _export
from metamery.analysis.studies import run_study as _run_study
from metamery.framework import open_study
from metamery.framework.cli import main
from metamery.framework.store import RESULTS
from metamery.plugins.files import folder as _folder
from metamery.training import driver as _training
from PIL import Image
from safetensors.numpy import load_file

_EARLY = (torch._dynamo, torchvision.transforms.v2.functional, _folder, _agreement, _run_study, _evaluation, _export)
_EARLY += (_report, _training)

TINY = """
import torch
from torch import nn
from metamery.framework import ImageDomain, Model

def build(num_classes=3, seed=0):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))
    return Model(layers, ImageDomain(3, 8, 8), ("1", "output"), ["cat", "dog", "owl"][:num_classes])

def one(): return build(seed=5)  # this and the next tell the dark picture from the light one
def two(): return build(seed=6)
"""

FOUND = """
import xarray as xr

def dataset(value):
    said = {"long_name": "a number", "units": "1"}
    return xr.Dataset({"number": ("layer", [value, 2.0], said)}, {"layer": ["a", "b"]})

def first(): return lambda context: dataset(1.0)
def second(): return lambda context: dataset(2.0)
def third(): return lambda context: dataset(3.0)
def fourth(): return lambda context: dataset(4.0)
def fifth(): return lambda context: dataset(5.0)
"""

STUDY = "synthesise {tiny} --stimuli {pictures} --steps 2 --layers 1 --batch-size 2 -o {here}/study"
TWO = STUDY.replace("{tiny}", "{one} {two}")


@dataclass(frozen=True)
class Case:
    """A command, and what is done before it in a folder that is copied for each trial."""

    command: str
    before: tuple[str, ...] = ()
    done: tuple[int, ...] = (0,)  # statuses of a second run of it, after the first


CASES = {
    "synthesise": Case(STUDY),
    "synthesise again": Case(STUDY, (STUDY,)),
    "evaluate": Case("evaluate {found}:first {here}/study", (STUDY,)),
    "evaluate again": Case("evaluate {found}:first {here}/study", (STUDY, "evaluate {found}:first {here}/study")),
    "evaluate --remove": Case(
        "evaluate {found}:first {here}/study --remove", (STUDY, "evaluate {found}:first {here}/study"), (0, 2)
    ),
    "evaluate models": Case("evaluate {found}:second {tiny} --stimuli {pictures} -o {here}/evaluation"),
    "compare": Case(
        "compare {here}/study {here}/other -o {here}/comparison", (STUDY, STUDY.replace("/study", "/other"))
    ),
    "report": Case("report {here}/study", (STUDY,)),
    "export": Case("export {here}/study -o {here}/export", (STUDY,)),
    "export again": Case("export {here}/study -o {here}/export", (STUDY, "export {here}/study -o {here}/export")),
    "train": Case(
        "train standard --model {tiny} --set num_classes=2 --stimuli {pictures} --epochs 1 --setting batch_size=2 "
        "-o {here}/run"
    ),
    "card": Case("card {tiny} --jury {one},{two} --stimuli {pictures} -o {here}/card.html"),
    "prepare": Case("prepare {pictures} --side 8 -o {here}/pictures.prepared"),
    "experiment trials": Case(
        "experiment trials {here}/study -o {here}/trials",
        (TWO, "evaluate controversial {here}/study"),
        (0, 2),
    ),
    "new-plugin": Case("new-plugin mine -o {here}/mine", (), (0, 2)),
}

_REFUSALS = (
    "is being written to by `metamery",
    "holds nothing of",
    "holds other files; choose another folder",
)
_EVENTS = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.utime", "os.chmod", "os.truncate", "os.link"}


@dataclass(frozen=True)
class Ended:
    """How a child came to its end: its status, or −9, and what it printed."""

    status: int
    out: str
    err: str
    events: int


class Stage:
    """Where trials take place: inputs, and folders for the trials."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pictures = root / "pictures"
        for number, name in enumerate(["cat/a", "dog/a"]):
            file = self.pictures / f"{name}.png"
            file.parent.mkdir(parents=True)
            values = np.random.default_rng(number).integers(166 * number, 166 * number + 90, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(values).save(file)
        (root / "tiny.py").write_text(TINY)
        (root / "found.py").write_text(FOUND)

    def words(self, command: str, here: Path) -> list[str]:
        networks = {name: f"{self.root / 'tiny.py'}:{name}" for name in ("build", "one", "two")}
        given = {"here": here, "tiny": networks.pop("build"), "pictures": self.pictures, **networks}
        return [word.format(found=self.root / "found.py", **given) for word in shlex.split(command)]

    def start(self, command: str, here: Path, kill: int = 0) -> tuple[int, Path]:
        """Start a command in a child that is killed before its `kill`-th file event below `here`."""
        told = Path(tempfile.mkdtemp(dir=self.root, prefix="told"))
        sys.stdout.flush()
        if child := os.fork():
            return child, told
        status = 70
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(told / name, os.O_WRONLY | os.O_CREAT), number)
            os.environ["METAMERY_CACHE"] = str(here / "cache")
            words = self.words(command, here)
            sys.argv = ["metamery", *words]
            counter = _count_events(str(here), kill)
            status = main(words)
            (told / "events").write_text(str(counter()))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def end(self, started: tuple[int, Path]) -> Ended:
        child, told = started
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        events = int((told / "events").read_text()) if (told / "events").exists() else 0
        found = Ended(status, (told / "out").read_text(), (told / "err").read_text(), events)
        shutil.rmtree(told)
        return found

    def do(self, command: str, here: Path, kill: int = 0) -> Ended:
        return self.end(self.start(command, here, kill))

    def prepared(self, case: Case) -> Path:
        here = Path(tempfile.mkdtemp(dir=self.root, prefix="before"))
        for command in case.before:
            ended = self.do(command, here)
            assert ended.status == 0, ended
        return here

    def copied(self, before: Path) -> Path:
        """A folder with what a command finds; always the same, since results say where they lie."""
        here = self.root / "here"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(before, here)
        return here


def _count_events(below: str, kill: int) -> Callable[[], int]:
    lock, count = threading.Lock(), 0

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            mode, flags = arguments[1:]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return
        elif event not in _EVENTS:
            return
        paths = [os.fspath(path) for path in arguments[:2] if isinstance(path, (str, os.PathLike))]
        within = event in ("os.remove", "os.rmdir") and arguments[-1] not in (-1, None)  # named relative to a folder
        if not within and not any(path.startswith(below) for path in paths):
            return
        with lock:
            count += 1
            if count == kill:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    sys.addaudithook(heard)
    return lambda: count


def contents(folder: Path) -> dict[str, Any]:
    """All that is in a folder: of results each array exactly, of files their digest."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.name == RESULTS:
            with open_study(path) as tree:
                for node in tree.subtree:
                    found[f"{path}{node.path}"] = sorted(node.attrs)
                    for name, variable in node.dataset.drop_vars("seconds", errors="ignore").variables.items():
                        values = variable.values
                        whole = values.tolist() if values.dtype.kind in "OTU" else values.tobytes().hex()
                        found[f"{path}{node.path}/{name}"] = hashlib.sha256(json.dumps(whole).encode()).hexdigest()
        elif path.is_file() and RESULTS not in path.parts and "cache" not in path.parts:
            found[str(path)] = _digest(path)
    return found


def _digest(path: Path) -> Any:
    """Of a file but for the dates and durations in it: of pages that they are there, of checkpoints the tensors."""
    if path.suffix == ".html":
        return path.stat().st_size > 0
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        return {name: hashlib.sha256(tensors[name].tobytes()).hexdigest() for name in sorted(tensors)}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left(folder: Path) -> list[str]:
    """What a command uses while it runs, and should be gone."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.startswith(".") or path.name.endswith(".partial")
    ]


def looked_at(stage: Stage, here: Path) -> Any:
    """Read what is there, in a child of its own."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                try:
                    json.dump({"contents": contents(here), "left": left(here)}, pipe)
                except Exception:
                    json.dump({"error": traceback.format_exc()}, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def killed(stage: Stage, case: Case, every: int, first: int = 1) -> Iterator[dict[str, Any]]:
    """Kill a command at every N-th of its file events, run it again, and hold what is there against the unbroken."""
    before = stage.prepared(case)
    here = stage.copied(before)
    unbroken = stage.do(case.command, here)
    assert unbroken.status == 0, unbroken
    whole = looked_at(stage, here)
    assert "error" not in whole, whole
    for event in range(first, unbroken.events + 1, every):
        here = stage.copied(before)
        began = stage.do(case.command, here, event)
        seen = looked_at(stage, here)
        again = stage.do(case.command, here)
        after = looked_at(stage, here)
        wrong = []
        if began.status != -signal.SIGKILL and began.status != 0:  # events of threads come in any order
            wrong.append(f"the first ended with {began.status}: {began.err}")
        if "error" in seen:
            wrong.append(f"unreadable: {seen['error']}")
        if again.status not in case.done or "Traceback" in again.err:
            wrong.append(f"the second ended with {again.status}: {again.err}")
        if "error" in after:
            wrong.append(f"unreadable in the end: {after['error']}")
        elif after["contents"] != whole["contents"]:
            differ = {
                name
                for name in {*after["contents"], *whole["contents"]}
                if after["contents"].get(name) != whole["contents"].get(name)
            }
            wrong.append(f"differs: {sorted(differ)}")
        if after.get("left"):
            wrong.append(f"left: {after['left']}")
        yield {"event": event, "of": unbroken.events, "killed": began.status == -signal.SIGKILL, "wrong": wrong}


def together(
    stage: Stage, commands: Sequence[str], before: Path, whole: Any, delays: Sequence[float]
) -> dict[str, Any]:
    """Start commands one after the other in one folder, and hold what is there against what it should be."""
    here = stage.copied(before)
    began = time.monotonic()
    started = []
    for command, delay in zip(commands, delays, strict=True):
        time.sleep(max(0.0, began + delay - time.monotonic()))
        started.append(stage.start(command, here))
    ended = [stage.end(each) for each in started]
    after = looked_at(stage, here)
    wrong = []
    for each in ended:
        errors = [line for line in each.err.splitlines() if line.startswith("error: ")]
        told = each.status == 2 and len(errors) == 1 and any(text in errors[0] for text in _REFUSALS)
        if "Traceback" in each.err or (each.status and not told):
            wrong.append(f"status {each.status}: {each.err}")
    if all(each.status for each in ended):
        wrong.append("all refused")
    if "error" in after:
        wrong.append(after["error"])
    else:
        if after["contents"] != whole["contents"]:
            differ = {
                name
                for name in {*after["contents"], *whole["contents"]}
                if after["contents"].get(name) != whole["contents"].get(name)
            }
            wrong.append(f"differs: {sorted(differ)}")
        if after["left"]:
            wrong.append(f"left: {after['left']}")
    refused = sum(each.status == 2 for each in ended)
    waited = sum("waiting: " in each.err for each in ended)
    return {"delays": list(delays), "refused": refused, "waited": waited, "wrong": wrong}


def pairs(stage: Stage, case: Case, count: int, apart: float = 2.0) -> Iterator[dict[str, Any]]:
    """Start a command twice, 0 to `apart` seconds apart."""
    before = stage.prepared(case)
    here = stage.copied(before)
    assert stage.do(case.command, here).status == 0
    whole, draw = looked_at(stage, here), random.Random(0)
    for number in range(count):
        delay = 0.0 if number % 5 == 0 else draw.uniform(0, apart)
        yield together(stage, [case.command] * 2, before, whole, [0.0, delay])


def evaluators(stage: Stage, count: int) -> Iterator[dict[str, Any]]:
    """Start five evaluators of one study at once."""
    before = stage.prepared(Case("", (STUDY,)))
    commands = [f"evaluate {{found}}:{name} {{here}}/study" for name in ("first", "second", "third", "fourth", "fifth")]
    here = stage.copied(before)
    for command in commands:
        assert stage.do(command, here).status == 0
    whole, draw = looked_at(stage, here), random.Random(0)
    for _ in range(count):
        yield together(stage, commands, before, whole, sorted(draw.uniform(0, 0.2) for _ in commands))


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["kill", "together", "evaluators"])
    parser.add_argument("number", type=int)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--command", nargs="+", default=[], help="NAME COMMAND [BEFORE …]")
    asked = parser.parse_args(arguments)
    os.environ["METAMERY_TRUST"] = "1"  # studies name the network of the trials
    torch.set_num_threads(1)
    cases = dict(CASES)
    if asked.command:
        cases = {asked.command[0]: Case(asked.command[1], tuple(asked.command[2:]))}
    wrong = 0
    with tempfile.TemporaryDirectory() as root:
        stage = Stage(Path(root).resolve())
        if asked.what == "evaluators":
            chosen = {"five evaluators": evaluators(stage, asked.number)}
        elif asked.what == "kill":
            chosen = {n: killed(stage, cases[n], asked.number, asked.first) for n in asked.cases or cases}
        else:
            chosen = {n: pairs(stage, cases[n], asked.number) for n in asked.cases or cases}
        for name, trials in chosen.items():
            said = []
            for trial in trials:
                said.append(trial)
                if trial["wrong"]:
                    print(json.dumps({"case": name, **trial}), flush=True)
            failed = sum(bool(trial["wrong"]) for trial in said)
            counts = {key: sum(trial.get(key, 0) for trial in said) for key in ("killed", "refused", "waited")}
            print(json.dumps({"case": name, "trials": len(said), "failed": failed, **counts}), flush=True)
            wrong += failed
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
