"""Files that cannot be read are left out of every command that reads a folder, when that is requested."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metamery.framework import Study, open_study
from PIL import Image

Command = Callable[..., Any]
HOW = ("--skip-unreadable", "--background", "white")


def fill(folder: Path, classes: str = "abc", count: int = 2) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            values = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / name / f"{number}.png")
    return folder


def spoil(folder: Path) -> None:
    """Add one file that cannot be read, and one that is partly transparent."""
    (folder / "a/bad.png").write_bytes(b"no picture")
    Image.new("RGBA", (8, 8), (9, 8, 7, 100)).save(folder / "b/clear.png")


@pytest.fixture(autouse=True)
def _said_once() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        spoil(fill(tmp_path / "data" / split))
    return tmp_path / "data"


def train(command: Command, sized: str, data: Path, run: Path, *more: object) -> Any:
    settings = ("--setting", "batch_size=2", "--epochs", 1)
    return command("train", "standard", "--model", sized, "--stimuli", data, *settings, "-o", run, *more)


def test_training_leaves_them_out_of_both_splits(command: Command, sized: str, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = train(command, sized, data, run)
    assert said.status == 2
    assert "--skip-unreadable leaves such pictures out" in said.error
    run = tmp_path / "other"
    said = train(command, sized, data, run, "--skip-unreadable")
    assert said.status == 0, said.err
    for name in ("bad.png", "clear.png"):  # one line each, of train and of val
        assert len([line for line in said.err.splitlines() if name in line]) == 2
    written = tomllib.loads((run / "run.toml").read_text())
    assert written["stimuli"]["skip_unreadable"] is written["validation"]["skip_unreadable"] is True
    assert written["classes"] == ["a", "b", "c"]
    assert train(command, sized, data, run, "--skip-unreadable").status == 0
    assert "skip_unreadable" in train(command, sized, data, run).error


def test_a_class_that_skipping_would_take_stops_a_training(command: Command, sized: str, data: Path) -> None:
    for file in (data / "val/c").iterdir():
        file.write_bytes(b"no picture")
    said = train(command, sized, data, data.parent / "run", *HOW)
    assert said.status == 2
    assert "none of the 2 pictures of class 'c'" in said.error


def test_a_class_of_another_ending_stops_a_training(command: Command, sized: str, data: Path) -> None:
    (data / "train/d").mkdir()
    (data / "train/d/1.heic").touch()
    said = train(command, sized, data, data.parent / "run", *HOW)
    assert said.status == 2
    assert "of 4 classes in the folder" in said.error
    assert "'d' (1 file in .heic)" in said.error


def test_what_a_folder_leaves_out_is_said_by_a_training(command: Command, sized: str, data: Path) -> None:
    (data / "train/a/3.heic").touch()
    said = train(command, sized, data, data.parent / "run", *HOW)
    assert said.status == 0, said.err
    assert f"warning: left out of the folder '{data / 'train'}': 1 file in .heic" in said.err


def test_evaluate_leaves_them_out(command: Command, sized: str, data: Path, tmp_path: Path) -> None:
    clean = fill(tmp_path / "clean/train").parent
    fill(clean / "val")
    assert train(command, sized, clean, tmp_path / "run").status == 0
    asked = ("evaluate", "accuracy", tmp_path / "run", "--stimuli", data / "val", "-o", tmp_path / "found")
    assert "--skip-unreadable" in command(*asked).error
    said = command(*asked, *HOW)
    assert said.status == 0, said.err
    assert "bad.png" in said.err
    assert '"background": "white"' in open_study(tmp_path / "found")["accuracy"].attrs["stimuli"]
    said = command("evaluate", "accuracy", tmp_path / "run", "--stimuli", "natural", "--skip-unreadable", "-o", "other")
    assert said.status == 2
    assert "--skip-unreadable is for folders, and stimuli 'natural' have no such option" in said.error


def test_a_study_has_them_in_its_file(command: Command, sized: str, data: Path, tmp_path: Path) -> None:
    asked = tmp_path / "study.toml"
    asked.write_text(
        'stimuli = "data/train/"\nnull_stimuli = "data/val/"\n[synthesis]\nsteps = 2\n'
        f'[[models]]\nname = "{sized}"\nlayers = ["1"]\n'
    )
    study = tmp_path / "study"
    assert "--skip-unreadable" in command("run", asked, "-o", study).error
    said = command("run", asked, "-o", study, *HOW)
    assert said.status == 0, said.err
    assert open_study(study)["stimuli"].sizes["stimulus"] == 7
    kept = Study.read(study / "study.toml")
    for use in (kept.stimuli, kept.null_stimuli):
        assert use is not None
        assert use.options["skip_unreadable"] is True
        assert use.options["background"] == "white"
    assert command("run", asked, "-o", study, *HOW).status == 0
    assert command("run", study).status == 0
    assert "stimuli.background" in command("run", asked, "-o", study, "--skip-unreadable").error
    said = command("evaluate", "agreement", study, "--skip-unreadable")
    assert "is a study, which has its own stimuli" in said.error


def test_stimuli_beside_a_folder_need_no_such_option(command: Command, sized: str, data: Path, tmp_path: Path) -> None:
    given = ("--stimuli", data / "train", "--null-stimuli", "natural", "--layers", "1", "--steps", 2)
    said = command("synthesise", sized, *given, *HOW, "-o", tmp_path / "study", "--dry-run")
    assert said.status == 0, said.err
    assert 'name = "vision:natural"' in said.out
    assert said.out.count("skip_unreadable = true") == 1
