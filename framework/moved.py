"""Paths that a study or a run names, found again after its folder was moved together with them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from .folders import RESULTS
from .remote import Folder, RemotePath

T = TypeVar("T")

_PATH = re.compile(r"(?P<family>[^/]+/(?:[^/]+/)*?)??(?P<path>/[^:\0]*)(?P<attribute>:[A-Za-z_]\w*)?")


def found_again(table: T, folder: Folder) -> T:
    """Replace absolute paths that no longer exist by those at the same position relative to a folder.

    Parameters
    ----------
    table
        Entries of a study or a run, as read from TOML.
    folder
        Folder of the study or run, whose results record where it was made.
    """
    if isinstance(folder, RemotePath):  # it is on none of the disks that the paths are on
        return table
    before = _recorded(folder)
    now = folder.resolve()
    if before is None or before == str(now):
        return table
    relocated: T = _relocated(table, before, now)
    return relocated


def _recorded(folder: Path) -> str | None:
    try:
        value = json.loads((folder / RESULTS / "zarr.json").read_text(encoding="utf-8"))["attributes"]["folder"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return value if isinstance(value, str) and os.path.isabs(value) else None


def _relocated(value: Any, before: str, now: Path) -> Any:
    if isinstance(value, dict):
        return {key: _relocated(each, before, now) for key, each in value.items()}
    if isinstance(value, list):
        return [_relocated(each, before, now) for each in value]
    if not isinstance(value, str) or not (named := _PATH.fullmatch(value)) or os.path.exists(named["path"]):
        return value
    moved = os.path.normpath(now / os.path.relpath(named["path"], before))
    return f"{named['family'] or ''}{moved}{named['attribute'] or ''}" if os.path.exists(moved) else value
