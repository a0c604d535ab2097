"""Invariance by layer, of networks whose invariance is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.testing import check_evaluator
from torch import nn

DOMAIN = ImageDomain(3, 16, 16)


def network(circular: bool = True) -> nn.Sequential:
    """A random network: a map, its global average, and a readout of the map."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mode = "circular" if circular else "zeros"
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, padding_mode=mode), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 5)
        ).eval()


class Averaged(nn.Module):
    """Any network of pictures, averaged over the four quarter turns of its picture."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.module(pictures.rot90(turns, (2, 3))) for turns in range(4)]).mean(dim=0)


class Pooled(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.module[:2](pictures)).mean(dim=(2, 3))


def pictures(count: int = 12, seed: int = 0, side: int = 16) -> list[Stimulus]:
    """Smooth random pictures."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    values = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return [Stimulus(value, name=f"p{number}") for number, value in enumerate(values)]


def found(context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", "invariance", **{"resamples": 50, **options})(context)
    return dataset


def test_a_rotation_averaged_network_is_invariant_and_a_random_one_is_not() -> None:
    models = {
        "averaged": Model(Averaged(network()), DOMAIN, ["output"]),
        "random": Model(network(), DOMAIN, ["1", "output"]),
    }
    result = found(Context(models, pictures()), transformations={"rotation": [90, 180]})
    assert result.site.values.tolist() == ["averaged output", "random 1", "random output"]
    for name in ("invariance", "correlation", "invariance_low", "invariance_high"):
        np.testing.assert_allclose(result[name].sel(site="averaged output"), 1, atol=1e-5)
    assert result.profile.sel(site="averaged output").item() == pytest.approx(1, abs=1e-5)
    for layer in ("random 1", "random output"):
        assert (result.invariance.sel(site=layer)[0, 1:] < 0.4).all()
        assert (result.correlation.sel(site=layer)[0, 1:] < 0.5).all()
    # A quarter turn of a 3 × 3 kernel is another kernel; the picture's is its own.
    assert result.equivariance.sel(site="random 1")[0, 1].item() < 0.9
    kept = Model(network(), DOMAIN, ["input"])
    alone = found(Context({"net": kept}, pictures()), transformations={"rotation": [90, 180]})
    np.testing.assert_allclose(alone.equivariance, 1, atol=1e-6)


def test_pooling_after_a_circular_convolution_is_invariant_to_circular_shifts_and_the_map_moves_along() -> None:
    module = network()
    models = {
        "pooled": Model(Pooled(module), DOMAIN, ["module.1", "output"]),
        "random": Model(module, DOMAIN, ["output"]),
    }
    shifts = {"translation": [1 / 16, 1 / 4, 1 / 2]}
    result = found(Context(models, pictures()), transformations=shifts, edges="circular")
    np.testing.assert_allclose(result.invariance.sel(site="pooled output"), 1, atol=1e-5)
    np.testing.assert_allclose(result.equivariance.sel(site="pooled module.1"), 1, atol=1e-5)
    assert np.isnan(result.equivariance.sel(site="pooled output")).all()
    assert (result.invariance.sel(site="pooled module.1")[0, 1:] < 0.7).all()
    assert (result.invariance.sel(site="random output")[0, 1:] < 0.7).all()
    assert not result.outside.any()
    mirrored = found(Context(models, pictures()), transformations=shifts)
    assert (mirrored.equivariance.sel(site="pooled module.1")[0, 1:] > 0.7).all()
    np.testing.assert_allclose(mirrored.outside.sel(site="random output"), [[0, 1 / 16, 1 / 4, 1 / 2]])


def test_no_change_is_one_and_an_unrelated_signal_about_nought() -> None:
    model = Model(network(), DOMAIN, ["input", "1", "output"])
    values = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))  # a half turn leaves nothing of it
    stimuli = [Stimulus(value, name=str(number)) for number, value in enumerate(values)]
    result = found(Context({"net": model}, stimuli), transformations={"rotation": [180], "blur": [0.03, 0.1]})
    for name in ("invariance", "invariance_low", "invariance_high", "correlation"):
        assert (result[name][:, 0] == 1).all()
        np.testing.assert_allclose(result[name].sel(transformation="rotation", strength=1)[:2], 0, atol=0.05)
        np.testing.assert_allclose(result[name].sel(transformation="rotation", strength=1)[2], 0, atol=0.3)  # 5 logits
    assert (result.distance[:, 0] == 0).all()
    assert np.isnan(result.invariance.sel(transformation="rotation", strength=2)).all()
    assert (result.invariance_low.values[1] <= result.invariance.values[1]).all()
    assert (result.invariance.values[1] <= result.invariance_high.values[1]).all()
    again = 1 - np.sqrt((result.distance.astype(float) ** 2).mean("stimulus"))
    np.testing.assert_allclose(again, result.invariance, atol=1e-6)
    curve = result.invariance.sel(transformation="blur").values
    expected = (curve[0] / 2 + curve[1] + curve[2] / 2) / 2
    np.testing.assert_allclose(result.profile.sel(transformation="blur"), expected)
    assert result.value.sel(transformation="blur").values.tolist() == [0, 0.03, 0.1]
    assert result.depth.values.tolist() == [0, 0.5, 1]


