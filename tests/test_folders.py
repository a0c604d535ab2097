"""Commands × kinds of folders: each works, or is refused in one line and leaves the folder as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from metamery.framework import MetameryError
from metamery.framework.domains import ImageDomain
from metamery.framework.folders import KINDS, check_input, check_output, home, kind
from metamery.framework.store import StudyStore
from studies import make_study

PEOPLE = "participant,model,layer,correct\n"
STUDY_FILE = """
[[models]]
name = "{tiny}"

[stimuli]
name = "folder"
path = "{pictures}"
"""


def found() -> xr.Dataset:
    return xr.Dataset({"n": ((), np.int64(3), {"long_name": "signals", "units": "1"})})


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A folder of each kind, by its name, and some more of the same kinds."""
    root = tmp_path / "places"
    study = make_study(root / "study", {"vision:net": ImageDomain(3, 8, 8)}, null=False)
    (study / "study.toml").write_text("seed = 0\n")
    evaluations = root / "evaluations"
    StudyStore.create(evaluations, {}, {"title": "Evaluations"}).add("counts", found())
    run = root / "run"
    StudyStore.create(run, {}, {"run": "seed = 0\n"}).add("history", found())
    (run / "run.toml").write_text("seed = 0\n")
    export = root / "export"
    export.mkdir()
    (export / "metamers.csv").write_text("file\n")
    experiment = root / "experiment"
    experiment.mkdir()
    (experiment / "experiment.toml").write_text('title = "Pets"\n')
    (root / "exchanged" / ".experiment.~").mkdir(parents=True)
    damaged = root / "damaged"
    (damaged / "results.zarr").mkdir(parents=True)
    (damaged / "results.zarr" / "zarr.json").write_text("{")
    other = root / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    (root / "empty").mkdir()
    (root / "begun" / ".claim-work").mkdir(parents=True)
    (root / "file").write_text("mine")
    (root / "link").symlink_to(root / "nowhere" / "at all")
    inside = study / "results.zarr"
    return {
        **{name: root / name for name in ("study", "evaluations", "run", "export", "experiment", "damaged")},
        **{name: root / name for name in ("other", "empty", "file", "link", "missing", "begun", "exchanged")},
        "store": inside,
        "below a store": inside / "models",
        "new in a store": inside / "models" / "new",
        "below a file": root / "file" / "below",
        "too long": root / ("x" * 300),
    }


SAME = {
    "begun": "empty",
    "exchanged": "experiment",
    "below a store": "store",
    "new in a store": "store",
    "below a file": "missing",
}


def test_each_folder_is_what_it_is(places: dict[str, Path]) -> None:
    assert {SAME.get(name, name) for name in places} == {*KINDS, "too long"}
    for name, place in places.items():
        if name != "too long":
            assert kind(place) == SAME.get(name, name), name
    with pytest.raises(MetameryError, match=r"cannot inspect '.*': File name too long"):
        kind(places["too long"])
    assert home(places["store"]) == places["study"]
    assert check_input(places["store"], ("study",), "a study") == places["study"]
    with pytest.raises(MetameryError, match=r"holds a run, expected a study$"):
        check_input(places["run"], ("study",), "a study")


def test_a_study_that_a_training_wrote_into_is_still_one(places: dict[str, Path]) -> None:
    (places["study"] / "run.toml").write_text("seed = 0\n")
    assert kind(places["study"]) == "study"


@pytest.mark.parametrize("wanted", ["study", "evaluations", "run", "export", "experiment"])
def test_what_may_be_written_to(places: dict[str, Path], wanted: str) -> None:
    others = wanted not in ("export", "experiment")
    free = {wanted, "missing", "empty", "begun", *(["other"] if others else [])}
    for name, place in places.items():
        if SAME.get(name) == wanted or name in free:
            check_output(place, wanted, others=others)
        else:
            with pytest.raises(MetameryError, match=r"choose another folder$|^cannot "):
                check_output(place, wanted, others=others)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(MetameryError, match="permission denied"):
        check_output(tmp_path / "locked" / "study", "study")


def snapshot(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(root.rglob("*"))
    }


