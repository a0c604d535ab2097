"""Layers by name, by pattern and evenly spaced."""

from __future__ import annotations

import pytest
from metamery.framework import ImageDomain, MetameryError, Model, Study, choose_layers
from metamery.framework.errors import UnknownNameError
from torch import nn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.stage = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, signals):  # type: ignore[no-untyped-def]
        return self.head(self.stage(self.relu(self.relu(self.conv(signals)))))


@pytest.fixture
def model() -> Model:
    return Model(Network(), ImageDomain(3, 8, 8), ["relu", "stage", "output"])


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ([], ("relu", "stage", "output")),
        (["stage.1", "conv"], ("stage.1", "conv")),
        (["relu*"], ("relu", "relu@2")),
        (["*"], ("conv", "relu", "relu@2", "stage.0", "stage.1", "stage", "head.0", "head.1", "head", "output")),
        (["stage*", "stage", "output"], ("stage.0", "stage.1", "stage", "output")),
        (["1"], ("output",)),
        (["2"], ("relu", "output")),
        (["3"], ("relu", "stage", "output")),
        (["4"], ("conv", "stage.0", "head.0", "output")),
    ],
)
def test_names_patterns_and_numbers(model: Model, wanted: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_layers(model, wanted) == chosen


def test_a_module_that_has_a_number_for_a_name_comes_first() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    assert choose_layers(Model(network, ImageDomain(3, 8, 8), ["1"]), ["1"]) == ("1",)


@pytest.mark.parametrize("wanted", ["0", "11"])
def test_too_few_or_many(model: Model, wanted: str) -> None:
    with pytest.raises(MetameryError, match=rf"{wanted} layers are asked for, expected 1 to 10"):
        choose_layers(model, [wanted])


def test_a_pattern_that_matches_nothing(model: Model) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown pattern of layers 'stge\*'"):
        choose_layers(model, ["stge*"])


def test_a_study_may_give_a_number() -> None:
    text = 'stimuli = "natural"\nmodels = [{ name = "a", layers = 5 }, { name = "b", layers = ["*relu*"] }]'
    assert [use.layers for use in Study.from_toml(text).models] == [("5",), ("*relu*",)]


def test_a_model_from_a_plain_network() -> None:
    model = Model.from_module(Network(), (3, 8, 8), mean=[0.5] * 3, std=[0.2] * 3, labels=["a", "b", "c"])
    assert model.layers == ("relu", "stage", "output")
    assert not model.module.training
    assert "normalise" in dict(model.module.named_children())
    with pytest.raises(MetameryError, match=r"the shape is \(8, 8\), expected \(channels, height, width\)"):
        Model.from_module(Network(), (8, 8))
    with pytest.raises(MetameryError, match="needs both mean and std"):
        Model.from_module(Network(), (3, 8, 8), mean=[0.5] * 3)


def test_a_layer_that_is_named_twice() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(MetameryError, match="layer '1' is named twice"):
        choose_layers(Model(network, ImageDomain(3, 8, 8), ["1"]), ["1", "1"])
