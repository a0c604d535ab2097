"""What a folder is: every command asks before it writes to one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import MetameryError

RESULTS = "results.zarr"
STUDY_FILE = "study.toml"
RUN_FILE = "run.toml"
EXPORT_TABLE = "metamers.csv"

LEFTOVERS = (".claim-", f".{RESULTS}.", ".report.", ".export.", f".{RUN_FILE}.", ".last.", ".best.")
"""How names begin that a command uses while it runs, and may leave where it is killed."""

KINDS: Mapping[str, str] = {
    "missing": "does not exist",
    "empty": "is empty",
    "study": "holds a study",
    "run": "holds a run",
    "evaluations": "holds evaluations",
    "export": "holds exported files",
    "damaged": f"holds a {RESULTS} that cannot be read",
    "store": f"lies in a {RESULTS}, where no other files belong",
    "file": "is a file, expected a folder",
    "link": "is a link to what does not exist",
    "other": "holds other files",
}
"""What a folder can be, and how that is said. Comparisons and statistics are evaluations."""

READABLE = ("study", "run", "evaluations", "damaged")
"""Kinds that hold results; of those that cannot be read `open_study` says why."""


def kind(folder: Path) -> str:
    """What a folder is: one of `KINDS`. It is decided by its results, and where there are none by its file.

    A study or a run without results yet, and one that was begun and left empty, are of their kind, too.

    Raises
    ------
    MetameryError
        It cannot be looked at.
    """
    try:
        return _kind(folder)
    except OSError as error:
        raise MetameryError(f"cannot look at '{folder}': {error.strerror}") from None


def home(path: Path) -> Path:
    """The folder that results belong to, given that or the ``results.zarr`` in it."""
    return path.parent if path.name == RESULTS and (path / "zarr.json").is_file() else path


def check_output(folder: Path, wanted: str, others: bool = True) -> str:
    """Raise `MetameryError` where a command that makes something of the kind `wanted` cannot write to a folder.

    Free are folders of that kind, new and empty ones, and unless `others` is false those with other files.

    Returns
    -------
    str
        The kind of the folder.
    """
    found = kind(folder)
    allowed = {wanted, "missing", "empty", *(["other"] if others else [])}
    if found not in allowed:
        raise MetameryError(f"'{folder}' {KINDS[found]}; choose another folder")
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise MetameryError(f"cannot write to '{folder}': '{existing}' is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise MetameryError(f"cannot write to '{existing}': permission denied, or the disk is read-only")
    return found


def check_input(folder: Path, wanted: Iterable[str], expected: str) -> Path:
    """Return the folder that is meant; raise `MetameryError` where it is none of the kinds that are wanted."""
    folder = home(folder)
    if (found := kind(folder)) not in wanted:
        said = KINDS[found].partition(", expected")[0]
        holds = found in ("run", "evaluations")
        said = f"'{folder}' {said}" if holds else f"no results in '{folder}', which {said}"
        raise MetameryError(f"{said}, expected {expected}")
    return folder


def _kind(folder: Path) -> str:
    if _is_in_store(folder):
        return "store"
    if not folder.is_dir():
        if folder.is_symlink():
            return "link"
        return "file" if folder.exists() else "missing"
    has_file = {"run": (folder / RUN_FILE).is_file(), "study": (folder / STUDY_FILE).is_file()}
    if (folder / RESULTS).exists():
        attributes = _attributes(folder / RESULTS)
        if attributes is None or "schema_version" not in attributes:
            return "damaged"
        said = next((name for name in ("study", "run") if name in attributes), None)
        return said or ("run" if has_file["run"] else "evaluations")
    if found := next((name for name, there in has_file.items() if there), None):
        return found
    names = [each.name for each in folder.iterdir()]
    if all(name.startswith(LEFTOVERS) for name in names):
        return "empty"
    unfinished = any(name.startswith(".export.") for name in names)
    return "export" if unfinished or (folder / EXPORT_TABLE).is_file() else "other"


def _is_in_store(folder: Path) -> bool:
    whole = Path(os.path.realpath(folder))
    return any(each.name == RESULTS or (each / "zarr.json").is_file() for each in (whole, *whole.parents))


def _attributes(store: Path) -> Mapping[str, Any] | None:
    """The attributes of a store's root, or None where it cannot be read."""
    try:
        node = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
        attributes = node["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None
