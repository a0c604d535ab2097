"""The evaluator `recognition`, on a study made from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs import TINY
from metamery.framework import open_study
from metamery.framework.cli import main
from metamery.framework.schema import check_dataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.py").write_text(TINY, encoding="utf-8")
    pictures = drawn(folder / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    asked = [f"{folder / 'tiny.py'}:build", "--stimuli", pictures, "--layers", "1,output", "--steps", 3, "--seeds", 2]
    assert main(["synthesise", *map(str, asked), "-o", str(folder / "study")]) == 0
    return folder / "study"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def test_it_adds_a_table_and_a_page(command: Any, study: Path, tiny: str) -> None:
    other = tiny.replace(":build", "2.py:build")
    Path(other.partition(":")[0]).write_text(Path(tiny.partition(":")[0]).read_text(encoding="utf-8"), encoding="utf-8")
    said = command("evaluate", "recognition", study, "--set", f'recognisers=["{other}"]', "--set", "resamples=50")
    assert said.status == 0, said.err
    assert "proportion of signals that other models get right" in said.out
    found = open_study(study)["recognition"].to_dataset()
    check_dataset(found)
    assert dict(found.correct.sizes) == {"site": 3, "recogniser": 2, "stimulus": 5, "seed": 2}
    assert found.layer.values.tolist() == ["natural", "1", "output"]
    assert (found.correct.isel(recogniser=0).values == found.correct.isel(recogniser=1).values).all()
    assert (found.idiosyncrasy == 0).all()
    assert found.answers == ["cat", "dog", "owl"]
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "Recognition by models" in page


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("recognisers=tiny", 'recognisers is \'tiny\', expected a list of models: ["NAME", "runs/FOLDER"]'),
        ('recognisers=["smal-cnn"]', "unknown model 'smal-cnn'; did you mean 'small-cnn'?"),
        ("labels=imagenet-61", "unknown labels 'imagenet-61'; did you mean 'imagenet-16'?"),
        ("siblings=false", "without siblings there are no other models: expected recognisers"),
        ("resamples=0", "resamples is 0, expected a whole number of at least 1"),
    ],
)
def test_a_slip_gets_one_line(command: Any, study: Path, option: str, said: str) -> None:
    result = command("evaluate", "recognition", study, "--set", option)
    assert result.status == 2
    assert said in result.error


def test_categories_join_what_models_say(command: Any, study: Path) -> None:
    assert command("evaluate", "recognition", study, "--set", "labels=imagenet-16").status == 0
    found = open_study(study)["recognition"].to_dataset()
    assert found.answers == ["cat", "dog"]
    shows_owl = [name for name in found.stimulus.values if "owl" in name]
    assert (found.correct.sel(stimulus=shows_owl) == -1).all()
