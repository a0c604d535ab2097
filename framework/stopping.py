"""What is said after Ctrl-C: whether the same command goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

GOES_ON = "the same command goes on where this one was"
ANEW = "the same command starts anew"

_said: list[str] = []


@contextmanager
def when_stopped(text: str = GOES_ON) -> Iterator[None]:
    """Within it, an interrupt is followed by this text."""
    try:
        yield
    except KeyboardInterrupt:
        say(text)
        raise


def say(text: str) -> None:
    """Let the program end with this text, if it was interrupted; what was said first holds."""
    _said.append(text)


def said() -> str:
    """What to say of a command that was interrupted."""
    text = _said[0] if _said else ANEW
    _said.clear()
    return text
