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


def test_the_plugin_is_loaded(plugins: Plugins) -> None:
    found = [plugin.name for plugin in plugins.loaded]
    assert "example" in found, plugins.problems or "install the package first: pip install -e ."


def test_the_model(plugins: Plugins) -> None:
    model = plugins.load("model", "example:example-net")
    testing.check_model(model)
    again, other = (plugins.load("model", "example:example-net", seed=seed) for seed in (0, 1))
    assert model.weights_sha256() == again.weights_sha256() != other.weights_sha256()


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_the_distance(plugins: Plugins, p: float) -> None:
    distance = plugins.load("distance", "example:relative_lp", p=p)
    testing.check_distance(distance)
    assert distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]])).item() == 0.5


def test_the_distance_needs_a_norm(plugins: Plugins) -> None:
    with pytest.raises(MetameryError, match=r"p = 0\.5, expected at least 1"):
        plugins.load("distance", "example:relative_lp", p=0.5)


def test_the_perturbation(plugins: Plugins, example_model: Model) -> None:
    testing.check_perturbation(plugins.load("perturbation", "example:salt_and_pepper"))
    perturb = plugins.load("perturbation", "example:salt_and_pepper", fraction=0.5)
    signals = testing.example_signals(example_model, count=50)
    perturbed = perturb(example_model, signals, torch.zeros(50), torch.Generator().manual_seed(0))
    for value, share in [(0.0, 0.25), (1.0, 0.25)]:
        assert (perturbed == value).float().mean().item() == pytest.approx(share, abs=0.02)
    assert torch.equal(perturbed[(perturbed > 0) & (perturbed < 1)], signals[(perturbed > 0) & (perturbed < 1)])


def test_the_evaluator(plugins: Plugins, example_context: Context) -> None:
    evaluate = plugins.load("evaluator", "example:signal_rms")
    testing.check_evaluator(evaluate, example_context)
    found = evaluate(example_context)
    # At its layers, the metamers of this study are 0.01, 0.02 and 0.03 away from the natural signals.
    np.testing.assert_allclose(found["rms"].values, [0.01, 0.02, 0.03], rtol=1e-4)
    assert (found["chance"] > 0.1).all()


def test_the_command(example_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example-status", str(example_study)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "testing:example_model"
    assert [line.split() for line in said[1:]] == [
        ["1", "0", "missing,", "6", "done,", "0", "failed"],
        ["2", "0", "missing,", "6", "done,", "0", "failed"],
        ["output", "1", "missing,", "4", "done,", "1", "failed"],
    ]
