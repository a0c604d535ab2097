"""What the plugin adds keeps metamery's contracts (`check_…`), and does what it says.

The fixtures `plugins`, `example_model`, `example_study` and `example_context` come with metamery.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from metamery.framework import Context, MetameryError, Model, Plugins, testing
from metamery.framework.cli import main
from metamery.training import train
from torch import nn


def test_the_plugin_is_loaded(plugins: Plugins) -> None:
    found = [plugin.name for plugin in plugins.loaded]
    assert "example" in found, plugins.problems or "install the package first: pip install -e ."


def test_the_model(plugins: Plugins) -> None:
    model = plugins.load("model", "example:example-net")
    testing.check_model(model)
    again, other = (plugins.load("model", "example:example-net", seed=seed) for seed in (0, 1))
    assert model.weights_sha256() == again.weights_sha256() != other.weights_sha256()


def test_the_stimuli(plugins: Plugins) -> None:
    stimuli = plugins.load("stimuli", "example:example-gratings", count=4)
    testing.check_stimuli(stimuli)
    assert [stimulus.category for stimulus in stimuli] == ["horizontal", "vertical"] * 2
    assert torch.equal(stimuli[0].signal, stimuli[1].signal.mT)


def test_the_stimuli_of_a_family(plugins: Plugins) -> None:
    (family,) = [entry for entry in plugins.entries("stimuli") if entry.qualified == "example:example-gratings/"]
    for name in family.members():
        testing.check_stimuli(plugins.load("stimuli", f"example:{name}"))
    with pytest.raises(MetameryError, match="did you mean 'vertical'"):
        plugins.load("stimuli", "example:example-gratings/vertigal")


def test_the_loss(plugins: Plugins, example_model: Model) -> None:
    focal, plain = (plugins.load("loss", "example:example-focal", gamma=gamma) for gamma in (2.0, 0.0))
    testing.check_loss(focal)
    signals, labels = testing.example_signals(example_model, count=4), torch.arange(4)
    logits = example_model(signals)
    torch.testing.assert_close(plain(example_model, signals, labels), nn.functional.cross_entropy(logits, labels))
    assert focal(example_model, signals, labels) < plain(example_model, signals, labels)


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_the_distance(plugins: Plugins, p: float) -> None:
    distance = plugins.load("distance", "example:example-relative-lp", p=p)
    testing.check_distance(distance)
    assert distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]])).item() == 0.5


def test_the_distance_needs_a_norm(plugins: Plugins) -> None:
    with pytest.raises(MetameryError, match=r"p = 0\.5, expected at least 1"):
        plugins.load("distance", "example:example-relative-lp", p=0.5)


def test_the_optimizer(plugins: Plugins) -> None:
    make = plugins.load("optimizer", "example:example-sign-descent", lr=0.5)
    testing.check_optimizer(make)
    parameter = torch.tensor([1.0, 2.0, 3.0])
    parameter.grad = torch.tensor([0.1, -7.0, 0.0])
    make([parameter]).step()
    assert parameter.tolist() == [0.5, 2.5, 3.0]


def test_the_perturbation(plugins: Plugins, example_model: Model) -> None:
    testing.check_perturbation(plugins.load("perturbation", "example:example-salt-and-pepper"))
    perturb = plugins.load("perturbation", "example:example-salt-and-pepper", fraction=0.5)
    signals = testing.example_signals(example_model, count=50)
    perturbed = perturb(example_model, signals, torch.zeros(50), torch.Generator().manual_seed(0))
    for value, share in [(0.0, 0.25), (1.0, 0.25)]:
        assert (perturbed == value).float().mean().item() == pytest.approx(share, abs=0.02)
    assert torch.equal(perturbed[(perturbed > 0) & (perturbed < 1)], signals[(perturbed > 0) & (perturbed < 1)])


def test_the_evaluator(plugins: Plugins, example_context: Context) -> None:
    evaluate = plugins.load("evaluator", "example:example-signal-rms")
    testing.check_evaluator(evaluate, example_context)
    found = evaluate(example_context)
    # At its layers, the metamers of this study are 0.01, 0.02 and 0.03 away from the natural signals.
    np.testing.assert_allclose(found["rms"].values, [0.01, 0.02, 0.03], rtol=1e-4)
    assert (found["chance"] > 0.1).all()


def test_the_recipe(plugins: Plugins, example_model: Model) -> None:
    recipe = plugins.load("recipe", "example:example-noisy")
    testing.check_recipe(recipe)
    history = train(example_model, testing.example_stimuli(example_model, 12), recipe, epochs=2, plugins=plugins)
    assert history["loss"].isnull().sum() == 0


def test_the_command(example_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example-status", str(example_study)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "testing:example_model"
    assert [line.split() for line in said[1:]] == [
        ["1", "0", "missing,", "6", "done,", "0", "failed"],
        ["2", "0", "missing,", "6", "done,", "0", "failed"],
        ["output", "1", "missing,", "4", "done,", "1", "failed"],
    ]
