"""``batch_size = "auto"``: chosen once by the free memory, and then a number of the study like any other."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inputs import draw_pictures
from metamery.analysis.studies import batch_size
from metamery.analysis.studies.batch_size import batch_bytes, largest_batch
from metamery.analysis.studies.parts import load_parts
from metamery.analysis.studies.run_study import run_study
from metamery.framework import MetameryError, Plugins, Study, open_study
from metamery.framework.study import ModelReference, Reference

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("each", "stimuli", "free", "size"),
    [
        (10, 10**6, 10**9, 256),
        (10, 255, 10**9, 128),
        (10, 1, 10**9, 1),
        (10, 1000, 2 * 640, 64),
        (10, 1000, 2 * 639, 32),
        (10, 1000, 19, 1),
        (10, 1000, 0, 1),
        (10, 1000, None, 8),
        (10, 5, None, 4),
    ],
)
def test_the_largest_power_of_two_that_half_of_the_memory_holds(
    each: int, stimuli: int, free: int | None, size: int
) -> None:
    assert largest_batch(each, stimuli, free) == size


@pytest.fixture
def study(tiny: str, tmp_path: Path) -> Study:
    pictures = draw_pictures(tmp_path / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    settings = {"steps": 1, "batch_size": "auto"}
    return Study((ModelReference(tiny, ("0",)),), Reference("folder", {"path": str(pictures)}), None, settings)


def frees(monkeypatch: pytest.MonkeyPatch, signals: float, study: Study) -> None:
    """Let the machine have free memory for twice as many signals in a batch."""
    (part,) = load_parts(study, Plugins(), CPU)
    monkeypatch.setattr(batch_size, "free_on", lambda _device: int(2 * signals * batch_bytes(part)))


NORMALISED = """
from torch import nn
from metamery.framework import ImageDomain, Model

def build(normalised: bool = True) -> Model:
    parts = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)]
    if not normalised:
        parts[1] = nn.Identity()
    return Model(nn.Sequential(*parts).eval(), ImageDomain(3, 8, 8), ["2", "output"])
"""


def test_normalisations_that_are_folded_take_no_memory(study: Study, tmp_path: Path) -> None:
    (tmp_path / "normalised.py").write_text(NORMALISED, encoding="utf-8")
    networks = [
        ModelReference(f"{tmp_path / 'normalised.py'}:build", options={"normalised": each}) for each in (True, False)
    ]
    with_, without = load_parts(replace(study, models=tuple(networks)), Plugins(), CPU)
    assert batch_bytes(with_) == batch_bytes(without)


def test_the_number_is_recorded_and_kept_by_whoever_resumes(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    frees(monkeypatch, 3.5, study)
    run_study(study, folder, Plugins())
    recorded = tomllib.loads((folder / "study.toml").read_text())
    assert recorded["synthesis"]["batch_size"] == 2
    with open_study(folder) as tree:
        assert tomllib.loads(tree.attrs["study"]) == recorded
        (model,) = tree["models"].children.values()
        assert model["metamers/signal"].encoding["chunks"][1] == 2
    frees(monkeypatch, 1000, study)
    run_study(study, folder, Plugins())
    run_study(Study.read(folder / "study.toml"), folder, Plugins())
    with pytest.raises(MetameryError, match=r"synthesis.batch_size \(4, stored 2\)"):
        run_study(replace(study, synthesis={"steps": 1, "batch_size": 4}), folder, Plugins())


def test_a_file_that_says_auto_can_be_resumed(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(study.to_toml())
    for _ in range(2):
        run_study(Study.read(folder / "study.toml"), folder, Plugins())
    assert 'batch_size = "auto"' in (folder / "study.toml").read_text()


def test_the_dry_run_states_the_number(command: Any, study: Study, tmp_path: Path) -> None:
    (file := tmp_path / "study.toml").write_text(study.to_toml())
    assert "batch_size = 4" in command("run", file, "--trust", "--dry-run").out


def test_what_is_neither_a_number_nor_auto_is_refused(command: Any, tiny: str, tmp_path: Path) -> None:
    asked = ("synthesise", tiny, "--stimuli", "natural", "-o", tmp_path / "study", "--batch-size")
    for given, said in (("many", "'many', expected a whole number of at least 1, or auto"), ("0", "batch_size is 0")):
        done = command(*asked, given)
        assert done.status == 2
        assert said in done.err
