"""Folded batch normalisations: the network gives the same, and is as before afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from metamery.framework import ImageDomain, Model
from metamery.framework.contract import examine
from metamery.framework.folding import folded
from torch import nn


def normalisation(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    layer.running_mean.copy_(torch.randn(channels))  # type: ignore[union-attr]
    layer.running_var.copy_(torch.rand(channels) + 0.1)  # type: ignore[union-attr]
    with torch.no_grad():
        layer.weight.copy_(torch.randn(channels))
        layer.bias.copy_(torch.randn(channels))
    return layer


def network(layers: Sequence[str] = ("2", "output")) -> Model:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3), normalisation(4), nn.ReLU(inplace=True)
    second = nn.Conv2d(4, 5, 3, bias=False, groups=1), normalisation(5), nn.ReLU()
    linear = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
    return Model(nn.Sequential(*first, *second, *linear).eval(), ImageDomain(3, 12, 12), layers)


def read(model: Model, signals: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad(), model.tap(["0", "1", "2", "3", "4", "8", "9", "output"]) as tap:
        return {name: activation.clone() for name, activation in tap(signals).items()}


def test_the_network_gives_the_same_and_is_restored() -> None:
    model, signals = network(), torch.rand(4, 3, 12, 12)
    weights = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    before = read(model, signals)
    with folded(model, ["2", "output"]) as count:
        assert count == 3
        within = read(model, signals)
        assert torch.equal(within["0"], within["1"])
    for name in ("1", "2", "4", "9", "output"):
        assert torch.allclose(within[name], before[name], rtol=1e-4, atol=1e-5), name
    assert not torch.allclose(within["0"], before["0"], atol=0.1)
    after = read(model, signals)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(weights[name], weight) for name, weight in model.module.state_dict().items())


def test_the_network_is_not_examined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = network(), []
    examine(model, ["2", "5", "output"])
    monkeypatch.setattr("metamery.framework.contract._examined", lambda *_: passes.append(1))
    for _ in range(2):
        with folded(model, ["2", "output"]) as count, model.tap(["2", "5"]):
            assert count == 3
    assert not passes


@pytest.mark.parametrize("layer", ["0", "3", "8"])
def test_what_is_before_a_normalisation_is_not_folded_where_it_is_read(layer: str) -> None:
    model, signals = network(), torch.rand(4, 3, 12, 12)
    before = read(model, signals)
    with folded(model, [layer, "output"]) as count:
        assert count == 2
        assert torch.allclose(read(model, signals)[layer], before[layer], rtol=1e-4, atol=1e-5)


class Beside(nn.Module):
    """Uses what its convolution returns twice, before and behind the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(3, 3, 3, padding=1), normalisation(3)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        made = self.convolution(signals)
        return (made + self.normalisation(made)).mean((2, 3))


class Twice(Beside):
    """Calls its convolution twice."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return self.normalisation(self.convolution(self.convolution(signals))).mean((2, 3))


class Active(nn.BatchNorm2d):
    """Does more than a normalisation."""

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        return super().forward(activation).relu()


class Derived(Beside):
    def __init__(self) -> None:
        super().__init__()
        self.normalisation = Active(3)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return self.normalisation(self.convolution(signals)).mean((2, 3))


@pytest.mark.parametrize("kind", [Beside, Twice, Derived])
def test_a_network_that_would_change_is_left_as_it_is(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = Model(kind().eval(), ImageDomain(3, 8, 8), ("output",))
    signals = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        before = model.module(signals)
        with folded(model, ["output"]) as count:
            assert count == 0
            assert torch.equal(model.module(signals), before)


def test_statistics_of_the_batch_are_not_folded() -> None:
    model = network()
    model.module[1].train()
    with folded(model, ["output"]) as count:
        assert count == 2
