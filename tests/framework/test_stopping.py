"""Stopped by a signal: one line and status 130, at any time, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("metamery")
SLOW = """
import time
import torch

def slow():
    open({started!r}, "w").close()
    {body}
"""


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate()
    return process.returncode, err


@pytest.fixture
def started(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """``started("show", …)`` starts the program."""

    def begin(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        return start([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    return begin


def slow_model(folder: Path, body: str) -> str:
    (folder / "slow.py").write_text(SLOW.format(started=str(folder / "started"), body=body))
    return f"{folder / 'slow.py'}:slow"


def appears(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


SLEEP = "time.sleep(100)"
TURNED = f"try:\n        {SLEEP}\n    except BaseException:\n        raise ValueError('of a library')"
HIDDEN = f"try:\n        {SLEEP}\n    finally:\n        raise OSError(39, 'Directory not empty')"


@pytest.mark.parametrize(
    ("name", "body"),
    [("SIGINT", SLEEP), ("SIGTERM", SLEEP), ("SIGHUP", SLEEP), ("SIGINT", TURNED), ("SIGTERM", HIDDEN)],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "turned into an error", "hidden by one while clearing up"],
)
def test_a_signal_ends_in_one_line(started: Callable[..., Any], tmp_path: Path, name: str, body: str) -> None:
    process = started("show", slow_model(tmp_path, body))
    appears(tmp_path / "started")
    process.send_signal(getattr(signal, name))
    assert ended(process) == (130, "stopped: the same command starts again from the beginning\n")


@pytest.mark.parametrize("apart", [0.001, 0.03, 0.1, 1.2])
def test_ctrl_c_several_times_ends_as_once(started: Callable[..., Any], tmp_path: Path, apart: float) -> None:
    """While the interrupted code runs, while the program ends, and while Python itself shuts down."""
    process = started("show", slow_model(tmp_path, SLEEP))
    appears(tmp_path / "started")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(apart)
    assert ended(process) == (130, "stopped: the same command starts again from the beginning\n")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_ctrl_c_while_the_program_loads(share: float) -> None:
    """At moments from the entry to the end; before the entry Python itself is still starting."""
    code = f"""
import os, signal, sys, threading, time
from metamery.framework.start import entry
sys.argv = ["metamery", "list"]
began = time.monotonic()
threading.Timer({share}, os.kill, (os.getpid(), signal.SIGINT)).start()
entry()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if said.returncode >= 0:  # otherwise it had ended and the interpreter was on its way out
        assert "Traceback" not in said.stderr
        assert said.returncode == 0 or (said.returncode, said.stderr) == (
            130,
            "stopped: the same command starts again from the beginning\n",
        )


def test_what_ignores_hang_ups_goes_on(started: Callable[..., Any], tmp_path: Path) -> None:
    """As under nohup."""
    process = started(
        "show", slow_model(tmp_path, "time.sleep(1)"), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    appears(tmp_path / "started")
    process.send_signal(signal.SIGHUP)
    status, err = ended(process)
    assert status != 130
    assert "stopped" not in err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["list"], ["--help"], ["plugins"]):
        said = subprocess.run([PROGRAM, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        assert said.stderr == ""
        assert said.returncode in (1, 141)
    os.close(writing)
