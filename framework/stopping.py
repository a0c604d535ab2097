"""The message after Ctrl-C, SIGTERM or SIGHUP: whether the same command resumes where it stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

STATUS = 130
"""Exit status of a program that was interrupted."""

RESUMES = "the same command resumes where this one stopped"
STARTS_AGAIN = "the same command starts again from the beginning"

AT_ONCE = 1.0
"""Seconds after an interrupt in which further ones are taken to be the same, such as a key that is pressed twice."""

_messages: list[str] = []
_interrupts: list[float] = []


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


def interrupt() -> None:
    """Interrupt the program, and record that, since the interrupted code may raise another error instead.

    Nothing happens if it was interrupted within the last second: it is ending.
    """
    now = time.monotonic()
    if _interrupts and now - _interrupts[-1] < AT_ONCE:
        return
    _interrupts.append(now)
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether the program was interrupted by a signal."""
    return bool(_interrupts)
