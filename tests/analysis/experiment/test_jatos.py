"""What JATOS takes: an archive that keeps its rules."""

from __future__ import annotations

import json
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from answered_experiment import small_experiment
from metamery.analysis.experiment.jatos import write_jzip
from metamery.analysis.experiment.key import Key

STUDY = {
    "uuid": str, "title": str, "description": str, "groupStudy": bool, "linearStudy": bool, "allowPreview": bool,
    "dirName": str, "comments": str, "studyInput": (str, type(None)), "endRedirectUrl": (str, type(None)),
    "studyEntryMsg": (str, type(None)), "componentList": list, "batchList": list,
}  # fmt: skip
COMPONENT = {
    "uuid": str, "title": str, "htmlFilePath": str, "reloadable": bool, "active": bool, "comments": str,
    "componentInput": (str, type(None)),
}  # fmt: skip


def built(folder: Path) -> Key:
    key = small_experiment(folder)
    for name, text in {"index.html": "<!doctype html>", "lists/0.json": "{}", "media/item-0-0.png": "x"}.items():
        (folder / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / name).write_text(text)
    return key


def properties(path: Path) -> dict[str, object]:
    """Check an archive against JATOS's rules, and return the properties of its study."""
    with zipfile.ZipFile(path) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
        at_root = [name for name in names if len(name.parts) == 1]
        folders = {name.parts[0] for name in names if len(name.parts) > 1}
        assert [name.suffix for name in at_root] == [".jas"]
        assert len(folders) == 1
        given = json.loads(archive.read(str(at_root[0])))
        assert given["version"] == "3"
        data = given["data"]
        assert set(data) == set(STUDY)
        assert all(isinstance(data[name], kind) for name, kind in STUDY.items())
        assert {data["dirName"]} == folders
        assert uuid.UUID(data["uuid"]).version == 5
        for component in data["componentList"]:
            assert set(component) == set(COMPONENT)
            assert all(isinstance(component[name], kind) for name, kind in COMPONENT.items())
            assert f"{data['dirName']}/{component['htmlFilePath']}" in archive.namelist()
            assert uuid.UUID(component["uuid"]).version == 5
    return data


def test_the_archive_keeps_the_rules_and_holds_no_truth(tmp_path: Path) -> None:
    key = built(tmp_path)
    path, warnings = write_jzip(tmp_path, key)
    assert not warnings
    assert path.name == "what_do_you_see.jzip"
    properties(path)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 4
        assert not any("key" in name for name in archive.namelist())
        assert all(key.secret.encode() not in archive.read(name) for name in archive.namelist())


def test_a_second_export_updates_and_two_experiments_never_collide(tmp_path: Path) -> None:
    key = built(tmp_path)
    first = write_jzip(tmp_path, key)[0].read_bytes()
    again = write_jzip(tmp_path, key)[0]
    assert again.read_bytes() == first
    ours = properties(again)
    changed = properties(write_jzip(tmp_path, replace(key, experiment=str(uuid.uuid4()), lists=key.lists[:1]))[0])
    other = properties(write_jzip(tmp_path, replace(key, secret="cd" * 32))[0])
    for name in ("uuid", "dirName"):
        assert changed[name] == ours[name] != other[name]
    assert changed["componentList"] == ours["componentList"]
    assert other["componentList"] != ours["componentList"]


def test_what_is_larger_than_jatos_takes_is_told(tmp_path: Path) -> None:
    key = built(tmp_path)
    long = replace(key, lists=((tuple(key.trials(0)) * 500,),))
    assert "raise jatos.resultData.maxSize" in write_jzip(tmp_path, long)[1][0]
