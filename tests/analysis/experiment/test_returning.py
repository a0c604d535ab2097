"""Sounds as their files hold them, brought back to the model and judged again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from metamery.analysis.experiment.conditions import Condition, conditions_of
from metamery.analysis.experiment.returning import verdicts
from metamery.analysis.experiment.settings import Conditions
from metamery.analysis.experiment.sounds import SoundFiles
from metamery.framework import Model, open_study
from metamery.framework.context import Context
from metamery.framework.domains import WaveformDomain
from metamery.framework.model_results import models_of
from metamery.framework.progress import Progress
from metamery.framework.schema import VERDICTS
from metamery.framework.store import StudyStore
from metamery.framework.testing import example_context, example_study

RATE, SAMPLES = 8000, 1600
FILES = SoundFiles("wav", 48000, 0.1)


class Band(torch.nn.Module):
    """Keeps frequencies above 3950 Hz, or below; and a class that is the same for every sound."""

    def __init__(self, high: bool) -> None:
        super().__init__()
        self.band = torch.nn.Linear(SAMPLES, SAMPLES, bias=False)
        spectrum = np.fft.rfft(np.eye(SAMPLES), axis=0)
        keeps = (np.fft.rfftfreq(SAMPLES, 1 / RATE) > 3950) == high
        self.band.weight.data = torch.tensor(np.fft.irfft(spectrum * keeps[:, None], SAMPLES, axis=0)).float()

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(self.band(signals).square().mean(dim=1, keepdim=True) * 0, (0, 1), value=1.0)


def returned(folder: Path, high: bool, metamers: np.ndarray | None = None) -> dict[tuple[str, str, str], int]:
    """Judge the metamers of a study of noises, which are the noises themselves unless they are given."""
    model = Model(Band(high).eval(), WaveformDomain(SAMPLES, RATE), ["band"], ["a", "b"])
    example_study(folder, model)
    generator = np.random.default_rng(0)
    natural = 0.1 * generator.standard_normal((3, SAMPLES)).astype(np.float32)
    path = "models/testing+example_model"
    store = StudyStore.reopen(folder)
    store.write(f"{path}/stimuli", {}, {"signal": natural})
    signal = np.broadcast_to(natural[:, None] if metamers is None else metamers, (1, 3, 2, SAMPLES))
    store.write(f"{path}/metamers", {}, {"signal": signal})
    context: Context = example_context(folder, model)
    models = models_of(open_study(folder))
    conditions = conditions_of(models, Conditions())
    assert isinstance(conditions[1], Condition)
    return verdicts(context, conditions, ["one", "two", "three"], FILES, 0, Progress())


def test_what_a_file_keeps_is_still_a_metamer(tmp_path: Path) -> None:
    found = returned(tmp_path, high=False)
    # The last stimulus's metamer has failed.
    names = {("testing:example_model", "band", name): VERDICTS["yes"] for name in ("one", "two")}
    assert found == names


def test_what_resampling_loses_is_not_a_metamer_any_more(tmp_path: Path) -> None:
    assert set(returned(tmp_path, high=True).values()) == {VERDICTS["no"]}


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_another_level_is_another_sound(tmp_path: Path, gain: float) -> None:
    generator = np.random.default_rng(0)
    louder = gain * 0.1 * generator.standard_normal((3, 1, SAMPLES)).astype(np.float32)
    assert set(returned(tmp_path, False, louder).values()) == {VERDICTS["no"]}
