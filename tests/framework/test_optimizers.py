"""Optimizers that cannot be used are refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.analysis import synthesise
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import MetameryError, Plugins, Recipe
from metamery.framework.optimizers import make_optimizer
from metamery.framework.testing import example_model, example_stimuli
from metamery.training import train


def lbfgs(lr: float = 0.1) -> Any:
    return lambda parameters: torch.optim.LBFGS(parameters, lr=lr)


@pytest.fixture
def plugins(fake_plugin: Any) -> Plugins:
    return Plugins([fake_plugin("mine", register_optimizers=lambda register: register("lbfgs", lbfgs))], installed=())


def test_an_optimizer_that_needs_a_closure_is_refused(plugins: Plugins) -> None:
    model = example_model()
    said = "optimizer 'lbfgs' computes the loss several times in an update, which is not supported"
    with pytest.raises(MetameryError, match=said):
        synthesise(model, example_stimuli(), ["1"], resolve_settings(optimizer="lbfgs"), plugins=plugins)
    with pytest.raises(MetameryError, match=said):
        train(model, example_stimuli(model, 12), Recipe(optimizer="lbfgs"), plugins=plugins)
    with pytest.raises(MetameryError, match="several times in an update"):
        synthesise(model, example_stimuli(), ["1"], optimizer=lbfgs())


@pytest.mark.parametrize("made", [None, 3, object()])
def test_what_is_not_an_optimizer_is_refused(made: Any) -> None:
    with pytest.raises(MetameryError, match=f"makes {type(made).__name__}, expected a torch.optim.Optimizer"):
        make_optimizer(lambda _parameters: made, [torch.zeros(1)], "mine")
