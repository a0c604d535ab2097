"""Holders of claims, as a claim on a folder states them; see `claims`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .owners import Owner
from .remote import Folder

LAPSE_SECONDS = 120.0
"""Seconds without a touch after which the claim of a process on another machine lapses."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim."""

    file: Folder
    owner: Owner
    command: str
    since: float
    touched: float

    def has_lapsed(self, now: float) -> bool:
        alive = self.owner.is_alive()
        return now - self.touched > LAPSE_SECONDS if alive is None else not alive

    def __str__(self) -> str:
        then, today = time.localtime(self.since), time.localtime()
        form = "%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M"
        return (
            f"`{self.command}` (process {self.owner.pid} on {self.owner.host}, since {time.strftime(form, then)})"
            if self.command
            else f"process {self.owner.pid} on {self.owner.host}"
        )


def statement() -> dict[str, str | float]:
    """Return what a claim of this process states, besides the process."""
    return {"command": _command(), "since": time.time()}


def stated(file: Folder, owner: Owner, text: str, touched: float) -> Holder:
    """Return the holder that the text of a claim states."""
    try:
        content = json.loads(text)
        return Holder(file, owner, str(content["command"]), float(content["since"]), touched)
    except (ValueError, KeyError, TypeError):  # truncated, because a disk was full or a machine lost power
        return Holder(file, owner, "", touched, touched)


def _command() -> str:
    """Return the program and its command, as a user types them."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    if program == "metamery":
        return " ".join(["metamery", *[word for word in sys.argv[1:2] if not word.startswith("-")]])
    return program
