"""What is said after Ctrl-C, SIGTERM or SIGHUP: whether the same command goes on where it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STATUS = 130
"""Exit status of a program that was interrupted."""

GOES_ON = "the same command goes on where this one was"
ANEW = "the same command starts anew"

_said: list[str] = []
_interrupts: list[None] = []


@contextmanager
def when_stopped(text: str = GOES_ON) -> Iterator[None]:
    """Within it, an interrupt is followed by this text."""
    try:
        yield
    except KeyboardInterrupt:
        say(text)
        raise


def begin() -> None:
    """Forget what an earlier command, or a notebook's cell that was interrupted, had to say."""
    _said.clear()


def say(text: str) -> None:
    """Let the program end with this text, if it was interrupted; what was said first holds."""
    _said.append(text)


def tell() -> None:
    """Say that a command was stopped."""
    print(f"stopped: {_said[0] if _said else ANEW}", file=sys.stderr)
    _said.clear()


def interrupt() -> NoReturn:
    """Interrupt the program, and note it: what is interrupted may turn that into an error of its own."""
    _interrupts.append(None)
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether the program was interrupted by a signal."""
    return bool(_interrupts)
