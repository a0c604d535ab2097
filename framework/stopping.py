"""The message after Ctrl-C, SIGTERM or SIGHUP: whether the same command resumes where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STATUS = 130
"""Exit status of a program that was interrupted."""

RESUMES = "the same command resumes where this one stopped"
STARTS_AGAIN = "the same command starts again from the beginning"

_messages: list[str] = []
_interrupts: list[None] = []


@contextmanager
def when_stopped(text: str = RESUMES) -> Iterator[None]:
    """Print this text after an interrupt in the block."""
    try:
        yield
    except KeyboardInterrupt:
        say(text)
        raise


def begin() -> None:
    """Discard the messages of an earlier command, or of a notebook's cell that was interrupted."""
    _messages.clear()


def say(text: str) -> None:
    """Set the text that is printed if the program is interrupted; later calls have no effect."""
    _messages.append(text)


def tell() -> None:
    """Print that a command was stopped."""
    print(f"stopped: {_messages[0] if _messages else STARTS_AGAIN}", file=sys.stderr)
    _messages.clear()


def interrupt() -> NoReturn:
    """Interrupt the program, and record that, since the interrupted code may raise another error instead."""
    _interrupts.append(None)
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether the program was interrupted by a signal."""
    return bool(_interrupts)
