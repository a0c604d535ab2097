"""`compiled = true`: the same metamers up to rounding, and one line where a network cannot be compiled."""

import shutil

import numpy as np
import pytest
import torch
from metamery.analysis import synthesise
from metamery.analysis.synthesis import passes
from metamery.framework import ImageDomain, MetameryError, Model, testing
from torch import nn


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler, which torch.compile needs")
def test_compiled_metamers_are_those_of_the_network_as_it_is(monkeypatch):
    compiled = []
    make = passes._compiled
    monkeypatch.setattr(passes, "_compiled", lambda *given: compiled.append(given[1].shape) or make(*given))
    model = testing.example_model()
    stimuli = testing.example_stimuli(model, 4)
    given = {"steps": 70, "batch_size": 2, "seeds": 2, "total_variation": 0.1}
    plain = synthesise(model, stimuli, ["1"], **given)
    made = synthesise(model, stimuli, ["1"], **given, compiled=True)
    assert [shape[0] for shape in compiled] == [2]  # once, for two batches of two seeds
    np.testing.assert_allclose(made.loss.values, plain.loss.values, rtol=1e-3)
    np.testing.assert_allclose(made.signal.values, plain.signal.values, atol=1e-3)
    assert made.match.shape == plain.match.shape


class Branching(nn.Module):
    """Its operations depend on what the activations are."""

    def forward(self, activation):
        return activation * 2 if activation.sum() > 0 else activation.tanh()


def test_a_network_that_cannot_be_compiled_is_refused_in_one_line():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Branching(), nn.Flatten(), nn.Linear(144, 3))
    model = Model(network, ImageDomain(3, 8, 8), ("1",))
    stimuli = testing.example_stimuli(model, 2)
    with pytest.raises(MetameryError, match=r"^the network cannot be compiled \(.+\): expected compiled = false$"):
        synthesise(model, stimuli, ["1"], steps=70, compiled=True)
    assert (synthesise(model, stimuli, ["1"], steps=20, compiled=True).state == 1).all()  # too few updates for it


def test_a_stochastic_network_is_not_compiled():
    model = testing.example_model()
    stochastic = Model(model.module, model.domain, model.layers, model.labels, stochastic=True)
    with pytest.raises(MetameryError, match="the network is stochastic and cannot be compiled"):
        synthesise(stochastic, testing.example_stimuli(model), ["1"], steps=5, compiled=True)


def test_another_result_is_refused():
    signals, targets = torch.rand(2, 3), torch.rand(2, 3)

    def run(signals, targets, weights):
        return (signals - targets[0]).square().sum(dim=1), signals

    compiled, given = passes.Compiled(), (signals, (targets,), torch.ones(1, 2))
    compiled._kept[tuple((*each.shape, each.dtype) for each in (signals, targets))] = run
    assert compiled(run, *given, run(*given)[0]) is run
    with pytest.raises(MetameryError, match="compiled, the network gives other activations"):
        compiled(run, *given, run(*given)[0] * 1.1)
