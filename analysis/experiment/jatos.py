"""An experiment as a study for JATOS: a ``.jzip``, a ZIP with one folder of files and one ``.jas`` beside it."""

from __future__ import annotations

import json
import re
import uuid
import zipfile
from pathlib import Path

from ...framework.limits import size
from ...framework.replacing import replaced, writing_to
from .key import Key
from .records import Record

NAMESPACE = uuid.UUID("2b1f7a60-0d0c-5c8e-9a7e-6a3c2f1de0a4")
"""Namespace of the UUIDs of studies and components in JATOS."""

MAX_RESULT = 5 * 10**6
"""Bytes that JATOS takes as the result of one component by default (``jatos.resultData.maxSize``)."""

_DATE = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same experiment is the same archive
_LINE = 2 * len(json.dumps({"kind": "record", **Record("main", 1000, "0" * 20).table()}))  # with room for the answer


def write_jzip(folder: Path, key: Key) -> tuple[Path, list[str]]:
    """Write a built experiment as a study for JATOS, in its own folder.

    Its UUIDs come from the experiment's secret, which stays the same when an experiment is built again in its folder:
    JATOS then updates its study, and two experiments are two studies.

    Parameters
    ----------
    folder
        The experiment's folder, with its ``site``.

    Returns
    -------
    (Path, list of str)
        The file, and warnings where JATOS's default limits are exceeded.

    Raises
    ------
    MetameryError
        The file cannot be written.
    """
    study = uuid.uuid5(NAMESPACE, f"study {key.pseudonym('JATOS')}")
    name = _name(key.title)
    directory = f"{name}_{study.hex[:12]}"
    site = folder / "site"
    with writing_to(folder), replaced(folder / f"{name}.jzip") as path, zipfile.ZipFile(path, "w") as archive:
        _add(archive, f"{name}.jas", json.dumps(_properties(study, directory, key), indent=2).encode())
        for file in sorted(site.rglob("*")):
            if file.is_file():
                _add(archive, f"{directory}/{file.relative_to(site).as_posix()}", file.read_bytes())
    longest = max((len(key.trials(list_)) for list_ in range(len(key.lists))), default=0)
    expected = longest * _LINE
    if expected <= MAX_RESULT:
        return folder / f"{name}.jzip", []
    return folder / f"{name}.jzip", [
        f"a session may save {size(expected)}, and JATOS takes {size(MAX_RESULT)} by default: "
        "raise jatos.resultData.maxSize, or make the lists shorter"
    ]


def _properties(study: uuid.UUID, directory: str, key: Key) -> dict[str, object]:
    """Return what the ``.jas`` holds; without a batch JATOS makes the default one."""
    component = {
        "uuid": str(uuid.uuid5(study, "page")),
        "title": key.title or "Experiment",
        "htmlFilePath": "index.html",
        "reloadable": True,
        "active": True,
        "comments": "",
        "componentInput": None,
    }
    data = {
        "uuid": str(study),
        "title": key.title or "Experiment",
        "description": f"Made by metamery; experiment {key.experiment}.",
        "groupStudy": False,
        "linearStudy": False,
        "allowPreview": False,
        "dirName": directory,
        "comments": "",
        "studyInput": None,
        "endRedirectUrl": None,
        "studyEntryMsg": None,
        "componentList": [component],
        "batchList": [],
    }
    return {"version": "3", "data": data}


def _name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:40] or "experiment"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
