"""A laboratory's folder, moved with the network, the pictures, a run and a study in it: all commands go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inputs import TINY
from metamery.framework import Study, open_study


@pytest.fixture
def laboratory(tmp_path: Path, drawn: Any, command: Any) -> Path:
    """The new place of what was made in another."""
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    pictures = drawn(old / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a", "owl/b"])
    (old / "tiny.py").write_text(TINY)
    network = f"{old / 'tiny.py'}:build"
    data = ("--stimuli", pictures, "--validation", pictures)
    recipe = ("--setting", "batch_size=2", "--setting", "learning_rate=0.001", "--epochs", 1)
    assert command("train", "standard", "--model", network, *data, *recipe, "-o", old / "run").status == 0
    made = ("--stimuli", pictures, "--layers", "output", "--steps", 1)
    assert command("synthesise", network, *made, "-o", old / "study").status == 0
    assert command("synthesise", old / "run", *made, "-o", old / "study-of-run").status == 0
    new.parent.mkdir()
    old.rename(new)
    return new


def test_what_was_moved_together_is_found_again(laboratory: Path, command: Any) -> None:
    for name in ("study", "study-of-run"):
        folder = laboratory / name
        study = Study.read(folder / "study.toml")
        assert str(laboratory) in study.stimuli.options["path"]
        assert command("run", folder / "study.toml", "-o", folder).status == 0
        assert command("evaluate", "agreement", folder).status == 0
        assert "agreement" in open_study(folder)
    assert command("evaluate", "accuracy", laboratory / "run", "-o", laboratory / "accuracy").status == 0


def test_what_stayed_behind_is_named_by_its_old_path(laboratory: Path, command: Any) -> None:
    (laboratory / "tiny.py").unlink()
    said = command("evaluate", "agreement", laboratory / "study")
    assert "/old/tiny.py" in said.error
    assert said.status == 2
