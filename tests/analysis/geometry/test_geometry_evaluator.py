"""The evaluator of local geometry: its contract, and that it stores what the algorithm finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.testing import example_model, example_signals
from torch import nn


def stimuli(model: Model, count: int = 3) -> list[Stimulus]:
    return [Stimulus(signal, name=f"picture {n}") for n, signal in enumerate(example_signals(model, count))]


def found(context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", "geometry", **options)(context)
    return dataset


def test_every_layer_of_every_model_is_a_site() -> None:
    model = example_model()
    second = replace(example_model(1), layers=["0", "output"])
    result = found(Context({"net": model, "second": second}, stimuli(model)), components=5)
    names = ["net 1", "net 2", "net output", "second 0", "second output"]
    assert result.site.values.tolist() == names
    assert result.model.values.tolist() == ["net"] * 3 + ["second"] * 2
    assert result.layer.values.tolist() == ["1", "2", "output", "0", "output"]
    assert result.stimulus.values.tolist() == ["picture 0", "picture 1"]
    assert result.component.values.tolist() == [1, 2, 3, 4, 5]
    assert result.most_noticeable.dims == ("site", "stimulus", "component", "channel", "y", "x")
    assert result.attrs["warnings"] == []
    assert (result.attrs["low"], result.attrs["high"]) == (0, 1)
    assert (result.exact == 1).all()
    at_output = result.sel(site="net output")
    assert at_output.free_share.values.tolist() == [1 - 4 / 432] * 2
    assert (at_output.singular_value.sel(component=5) == 0).all()
    assert (result.effective_dimension >= 1).all()
    chosen = found(Context({"net": model, "second": second}, stimuli(model)), layers=["2"], limit=1)
    assert chosen.site.values.tolist() == ["net 2", "second 2"]
    assert chosen.sizes["stimulus"] == 1


def test_distortions_move_the_layer_as_their_singular_values_say() -> None:
    model = example_model()
    result = found(Context({"net": model}, stimuli(model)), components=3)
    network = model.module[:3].double()  # type: ignore[index]
    signal = torch.from_numpy(result.natural.sel(stimulus="picture 1").values).double()
    here = result.sel(site="net 2", stimulus="picture 1")
    directions = [(here.most_noticeable[n], here.singular_value[n]) for n in range(3)]
    with torch.no_grad():
        for direction, value in [*directions, (here.least_noticeable, here.least_singular_value)]:
            step = 1e-6 * torch.from_numpy(direction.values).double()
            assert float(step.norm()) == pytest.approx(1e-6, rel=1e-5)
            moved = (network(signal[None] + step) - network(signal[None])).norm() / 1e-6
            assert float(moved) == pytest.approx(value.item(), rel=1e-4, abs=1e-5)


def wide(seed: int) -> Model:
    """Its first layer has more units, and its signals more samples, than a Jacobian that is formed."""
    model = example_model(seed)
    return replace(model, module=model.module[:3], domain=ImageDomain(3, 16, 16), labels=None)  # type: ignore[index]


@pytest.mark.parametrize(
    ("make", "layers", "whole"), [(example_model, ["0", "output"], True), (wide, ["0"], False)], ids=["small", "wide"]
)
def test_a_stimulus_s_result_depends_neither_on_the_others_nor_on_other_models(
    make: Callable[[int], Model], layers: list[str], whole: bool
) -> None:
    model = make(0)
    shown = stimuli(model)
    settings: dict[str, Any] = {"components": 2, "layers": layers, "iterations": 10}
    several = found(Context({"other": make(1), "net": model}, shown), **settings)
    alone = found(Context({"net": model}, shown[1:2]), **settings)
    xr.testing.assert_identical(several.sel(site=alone.site, stimulus=alone.stimulus), alone)
    assert (alone.exact == whole).all()
    other = found(Context({"net": model}, shown[1:2], generator=torch.Generator().manual_seed(1)), **settings)
    assert not np.array_equal(other.least_noticeable, alone.least_noticeable)


class Root(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.clamp(min=0).sqrt()


def test_sounds_and_what_is_not_finite() -> None:
    domain = WaveformDomain(20, 8000, rms=None)
    model = Model(nn.Sequential(nn.Identity(), Root()).eval(), domain, ["0", "output"])
    wave = torch.randn(600, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    result = found(Context({"net": model}, [Stimulus(wave, name="noise", sample_rate=8000)]), components=1)
    assert result.attrs["sample_rate"] == 8000
    assert result.most_noticeable.dims == ("site", "stimulus", "component", "time")
    assert result.least_noticeable.dims == ("site", "stimulus", "time")
    assert result.attrs["warnings"] == ["net output: its Jacobian at 'noise' is not finite"]
    assert result.gain.isnull().values.tolist() == [[False], [True]]
    assert result.singular_value.values[0].tolist() == [[pytest.approx(1)]]


def test_models_of_different_signals_and_wrong_layers_are_refused() -> None:
    model = example_model()
    wider = replace(model, domain=ImageDomain(3, 14, 14))
    with pytest.raises(MetameryError, match="geometry expects models of one"):
        found(Context({"net": model, "wider": wider}, stimuli(model)))
    with pytest.raises(MetameryError, match="unknown layer '22'"):
        found(Context({"net": model}, stimuli(model)), layers=["22"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": 0}, "components is 0, expected a whole number of at least 1"),
        ({"components": 21}, "components is 21, expected at most 20"),
        ({"limit": 1.5}, "limit is 1.5, expected a whole number of at least 1"),
        ({"probes": 1}, "probes is 1, expected a whole number of at least 2"),
        ({"iterations": True}, "iterations is True, expected a whole number of at least 6"),
        ({"iterations": 5}, "iterations is 5, expected a whole number of at least 6"),
        ({"tolerance": 0}, "tolerance is 0, expected a number above 0"),
        ({"layers": "output"}, "layers is 'output', expected a list of names"),
    ],
)
def test_a_bad_option_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", "geometry", **options)
