"""A study that one process made, to compare with what others make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from inputs import TINY
from metamery.analysis.studies.run_study import run_study
from metamery.framework import Plugins, Study
from metamery.framework.study import ModelReference, Reference


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Study:
    """A study of the tiny network twice."""
    root = tmp_path_factory.mktemp("two_models")
    (root / "tiny.py").write_text(TINY, encoding="utf-8")
    tiny = f"{root / 'tiny.py'}:build"
    pictures = drawn(root / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    return Study(
        models=(ModelReference(tiny, ("1", "output")), ModelReference(tiny, ("0",), {"seed": 1})),
        stimuli=Reference("files:folder", {"path": str(pictures)}),
        synthesis={"preset": "fast", "steps": 4, "batch_size": 2, "seeds": 2},
        seed=7,
    )


@pytest.fixture(scope="session")
def made_alone(two_models: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that study, made by one process, to be read."""
    folder = tmp_path_factory.mktemp("made_alone") / "study"
    run_study(two_models, folder, Plugins())
    return folder


@pytest.fixture
def copied(made_alone: Path, tmp_path: Path) -> Path:
    """A copy of it, to be written to."""
    return Path(shutil.copytree(made_alone, tmp_path / "copied"))