Asked = tuple[Callable[[Path], list[Any]], set[str]]


def commands(tmp_path: Path, tiny: str, pictures: Path, study: Path) -> dict[str, Asked]:
    """By name: the command for a folder, and the kinds of folders that it takes."""
    file = tmp_path / "asked.toml"
    file.write_text(STUDY_FILE.format(tiny=tiny, pictures=pictures))
    people = tmp_path / "people.csv"
    people.write_text(PEOPLE)
    free = {"missing", "empty", "begun", "other"}
    other = make_study(tmp_path / "other", {"vision:net": ImageDomain(3, 8, 8)}, null=False)
    build = ["experiment", "build", "--set", 'parts=["main"]']
    synthesise = ["synthesise", tiny, "--stimuli", pictures, "--steps", 1]
    return {
        "synthesise -o": (lambda place: [*synthesise, "-o", place], {*free, "study"}),
        "run -o": (lambda place: ["run", file, "-o", place], {*free, "study"}),
        "run": (lambda place: ["run", place], set()),
        "demo -o": (lambda place: ["demo", "--steps", 1, "-o", place], {*free, "study"}),
        "evaluate -o": (
            lambda place: ["evaluate", "accuracy", tiny, "--stimuli", pictures, "-o", place], {*free, "evaluations"}
        ),
        "evaluate": (lambda place: ["evaluate", "agreement", place], {"study", "store"}),
        "evaluate --remove": (lambda place: ["evaluate", "agreement", place, "--remove"], set()),
        "compare -o": (lambda place: ["compare", study, other, "-o", place], {*free, "evaluations"}),
        "compare": (lambda place: ["compare", place, other, "-o", tmp_path / "comparison"], {"study", "store"}),
        "statistics -o": (lambda place: ["statistics", people, "-o", place], {*free, "evaluations"}),
        "report": (lambda place: ["report", place], {"study", "store", "evaluations", "run"}),
        "export -o": (lambda place: ["export", study, "-o", place], {"missing", "empty", "begun", "export"}),
        "export": (lambda place: ["export", place, "-o", tmp_path / "exported"], {"study", "store"}),
        "experiment build -o": (
            lambda place: [*build, study, "-o", place], {"missing", "empty", "begun", "experiment", "exchanged"}
        ),
        "experiment build": (lambda place: [*build, place, "-o", tmp_path / "built"], {"study", "store"}),
        "new-plugin -o": (lambda place: ["new-plugin", "my-own", "-o", place], {"missing", "empty", "begun"}),
    }  # fmt: skip


NAMES = [
    "synthesise -o", "run -o", "run", "demo -o", "evaluate -o", "evaluate", "evaluate --remove", "compare -o",
    "compare", "statistics -o", "report", "export -o", "export", "experiment build -o", "experiment build",
    "new-plugin -o",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_command_takes_a_folder_or_refuses_it_in_one_line(
    name: str, places: dict[str, Path], tmp_path: Path, tiny: str, pictures: Path, command: Any
) -> None:
    asked, takes = commands(tmp_path, tiny, pictures, places["study"])[name]
    for which, place in places.items():
        if which in takes:
            continue
        before = snapshot(tmp_path / "places")
        said = command(*asked(place))
        assert said.status == 2, (which, said)
        assert said.err.count("\n") == 1, (which, said)
        assert said.error.startswith("error: "), (which, said)
        assert "Traceback" not in said.err
        assert snapshot(tmp_path / "places") == before, which


@pytest.mark.parametrize(
    "name", ["report", "export", "export -o", "experiment build -o", "experiment build", "new-plugin -o", "compare"]
)
def test_a_command_works_on_each_kind_that_it_takes(
    name: str, places: dict[str, Path], tmp_path: Path, tiny: str, pictures: Path, command: Any
) -> None:
    asked, takes = commands(tmp_path, tiny, pictures, places["study"])[name]
    store = snapshot(places["store"])
    for which in sorted(takes):
        said = command(*asked(places[which]))
        assert said.status == 0 or (name == "new-plugin -o" and which == "begun"), (which, said)
    assert snapshot(places["store"]) == store
