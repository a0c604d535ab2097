"""What is written beside a store before it is moved in, and what becomes of it when its writer is killed.

A staging folder is called ``.results.zarr.OWNER`` and holds ``new``, which is to come, and ``old``, an earlier group
that gives way, with its place in ``place.txt``. Every step can be the last: a group that was moved out and not yet
replaced goes back, and what is no longer needed is renamed before it is removed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .claims import Claim
from .folders import RESULTS
from .owners import abandoned, clear, discard

STAGED = f".{RESULTS}."
"""How the names of staging folders begin, and of whatever else a writer needs beside a store meanwhile."""

_PLACE = "place.txt"


def exchange(staging: Path, results: Path, path: str) -> None:
    """Move ``new`` from a staging folder to its place in a store; an earlier group there gives way."""
    (staging / _PLACE).write_text(path, encoding="utf-8")
    target, old = results / path, staging / "old"
    try:
        if target.exists():
            os.rename(target, old)
        os.rename(staging / "new", target)
    finally:
        put_back(staging, results)
    if old.exists():
        os.rename(old, staging / "gone")


def put_back(staging: Path, results: Path) -> None:
    """Put a group back that was moved out of a store and not yet replaced."""
    with suppress(FileNotFoundError):  # nothing was moved
        target = results / (staging / _PLACE).read_text(encoding="utf-8")
        if not target.exists():
            os.rename(staging / "old", target)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writers left half written beside a store and in it, while it is one's turn.

    What a live process uses stays.
    """
    for leftover in abandoned(folder, STAGED):
        put_back(leftover, folder / RESULTS)
        discard(leftover)
    clear(folder, ".report.")


def clear_half_written(folder: Path, claim: Claim) -> None:
    """Remove files within a store that Zarr had not yet moved into place, unless others may be writing them."""
    if claim.others():
        return
    for file in (folder / RESULTS).rglob("*.partial"):
        if file.is_file():
            discard(file)
