"""``--set weights=FILE``: from the folder that a command is started in, found again wherever the study goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import Plugins, Study, open_study


@pytest.fixture
def home(tmp_path: Path, drawn: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures and weights, in which commands are started."""
    folder = tmp_path / "home"
    drawn(folder / "pictures", ["cat/a", "dog/a"])
    network = Plugins(installed=()).load("model", "small-cnn", width=4, num_classes=2)
    torch.save({"model": network.module.state_dict()}, folder / "w.pt")
    monkeypatch.chdir(folder)
    return folder


OPTIONS = ("--set", "weights=w.pt", "--set", "width=4")


def test_the_study_names_the_file_by_its_absolute_path(home: Path, tmp_path: Path, command: Any) -> None:
    made = ("--stimuli", "pictures", "--layers", "output", "--steps", 1, "-o", "study")
    assert command("synthesise", "small-cnn", *OPTIONS, *made).status == 0
    assert Study.read(home / "study" / "study.toml").models[0].options["weights"] == str(home / "w.pt")
    (notes,) = (group.attrs["notes"] for name, group in open_study(home / "study")["models"].children.items())
    assert list(notes) == ["weights: 26 tensors of 'w.pt', entry 'model'"]
    home.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "study"
    assert command("evaluate", "agreement", moved).status == 0
    assert Study.read(moved / "study.toml").models[0].options["weights"] == str(tmp_path / "elsewhere" / "w.pt")


def test_show_and_train_take_it_too(home: Path, command: Any) -> None:
    said = command("show", "small-cnn", *OPTIONS)
    assert said.status == 0
    assert "note: weights: 26 tensors of 'w.pt', entry 'model'" in said.out
    data = ("--stimuli", "pictures", "--validation", "pictures", "--setting", "batch_size=2", "--epochs", 1)
    assert command("train", "standard", "--model", "small-cnn", *OPTIONS, *data, "-o", "run").status == 0
    assert f"weights = '{home / 'w.pt'}'" in (home / "run" / "run.toml").read_text().replace('"', "'")


def test_a_file_in_the_users_folder(home: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    assert command("show", "small-cnn", "--set", "weights=~/w.pt", "--set", "width=4").status == 0
