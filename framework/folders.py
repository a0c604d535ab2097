"""Kinds of folders: every command checks the kind of a folder before it writes to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import MetameryError
from .remote import Folder, RemotePath

RESULTS = "results.zarr"
STUDY_FILE = "study.toml"
RUN_FILE = "run.toml"
UPDATES_FILE = "updates.csv"
EXPORT_TABLE = "metamers.csv"
EXPERIMENT_FILE = "experiment.toml"

CREATING = f".{RESULTS}.creating"
"""Object beside results on an object store that are being created or removed; without it, results without the
description of their root are damaged."""

LEFTOVERS = (".claim-", f".{RESULTS}.", ".report.", ".export.", ".experiment.", f".{RUN_FILE}.", ".last.", ".best.")
"""Prefixes of names that a command uses while it runs, and may leave behind if it is killed."""

KINDS: Mapping[str, str] = {
    "missing": "does not exist",
    "empty": "is empty",
    "study": "holds a study",
    "run": "holds a run",
    "evaluations": "holds evaluations",
    "export": "holds exported files",
    "experiment": "holds an experiment",
    "damaged": f"holds a {RESULTS} that cannot be read",
    "store": f"is inside a {RESULTS}, where no other files belong",
    "file": "is a file, expected a folder",
    "link": "is a link whose target does not exist",
    "other": "holds other files",
}
"""Kinds of folders, and the words for them in messages. Comparisons and statistics are evaluations."""

_FILES = {"run": RUN_FILE, "study": STUDY_FILE, "experiment": EXPERIMENT_FILE}

READABLE = ("study", "run", "evaluations", "damaged")
"""Kinds that hold results; for damaged ones `open_study` reports why they cannot be read."""


def kind(folder: Folder) -> str:
    """Return the kind of a folder, one of `KINDS`, from its results or, without results, from its settings file.

    A study or a run that has no results yet, or was begun and left empty, still counts as one.

    Raises
    ------
    MetameryError
        The folder cannot be inspected.
    """
    try:
        return _kind_of_objects(folder) if isinstance(folder, RemotePath) else _kind(folder)
    except OSError as error:
        raise MetameryError(f"cannot inspect '{folder}': {error.strerror}") from None


def home(path: Folder) -> Folder:
    """Return the folder that results belong to, given that folder or the ``results.zarr`` in it."""
    return path.parent if path.name == RESULTS and (path / "zarr.json").is_file() else path


def has_results(folder: Folder) -> bool:
    """Whether a folder holds results, complete or damaged; those that a killed process was creating do not count."""
    results = folder / RESULTS
    if isinstance(folder, RemotePath):
        return (results / "zarr.json").is_file() or (results.exists() and not (folder / CREATING).is_file())
    return results.exists()


def check_output(folder: Folder, wanted: str, others: bool = True) -> str:
    """Raise `MetameryError` if a command that makes something of the kind `wanted` cannot write to a folder.

    Folders of that kind, missing and empty folders are allowed, and those with other files unless `others` is false.

    Returns
    -------
    str
        The kind of the folder.
    """
    found = kind(folder)
    allowed = {wanted, "missing", "empty", *(["other"] if others else [])}
    if found not in allowed:
        raise MetameryError(f"'{folder}' {KINDS[found]}; choose another folder")
    if isinstance(folder, RemotePath):
        return found  # whether it can be written to, the claim on it shows
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise MetameryError(f"cannot write to '{folder}': '{existing}' is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise MetameryError(f"cannot write to '{existing}': permission denied, or the disk is read-only")
    return found


def check_input(folder: Folder, wanted: Iterable[str], expected: str) -> Folder:
    """Return the folder that results belong to; raise `MetameryError` if its kind is not among those wanted."""
    folder = home(folder)
    if (found := kind(folder)) not in wanted:
        state = KINDS[found].partition(", expected")[0]
        holds = found in ("run", "evaluations")
        message = f"'{folder}' {state}" if holds else f"no results in '{folder}', which {state}"
        raise MetameryError(f"{message}, expected {expected}")
    return folder


def _kind(folder: Path) -> str:
    if _is_in_store(folder):
        return "store"
    if not folder.is_dir():
        if folder.is_symlink():
            return "link"
        return "file" if folder.exists() else "missing"
    has_file = {name: (folder / file).is_file() for name, file in _FILES.items()}
    if (folder / RESULTS).exists():
        return _kind_of_results(folder / RESULTS, has_file)
    if found := next((name for name, exists in has_file.items() if exists), None):
        return found
    return _kind_of_names([each.name for each in folder.iterdir()])


def _kind_of_objects(folder: RemotePath) -> str:
    names = [each.name for each in folder.iterdir()]
    if RESULTS in folder.url.split("/") or "zarr.json" in names:
        return "store"
    if not names:
        return "file" if folder.is_file() else "missing"
    has_file = {name: file in names for name, file in _FILES.items()}
    if RESULTS in names and has_results(folder):
        return _kind_of_results(folder / RESULTS, has_file)
    if found := next((name for name, exists in has_file.items() if exists), None):
        return found
    return _kind_of_names([name for name in names if name != RESULTS])


def _kind_of_results(results: Folder, has_file: Mapping[str, bool]) -> str:
    attributes = _attributes(results)
    if attributes is None or "schema_version" not in attributes:
        return "damaged"
    stored = next((name for name in ("study", "run") if name in attributes), None)
    return stored or ("run" if has_file["run"] else "evaluations")


def _kind_of_names(names: list[str]) -> str:
    if any(name.startswith(".experiment.") for name in names):
        return "experiment"  # unfinished
    if all(name.startswith(LEFTOVERS) for name in names):
        return "empty"
    return "export" if EXPORT_TABLE in names or any(name.startswith(".export.") for name in names) else "other"


def _is_in_store(folder: Path) -> bool:
    path = Path(os.path.realpath(folder))
    return any(each.name == RESULTS or (each / "zarr.json").is_file() for each in (path, *path.parents))


def _attributes(store: Folder) -> Mapping[str, Any] | None:
    """Return the attributes of a store's root, or None if it cannot be read."""
    try:
        node = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
        attributes = node["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None
