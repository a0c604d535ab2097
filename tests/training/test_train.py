"""Training with objects gives the result of the command."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Recipe, Reference, Stimulus
from metamery.framework.progress import Progress
from metamery.framework.run import Run
from metamery.framework.testing import example_model, example_stimuli
from metamery.training import TrainingStimuli, run_training, train, trained
from torch import nn

RECIPE = Recipe(epochs=3, batch_size=4, learning_rate=0.05, optimizer_options={"momentum": 0.9})


@pytest.fixture
def stimuli() -> list[Stimulus]:
    return example_stimuli(example_model(), 12)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_the_weights_are_those_of_the_command(weights: str, stimuli: list[Stimulus], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from metamery.framework.testing import example_model as build\n", encoding="utf-8"
    )
    plugins = Plugins()
    name = f"{tmp_path / 'net.py'}:build"
    run = Run(Reference(name), Reference("natural"), None, ("a", "b", "c", "d"), RECIPE)
    history = run_training(run, tmp_path / "run", plugins, stimuli=TrainingStimuli(stimuli, stimuli[:8]))  # type: ignore[arg-type]
    model = example_model()
    found = train(model, stimuli, RECIPE, stimuli[:8], weights=weights)
    assert found.loss.values.tolist() == [row["loss"] for row in history]
    other = trained(tmp_path / "run", plugins=plugins, weights=weights)
    for own, there in zip(model.module.state_dict().values(), other.module.state_dict().values(), strict=True):
        assert torch.equal(own, there)
    assert not model.module.training


def test_the_history_says_what_was_trained(stimuli: list[Stimulus]) -> None:
    model = example_model()
    history = train(model, stimuli, RECIPE, epochs=2, seed=4)
    assert history.epoch.values.tolist() == [1, 2]
    assert history.attrs["weights_sha256"] == model.weights_sha256()
    assert "epochs = 2" in history.attrs["recipe"]
    assert history.loss.attrs["units"] == "nat"


class Faults(Progress):
    """Page faults of this process until each update."""

    def __init__(self) -> None:
        self.until: list[int] = []

    def advance(self, steps: int = 1) -> None:
        self.until.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told to keep memory")
def test_memory_is_kept_from_update_to_update() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    model = Model(network, ImageDomain(3, 160, 160), ["0"])  # activations of 51 MB, 12,480 pages
    grey = [Stimulus(torch.full((3, 160, 160), level / 8), "dark" if level < 4 else "light") for level in range(8)]
    faults = Faults()
    train(model, grey, RECIPE, epochs=20, batch_size=8, progress=faults)
    assert np.median(np.diff(faults.until)[-16:]) < 6_000  # now and then one more block is needed, between others


def test_slips_are_named(stimuli: list[Stimulus]) -> None:
    model = example_model()
    with pytest.raises(MetameryError, match="epoch"):
        train(model, stimuli, RECIPE, epoch=2)
    with pytest.raises(MetameryError, match="weights"):
        train(model, stimuli, RECIPE, weights="first")
    nameless = Model(model.module, model.domain, model.layers)
    with pytest.raises(MetameryError, match="4 outputs, and there are 2 classes"):
        train(nameless, stimuli[:2], RECIPE)
