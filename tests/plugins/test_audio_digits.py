"""The network for spoken digits, with the weights that come with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.framework import Context, MetameryError, Plugins, UnknownNameError
from metamery.framework.testing import check_model, example_signals
from metamery.plugins.audio.coch_cnn_digits import DIGITS
from peers import SPOKEN_DIGITS, needs_digits
from torch import nn

NAMES = ["coch-cnn-digits", "coch-cnn-digits-adversarial", "coch-cnn-digits-hann"]


def load(name: str, **options: Any) -> Any:
    return Plugins(installed=()).load("model", name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_trained_networks_hold_the_contract(name: str) -> None:
    model = load(name)
    check_model(model)
    assert model.labels == DIGITS
    assert model.layers == ("cochleagram", *(f"relu{block}" for block in range(1, 6)), "output")


def test_the_three_are_other_networks() -> None:
    weights = {name: load(name).weights_sha256() for name in NAMES}
    assert len(set(weights.values())) == 3


@pytest.mark.parametrize("name", ["coch-cnn-digits", "coch-cnn-digits-hann"])
def test_other_classes_get_random_weights(name: str) -> None:
    spoken, fresh, other = load(name), load(name, weights="none"), load(name, labels=["yes", "no"])
    assert other.module.classify.out_features == 2
    assert not torch.equal(spoken.module.conv1.weight, fresh.module.conv1.weight)
    assert torch.equal(fresh.module.conv1.weight, other.module.conv1.weight)
    assert torch.equal(load(name, weights="digits", labels=DIGITS).module.conv1.weight, spoken.module.conv1.weight)
    (note,) = set(load(name, num_classes=3).notes) - set(spoken.notes)
    assert note.startswith("the weights are random, since the trained network has other options; weights=digits keeps")
    assert load(name, num_classes=3, labels=["a", "b", "c"]).notes == spoken.notes
    kept = load(name, weights="digits", num_classes=3)
    assert (kept.module.classify.out_features, kept.labels) == (3, None)
    assert torch.equal(kept.module.conv1.weight, spoken.module.conv1.weight)
    for options in ({"width": 8}, {"front_end": "mel"}):
        with pytest.raises(MetameryError, match=f"the weights of {name} are for width 16 and a cochleagram"):
            load(name, weights="digits", **options)
    with pytest.raises(UnknownNameError, match=r"unknown weights of .*: 'digit'; did you mean 'digits'"):
        load(name, weights="digit")


def test_the_hann_network_has_no_max_pool() -> None:
    kinds = [type(module) for module in load("coch-cnn-digits-hann").module.modules()]
    assert nn.MaxPool2d not in kinds
    assert len(load("coch-cnn-digits-hann").notes) == 4
    signals = example_signals(load(NAMES[0]), 2)
    shapes = [load(name, weights="none").module(signals).shape for name in NAMES[::2]]
    assert shapes == [(2, 10), (2, 10)]


@needs_digits
@pytest.mark.parametrize(("name", "least"), list(zip(NAMES, (0.97, 0.9, 0.95), strict=True)))
def test_they_recognise_digits_of_people_they_know(name: str, least: float) -> None:
    plugins = Plugins(installed=())
    stimuli = plugins.load("stimuli", "folder", path=str(SPOKEN_DIGITS))
    result = plugins.load("evaluator", "accuracy")(Context({name: load(name)}, stimuli))
    assert result.counted.item() == 250
    assert result.accuracy.item() >= least