def test_a_result_depends_neither_on_the_batch_nor_on_other_models() -> None:
    model, other = Model(network(), DOMAIN, ["1", "output"]), Model(network(False)[:2], ImageDomain(3, 12, 12), ["1"])
    context = Context({"net": model}, pictures(7))
    settings = {"transformations": ["rotation", "noise"]}
    state = context.generator.get_state()
    whole = found(context, **settings)
    for batch_size in (1, 3):
        context.generator.set_state(state)
        xr.testing.assert_allclose(whole, found(context, batch_size=batch_size, **settings), atol=1e-5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        both = found(Context({"other": other, "net": model}, pictures(7)), **settings)
    xr.testing.assert_allclose(whole, both.sel(site=whole.site), atol=1e-6)


def test_the_aperture_hides_what_a_turn_brings_in() -> None:
    stimuli = pictures(6, side=64)
    model = Model(nn.Identity(), ImageDomain(3, 64, 64), ["input"])
    result = {
        shown: found(Context({"net": model}, stimuli), transformations={"rotation": [45]}, aperture=shown)
        for shown in (False, True)
    }
    assert result[False].outside[0, 1, 0].item() > 0.1
    assert not result[True].outside.any()
    assert result[True].attrs["aperture"] == 1
    assert result[True].invariance[0, 1, 0].item() != result[False].invariance[0, 1, 0].item()


def sounds(count: int = 4) -> list[Stimulus]:
    waves = 0.3 * torch.randn(count, 2000, generator=torch.Generator().manual_seed(0))
    return [Stimulus(wave, name=str(number), sample_rate=8000) for number, wave in enumerate(waves)]


def test_sounds_have_transformations_of_their_own() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 8, 4, 2, bias=False), nn.ReLU()).eval()
    heard = Model(module, WaveformDomain(2000, 8000), ["1", "2"])
    context = Context({"net": heard}, sounds())
    check_evaluator(Plugins(installed=()).load("evaluator", "invariance", batch_size=3, resamples=20), context)
    result = found(context)
    assert result.transformation.values.tolist() == ["time-shift", "gain", "pitch-shift", "white-noise"]
    shift = result.sel(transformation="time-shift", site="net 2")
    assert (shift.equivariance[1:] > 0.85).all()  # by 16, 64, 256, 1024 samples, of which the stride is a divisor
    assert (shift.invariance[1:] < 0.3).all()
    gain = result.sel(transformation="gain", site="net 1")
    assert (np.diff(gain.invariance) < 0).all()
    np.testing.assert_allclose(gain.correlation, 1, atol=1e-6)  # of a network without bias
    seen = {"net": heard, "sees": Model(network(), DOMAIN, ["output"])}
    for models, options, said in (
        (seen, {}, "the models take pictures and sounds, which have different transformations: expected one kind"),
        ({"net": heard}, {"transformations": ["blur"]}, "'blur' is for pictures, and the models take sounds"),
        ({"net": heard}, {"aperture": True}, "aperture is for pictures, and the models take sounds"),
    ):
        with pytest.raises(MetameryError, match=said):
            found(Context(models, sounds()), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transformations": ["rotate"]}, "unknown transformation 'rotate'; did you mean 'rotation'"),
        ({"transformations": "rotation"}, r"are 'rotation', expected names, such as \['rotation'\], or strengths"),
        ({"transformations": {}}, "expected names"),
        ({"transformations": {"rotation": [400]}}, "a strength of 'rotation' is 400"),
        ({"edges": "mirror"}, "unknown edges 'mirror'"),
        ({"resamples": 0}, "resamples is 0, expected a whole number of at least 1"),
    ],
)
def test_a_bad_option_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", "invariance", **options)
