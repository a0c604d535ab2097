"""Staging folders, in which groups are written before they are moved into a store, and recovery after a kill.

A staging folder is called ``.results.zarr.OWNER`` and holds the new group, ``new``, and the one that it replaces,
``old``, with its path in ``place.txt``. A writer can be killed after every step: a group that was moved out and not yet
replaced is moved back, and what is no longer needed is renamed before it is removed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .claims import Claim
from .folders import RESULTS
from .owners import abandoned, clear, discard

STAGED = f".{RESULTS}."
"""Prefix of the names of staging folders, and of everything else that a writer temporarily needs beside a store."""

_PATH_FILE = "place.txt"


def exchange(staging: Path, results: Path, path: str) -> None:
    """Move ``new`` from a staging folder to a path in a store; an earlier group at that path is replaced."""
    (staging / _PATH_FILE).write_text(path, encoding="utf-8")
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
    """Move a group back that was moved out of a store and not yet replaced."""
    with suppress(FileNotFoundError):  # nothing was moved
        target = results / (staging / _PATH_FILE).read_text(encoding="utf-8")
        if not target.exists():
            os.rename(staging / "old", target)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writers left unfinished beside a store and in it; the caller must have its turn.

    Files that a running process uses are kept.
    """
    for leftover in abandoned(folder, STAGED):
        put_back(leftover, folder / RESULTS)
        discard(leftover)
    clear(folder, ".report.")


def clear_half_written(folder: Path, claim: Claim) -> None:
    """Remove files within a store that Zarr has not yet renamed, unless other processes may be writing them."""
    if claim.others():
        return
    for file in (folder / RESULTS).rglob("*.partial"):
        if file.is_file():
            discard(file)
