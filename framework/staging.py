"""Staging folders, in which groups are written before they are moved into a store, and recovery after a kill.

A staging folder is called ``.results.zarr.OWNER`` and holds the new group, ``new``, and the one that it replaces,
``old``, with its path in ``place.txt``. A writer can be killed after every step: a group that was moved out and not yet
replaced is moved back, and what is no longer needed is renamed before it is removed.

On an object store nothing can be moved. What is written in a staging folder, which then is on the disk of this machine,
is uploaded, and the description of the group, ``zarr.json``, comes last: until then there is no such group. An earlier
one is removed before, its description first. Beside results that are being created or removed lies an object,
`CREATING`, by which what a killed process left of them is known.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .claims import Claim
from .folders import CREATING, RESULTS
from .owners import abandoned, clear, discard, scratch
from .remote import Folder, RemotePath

STAGED = f".{RESULTS}."
"""Prefix of the names of staging folders, and of everything else that a writer temporarily needs beside a store."""

_PATH_FILE = "place.txt"
_DESCRIPTION = "zarr.json"


@contextmanager
def staging_for(folder: Folder) -> Iterator[Path]:
    """Create a staging folder beside a store, or for an object store on the disk, and remove it at the end."""
    beside = staging_disk(folder)
    if isinstance(folder, RemotePath):
        clear(beside, STAGED)
    with scratch(beside, STAGED) as staging:
        yield staging


def staging_disk(folder: Folder) -> Path:
    """Return the folder that staging folders are in."""
    return Path(tempfile.gettempdir()) if isinstance(folder, RemotePath) else folder


def appear(staging: Path, folder: Folder) -> None:
    """Move new results from a staging folder to their folder, where there are none."""
    if isinstance(folder, RemotePath):
        (folder / CREATING).write_bytes(b"")
        _upload(staging / RESULTS, folder / RESULTS)
        (folder / CREATING).unlink(missing_ok=True)
    else:
        os.rename(staging / RESULTS, folder / RESULTS)


def disappear(results: Folder, staging: Path) -> None:
    """Remove all results."""
    if isinstance(results, RemotePath):
        (results.parent / CREATING).write_bytes(b"")
        _remove(results)
        (results.parent / CREATING).unlink(missing_ok=True)
    else:
        os.rename(results, staging / "gone")


def take_out(results: Folder, path: str, staging: Path) -> None:
    """Remove a group from a store."""
    if isinstance(results, RemotePath):
        _remove(RemotePath(f"{results}/{path}"))
    else:
        os.rename(results / path, staging / "gone")


def exchange(staging: Path, results: Folder, path: str) -> None:
    """Move ``new`` from a staging folder to a path in a store; an earlier group at that path is replaced."""
    if isinstance(results, RemotePath):
        _remove(results / path)
        _upload(staging / "new", results / path)
        return
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
    with suppress(FileNotFoundError, NotADirectoryError):  # nothing was moved, or it is a file beside the store
        target = results / (staging / _PATH_FILE).read_text(encoding="utf-8")
        if not target.exists():
            os.rename(staging / "old", target)


def _upload(group: Path, target: RemotePath) -> None:
    """Write a group to an object store; its description comes last."""
    names = sorted(str(file.relative_to(group).as_posix()) for file in group.rglob("*") if file.is_file())
    target.upload(group, [name for name in names if name != _DESCRIPTION])
    target.upload(group, [_DESCRIPTION])


def _remove(group: RemotePath) -> None:
    """Remove a group from an object store; its description goes first."""
    (group / _DESCRIPTION).unlink(missing_ok=True)
    group.remove()


def clear_leftovers(folder: Folder) -> None:
    """Remove what killed writers left unfinished beside a store and in it; the caller must have its turn.

    Files that a running process uses are kept.
    """
    if isinstance(folder, RemotePath):
        if (folder / CREATING).is_file():
            if not (folder / RESULTS / _DESCRIPTION).is_file():
                (folder / RESULTS).remove()
            (folder / CREATING).unlink(missing_ok=True)
        return
    for leftover in abandoned(folder, STAGED):
        put_back(leftover, folder / RESULTS)
        discard(leftover)
    clear(folder, ".report.")


def clear_half_written(folder: Folder, claim: Claim) -> None:
    """Remove files within a store that Zarr has not yet renamed, unless other processes may be writing them."""
    if isinstance(folder, RemotePath) or claim.others():
        return
    for file in (folder / RESULTS).rglob("*.partial"):
        if file.is_file():
            discard(file)
