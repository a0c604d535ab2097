"""Kills, suspends and counts workers of a study; its store must be that of one process, byte for byte.

    python tests/worker_trials.py counts 1 2 4      # as many local workers, and parts 1/3, 2/3, 3/3
    python tests/worker_trials.py workers 20        # that many local workers killed at random moments
    python tests/worker_trials.py scheduler 5       # a scheduler killed that many times, and the command run again
    python tests/worker_trials.py suspend 120       # one worker of two stopped for that many seconds, and let go on
    python tests/worker_trials.py jobs 5            # on a machine with SLURM: that many of its jobs cancelled
    python tests/worker_trials.py array 5           # the same: jobs of the printed script queued again by the cluster

The result of each trial is a line of JSON; the exit status is 1 if a store differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from inputs import TINY
from PIL import Image
from stores import differing

STUDY = """
stimuli = {{ name = "folder", path = "{root}/pictures" }}
models = [{{ name = "{root}/tiny.py:build", layers = ["1", "output"] }}]
synthesis = {{ steps = {steps}, batch_size = 1, seeds = 4 }}
"""
JOBS = """
cluster = "slurm"
workers = 2
[options]
cores = 1
memory = "2GB"
walltime = "01:00:00"
log_directory = "{root}/logs"
"""
METAMERS = 5 * 2 * 4
PATIENCE = 900.0


class Trials:
    """The study, and commands that make it.

    Parameters
    ----------
    root
        Folder for the inputs and the studies.
    steps
        Number of updates of each metamer.
    """

    def __init__(self, root: Path, steps: int) -> None:
        self.root = root
        for number, name in enumerate(["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"]):
            file = root / "pictures" / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
        (root / "tiny.py").write_text(TINY, encoding="utf-8")
        (root / "study.toml").write_text(STUDY.format(root=root, steps=steps), encoding="utf-8")
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "METAMERY_TRUST": "1", "METAMERY_CACHE": ""}

    def run(self, name: str, *options: str) -> Running:
        """Start making the study in a folder."""
        arguments = [sys.executable, "-m", "metamery.framework", "run", str(self.root / "study.toml")]
        return Running([*arguments, "-o", str(self.root / name), *options], self.root / f"{name}.txt", self.environment)

    def alone(self) -> None:
        """Make the study by one process."""
        self.run("alone").end()

    def result(self, name: str, **about: Any) -> dict[str, Any]:
        """Hold a folder's store against that of one process."""
        folder = self.root / name
        return {"trial": name, **about, "made": made(folder), "wrong": differing(self.root / "alone", folder)}


