"""Compiled trainings: the same up to rounding, resumed bit for bit, and one line where a network cannot be compiled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError, Model, Recipe
from metamery.training import compiling
from metamery.training.checkpoints import load
from metamery.training.state import LAST
from small_training import DOMAIN, RECIPE, Stopping, network, run, same, timeless, tools, weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler, which torch.compile needs"),
]


def sign(epsilon: float) -> Any:
    """One step of the gradient's sign, which runs the network in another mode."""

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        model.module.eval()
        with torch.enable_grad():
            leaf = signals.clone().requires_grad_()
            (towards,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model.module(leaf), labels), leaf)
        model.module.train()
        return (signals + 0.1 * epsilon * towards.sign()).clamp(0, 1)

    return perturb


def test_a_compiled_training_is_the_same_up_to_rounding(tmp_path: Path, monkeypatch: Any) -> None:
    recipe = RECIPE.changed({"accumulate": 2, "awp": 0.01, "clip_norm": 0.5})
    passes = []
    make = torch.compile
    monkeypatch.setattr("torch.compile", lambda module, **how: passes.append(module) or make(module, **how))
    with_tools = tools(perturbation=sign)
    plain, history = run(tmp_path / "plain", recipe, tools=with_tools)
    fast, found = run(tmp_path / "compiled", recipe, tools=with_tools, compiled=True)
    assert passes == [fast.module]
    for name, tensor in plain.module.state_dict().items():
        torch.testing.assert_close(fast.module.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    for row, other in zip(history, found, strict=True):
        for name in ("loss", "validation_loss"):
            assert other[name] == pytest.approx(row[name], rel=1e-3)
    assert load(tmp_path / "compiled" / LAST)[0].keys() == load(tmp_path / "plain" / LAST)[0].keys()


def test_stopped_and_resumed_it_is_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, history = run(tmp_path / "whole", compiled=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", compiled=True, progress=Stopping(12))
    part, found = run(tmp_path / "part", compiled=True)
    assert same(weights(part), weights(whole))
    assert timeless(found) == timeless(history)


class Deciding(torch.nn.Sequential):
    """Its way depends on the values."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(signals)
        return logits if logits.sum() > 0 else 2 * logits


def deciding() -> Model:
    return Model(Deciding(torch.nn.Flatten(), torch.nn.Linear(16, 2)), DOMAIN, ["output"], ["bright", "dark"])


def test_a_network_that_cannot_be_compiled_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match=r"^the network cannot be compiled \(.+\): expected compiled = false$"):
        run(tmp_path / "run", RECIPE, deciding(), compiled=True)
    assert not (tmp_path / "run").exists()


def test_one_that_computes_something_else_then_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("torch.compile", lambda module, **_how: lambda signals: 1.01 * module(signals))
    with pytest.raises(MetameryError, match="compiled, the network gives other logits: expected compiled = false"):
        run(tmp_path, compiled=True)


def test_a_perturbed_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="the perturbation of layer '0' works inside the network"):
        run(tmp_path, RECIPE.changed({"layer": "0"}), compiled=True)


def test_compiling_leaves_the_network_as_it_was() -> None:
    from lightning_fabric import Fabric

    model = network()
    before, drawn = weights(model), torch.random.get_rng_state()
    compiling.compile_network(model, Recipe(), 4, Fabric(accelerator="cpu", devices=1))
    assert same(weights(model), before)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(weight.grad is None for weight in model.module.parameters())
