"""A layer's activation, perturbed in place of the signals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.analysis.attacks.gradient import pgd
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, open_study
from metamery.framework.testing import example_model, example_signals
from metamery.training.activations import FromLayer, from_layer, perturbed
from torch import nn

LABELS = torch.tensor([0, 1, 2])


def test_the_same_activation_gives_the_same_logits() -> None:
    model = example_model()
    signals = example_signals(model)
    for layer in ("0", "2", "3"):
        inner, activations = from_layer(model, layer, signals)
        torch.testing.assert_close(inner.module(activations), model.module(signals))
        assert not torch.allclose(inner.module(activations + 1), model.module(signals))
    assert "forward" not in vars(model.module[2])


def test_what_goes_round_the_layer_is_the_signals_own() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Linear(4, 4)

        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            flat = signals.flatten(1)
            logits: torch.Tensor = flat + self.branch(flat)
            return logits

    model = Model(Residual(), ImageDomain(1, 2, 2), ["branch"])
    signals = torch.rand(3, 1, 2, 2)
    inner, activations = from_layer(model, "branch", signals)
    torch.testing.assert_close(inner.module(torch.zeros_like(activations)), signals.flatten(1))


def test_the_worst_activation_before_a_linear_layer_is_found() -> None:
    model = example_model()
    signals = example_signals(model)
    inner, activations = from_layer(model, "3", signals)
    attacked = pgd(inner, activations, LABELS, epsilon=0.05, steps=20, random_start=False, loss="margin")
    weight = model.module[4].weight.detach()
    logits = model.module(signals).detach()
    for signal, own in enumerate(LABELS.tolist()):
        rises = [
            float(logits[signal, other] - logits[signal, own] + 0.05 * (weight[other] - weight[own]).abs().sum())
            for other in range(4)
            if other != own
        ]
        found = inner.module(attacked)[signal].detach()
        found_margin = float(torch.cat([found[:own], found[own + 1 :]]).max() - found[own])
        assert found_margin <= max(rises) + 1e-5
        assert found_margin > max(rises) - 0.02
    assert float((attacked - activations).abs().max()) <= 0.05 + 1e-6


def test_an_attack_that_raises_leaves_the_layer_as_it_was() -> None:
    model = example_model()
    signals = example_signals(model)

    def failing(given: Model, *_more: Any) -> torch.Tensor:
        given.module(torch.zeros(1, 6))  # of no shape that the rest could take
        raise AssertionError("not reached")

    with pytest.raises(RuntimeError):
        perturbed(model, "2", failing, signals, LABELS, torch.Generator())
    assert "forward" not in vars(model.module[2])
    with torch.no_grad():
        assert model.module(signals).shape == (3, 4)


def test_without_a_layer_the_signals_are_perturbed() -> None:
    model = example_model()
    signals = example_signals(model)
    taking, shown = perturbed(model, "", lambda m, s, y, g: s + 0.1, signals, LABELS, torch.Generator())
    assert taking is model
    assert torch.equal(shown, signals + 0.1)


@pytest.mark.parametrize("layer", ["input", "output", "2@2", "2[0]"])
def test_only_whole_outputs_of_modules_can_be_perturbed(layer: str) -> None:
    model = example_model()
    with pytest.raises(MetameryError, match="cannot be perturbed: expected the path of a module"):
        from_layer(model, layer, example_signals(model))
    with pytest.raises(MetameryError, match="unknown layer '22'"):
        from_layer(model, "22", example_signals(model))


@pytest.mark.parametrize("perturbation", ["pgd_l2", "random_l2", "pgd_linf"])
def test_a_network_is_trained_on_perturbed_activations(
    command: Any, sized: str, drawn: Any, tmp_path: Any, perturbation: str
) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(4)])
    settings = {
        "batch_size": 4,
        "perturbation": perturbation,
        "layer": "1",
        "perturbation_options.epsilon": 0.5,
        "check": "pgd_l2",
    }
    given = [each for name, value in settings.items() for each in ("--setting", f"{name}={value}")]
    said = command(
        "train", "standard", "--model", sized, "--stimuli", data, "--epochs", 2, *given, "-o", tmp_path / "run"
    )
    assert said.status == 0, said.err
    assert (open_study(tmp_path / "run")["history"].checked_accuracy <= 1).all()
    trained, fresh = (
        Plugins().load("model", name, **more)
        for name, more in (
            (str(tmp_path / "run"), {"weights": "last"}),
            (sized, {"num_classes": 2, "labels": ("cat", "dog")}),
        )
    )
    assert torch.equal(trained.module[0].weight, fresh.module[0].weight)  # it lies before the layer
    assert not torch.equal(trained.module[3].weight, fresh.module[3].weight)


def test_a_layer_that_there_is_not_is_named(command: Any, sized: str, drawn: Any, tmp_path: Any) -> None:
    data = drawn(tmp_path / "data", ["cat/1", "dog/1"])
    given = ("--setting", "layer=11", "--setting", "batch_size=2")
    said = command("train", "random-l2", "--model", sized, "--stimuli", data, *given, "-o", tmp_path / "run")
    assert said.status == 2
    assert "unknown layer '11'" in said.error


def test_behind_takes_part_in_what_wraps_the_network() -> None:
    model = example_model()
    signals = example_signals(model)
    inner, activations = from_layer(model, "2", signals)
    wrapped = nn.Sequential(model.module)  # stands for several processes
    assert isinstance(inner.module, FromLayer)
    torch.testing.assert_close(inner.module.around(wrapped)(activations * 0.5), inner.module(activations * 0.5))