class Running:
    """A process whose output is in a file."""

    def __init__(self, command: list[str], said: Path, environment: dict[str, str]) -> None:
        self._said = said
        self._file: IO[str] = said.open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdout=self._file, stderr=self._file, env=environment, start_new_session=True
        )

    @property
    def said(self) -> str:
        """What it and those before it have printed."""
        return self._said.read_text(encoding="utf-8")

    def end(self, *statuses: int) -> int:
        """Wait for it to end with one of some statuses, by default 0; return the status."""
        status = self.process.wait(timeout=PATIENCE)
        assert status in (statuses or (0,)), (status, self.said)
        assert "Traceback" not in self.said, self.said
        return status

    def stop(self) -> None:
        """End it and what it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def made(folder: Path) -> int:
    """Return the number of units that a study has."""
    states = (folder / "results.zarr").glob("models/*/metamers/state/c/**/*")
    return sum(1 for file in states if file.is_file() and not file.name.endswith(".partial"))


def children(pid: int) -> list[int]:
    """Return the worker processes that a process has started."""
    found = subprocess.run(
        ["ps", "-ww", "--ppid", str(pid), "-o", "pid=,args="], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 1) for line in found.stdout.splitlines()]
    return [int(number) for number, arguments in rows if "spawn_main" in arguments]


def has_started(workers: Callable[[int], list[int]], command: Running) -> bool:
    """Whether it has workers, or ended."""
    return bool(workers(command.process.pid)) or command.process.poll() is not None


def has_made(folder: Path, number: int, command: Running) -> bool:
    """Whether a study has as many units, or the command that makes it has ended."""
    return made(folder) >= number or command.process.poll() is not None


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def counts(trials: Trials, numbers: list[int]) -> Iterator[dict[str, Any]]:
    """Local workers, as many as said; and three parts at the same time."""
    for number in numbers:
        trials.run(f"workers-{number}", "--scheduler", f"local:{number}").end()
        yield trials.result(f"workers-{number}")
    parts = [trials.run("parts", "--part", f"{index}/3") for index in (1, 2, 3)]
    for part in parts:
        part.end()
    yield trials.result("parts")


def killed(
    trials: Trials, number: int, scheduler: str, workers: Callable[[int], list[int]], kill: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """Workers killed at random moments; where a command ends before that, the next study takes the rest."""
    draw, left, study = random.Random(0), number, 0
    while left:
        study, lost = study + 1, 0
        name = f"killed-{study}"
        command = trials.run(name, "--scheduler", scheduler)
        wait_for(partial(has_started, workers, command))
        while left and command.process.poll() is None:
            time.sleep(draw.uniform(0.2, 6.0))
            if found := workers(command.process.pid):
                kill(draw.choice(found))
                left, lost = left - 1, lost + 1
        command.end()
        yield trials.result(name, killed=lost)


def killed_workers(trials: Trials, number: int) -> Iterator[dict[str, Any]]:
    """Processes of this machine, killed."""
    return killed(trials, number, "local:2", children, partial(_signal, signal.SIGKILL))


def _signal(number: signal.Signals, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def queued() -> list[int]:
    """Jobs of SLURM that wait or run."""
    found = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True)
    return [int(number) for number in found.stdout.split()]


def cancelled_jobs(trials: Trials, number: int) -> Iterator[dict[str, Any]]:
    """Jobs of SLURM, cancelled."""
    cluster = trials.root / "cluster.toml"
    cluster.write_text(JOBS.format(root=trials.root), encoding="utf-8")
    return killed(trials, number, str(cluster), lambda _pid: queued(), partial(_slurm, "scancel"))


def _slurm(*command: str | int) -> None:
    subprocess.run([str(word) for word in command], capture_output=True, check=False)


def requeued_array(trials: Trials, number: int) -> Iterator[dict[str, Any]]:
    """The array of jobs that `metamery cluster --slurm` prints; some are queued again, as after a preemption."""
    draw, study = random.Random(0), ["cluster", str(trials.root / "study.toml"), "--slurm", "--workers", "3"]
    options = ["-o", str(trials.root / "array"), "--cores", "1", "--memory", "2G", "--time", "01:00:00"]
    written = [sys.executable, "-m", "metamery.framework", *study, *options]
    script = subprocess.run(written, capture_output=True, text=True, check=True, env=trials.environment).stdout
    (trials.root / "parts.sh").write_text(script, encoding="utf-8")
    subprocess.run(["sbatch", "parts.sh"], cwd=trials.root, env=trials.environment, check=True, capture_output=True)
    again = 0
    while found := queued():
        time.sleep(draw.uniform(0.5, 6.0))
        if again < number:
            _slurm("scontrol", "requeue", draw.choice(found))
            again += 1
    yield trials.result("array", requeued=again)


@contextmanager
def scheduler(trials: Trials, number: int) -> Iterator[tuple[str, Running, list[Running]]]:
    """A scheduler with two workers, as processes."""

    def dask(what: str, said: str, *options: str) -> Running:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *options]
        return Running(command, trials.root / said, trials.environment)

    started = dask("scheduler", f"scheduler-{number}.txt", "--host", "127.0.0.1", "--port", "0")
    workers: list[Running] = []
    try:
        wait_for(lambda: re.search(r"tcp://127\.0\.0\.1:\d+", started.said))
        address = re.findall(r"tcp://127\.0\.0\.1:\d+", started.said)[0]
        options = (address, "--nthreads", "1", "--no-nanny", "--death-timeout", "20")
        workers = [dask("worker", f"worker-{number}-{index}.txt", *options) for index in (1, 2)]
        yield address, started, workers
    finally:
        for each in (*workers, started):
            each.stop()


def killed_scheduler(trials: Trials, number: int) -> Iterator[dict[str, Any]]:
    """A scheduler killed after some units; each time the command ends in one line, and is run again with another."""
    draw, said = random.Random(0), []
    for turn in range(number):
        with scheduler(trials, turn) as (address, process, _):
            command = trials.run("scheduler", "--scheduler", address)
            wait_for(partial(has_made, trials.root / "scheduler", made(trials.root / "scheduler") + 1, command))
            time.sleep(draw.uniform(0, 2.0))
            process.stop()
            command.end(0, 2)
            said.append(command.said.strip().splitlines()[-1])
    with scheduler(trials, number) as (address, _process, _workers):
        trials.run("scheduler", "--scheduler", address).end()
    yield trials.result("scheduler", said=said)


def suspended_worker(trials: Trials, seconds: int) -> Iterator[dict[str, Any]]:
    """A worker is stopped in mid-unit for some seconds; the others go on, and it does when it is let."""
    with scheduler(trials, 0) as (address, _process, workers):
        command = trials.run("suspended", "--scheduler", address)
        wait_for(partial(has_made, trials.root / "suspended", 2, command))
        workers[0].process.send_signal(signal.SIGSTOP)
        stopped, units = time.monotonic(), made(trials.root / "suspended")
        wait_for(lambda: command.process.poll() is not None or time.monotonic() > stopped + seconds)
        meanwhile = made(trials.root / "suspended") - units
        workers[0].process.send_signal(signal.SIGCONT)
        command.end()
        time.sleep(5.0)  # it may still write what it had begun
        yield trials.result("suspended", seconds=round(time.monotonic() - stopped), meanwhile=meanwhile)


TRIALS: dict[str, Callable[[Trials, int], Iterator[dict[str, Any]]]] = {
    "workers": killed_workers,
    "scheduler": killed_scheduler,
    "suspend": suspended_worker,
    "jobs": cancelled_jobs,
    "array": requeued_array,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["counts", *TRIALS])
    parser.add_argument("numbers", type=int, nargs="+")
    parser.add_argument("--steps", type=int, default=600)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        trials = Trials(Path(root).resolve(), asked.steps)
        trials.alone()
        one = TRIALS.get(asked.what)
        wrong = 0
        for result in one(trials, asked.numbers[0]) if one else counts(trials, asked.numbers):
            print(json.dumps(result), flush=True)
            wrong += bool(result["wrong"]) or result["made"] != METAMERS
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
