"""The evaluator of principal distortions: what it stores agrees with the networks, and refusals are one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis import write_report
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.testing import example_model, example_signals
from torch import nn

QUICK: dict[str, Any] = {"steps": 20, "starts": 2, "resamples": 50}
NAMES = ["net", "second", "third"]


def stimuli(model: Model, count: int = 3) -> list[Stimulus]:
    return [Stimulus(signal, name=f"picture {n}") for n, signal in enumerate(example_signals(model, count))]


def models(count: int = 3) -> dict[str, Model]:
    return {name: example_model(seed) for seed, name in enumerate(NAMES[:count])}


def found(context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", "principal-distortions", **QUICK | options)(context)
    return dataset


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    return found(Context(models(), stimuli(example_model())))


def test_sensitivities_are_those_of_the_networks(result: xr.Dataset) -> None:
    assert result.site.values.tolist() == [f"{name} output" for name in NAMES]
    assert result.principal_distortion.dims == ("stimulus", "distortion", "channel", "y", "x")
    for number, name in enumerate(NAMES):
        network = example_model(number).module.double()
        for stimulus in result.stimulus.values:
            signal = torch.from_numpy(result.natural.sel(stimulus=stimulus).values).double()[None]
            gain = float(result.gain.sel(site=f"{name} output", stimulus=stimulus))
            for distortion in ("first", "second"):
                at = {"stimulus": stimulus, "distortion": distortion}
                step = 1e-6 * torch.from_numpy(result.principal_distortion.sel(at).values).double()
                with torch.no_grad():
                    moved = float((network(signal + step) - network(signal)).norm()) / 1e-6 / gain
                expected = np.log(moved**2 + 0.1**2) / 2
                assert float(result.log_sensitivity.sel(at | {"site": f"{name} output"})) == pytest.approx(
                    expected, abs=1e-3
                )


def test_positions_distances_and_spread_are_those_of_the_sensitivities(result: xr.Dataset) -> None:
    ratios = result.log_sensitivity.sel(distortion="first") - result.log_sensitivity.sel(distortion="second")
    positions = ratios - ratios.mean("site")
    xr.testing.assert_allclose(result.position_at, positions.drop_vars("distortion", errors="ignore"))
    np.testing.assert_allclose(result.position, positions.mean("stimulus"))
    np.testing.assert_allclose(result.spread, positions.std("site"))
    assert (result.position_at.isel(site=0) >= 0).all()
    between = np.abs(positions.values[:, None] - positions.values[None]).mean(axis=2)
    np.testing.assert_allclose(result.distance, between)
    np.testing.assert_allclose(result.objective.isel(step=-1).max("seed"), result.spread**2, rtol=0.02)
    assert (result.position_low <= result.position).all()
    assert (result.position <= result.position_high).all()


def test_what_is_shown_has_the_stated_size_within_the_range(result: xr.Dataset) -> None:
    added = (result.distorted - result.natural).transpose("stimulus", "distortion", ...)
    size = 0.05 * np.sqrt(result.natural.isel(stimulus=0).size)
    np.testing.assert_allclose(added, size * result.principal_distortion, atol=1e-5)
    np.testing.assert_allclose(np.sqrt((added**2).mean(["channel", "y", "x"])), 0.05, rtol=1e-4)
    assert result.distorted.min() >= 0
    assert result.distorted.max() <= 1


def test_without_bounds_signals_are_clamped_and_the_spread_is_larger() -> None:
    context = Context(models(), stimuli(example_model(), 1))
    bounded, free = (found(context, size=0.3, steps=100, bounded=each) for each in (True, False))
    over = free.principal_distortion * (0.3 * np.sqrt(432)) + free.natural
    assert ((over < -1e-3) | (over > 1.001)).any()
    np.testing.assert_allclose(free.distorted, over.clip(0, 1), atol=1e-5)
    assert (free.spread > bounded.spread).all()


def test_a_stimulus_s_result_depends_neither_on_the_others_nor_on_their_order() -> None:
    shown = stimuli(example_model())
    several = found(Context(models(2), shown))
    alone = found(Context(models(2), shown[2:]))
    turned = found(Context(models(2), shown[::-1]))
    of_all = [
        "position",
        "distance",
        *(f"{name}_{end}" for name in ("position", "distance") for end in ("low", "high")),
    ]
    close = {"rtol": 1e-3, "atol": 1e-3}  # of float32 after 20 steps
    xr.testing.assert_allclose(several.drop_vars(of_all).isel(stimulus=[2]), alone.drop_vars(of_all), **close)
    back = turned.drop_vars(of_all).isel(stimulus=[2, 1, 0])
    xr.testing.assert_allclose(several.drop_vars(of_all), back, **close)
    assert alone.position_low.isnull().all()
    other = found(Context(models(2), shown[2:], generator=torch.Generator().manual_seed(1)))
    assert not np.array_equal(other.principal_distortion, alone.principal_distortion)


def test_a_layer_for_all_or_one_for_each() -> None:
    context = Context(models(2), stimuli(example_model(), 1))
    assert found(context, layers=["2"], limit=1).layer.values.tolist() == ["2", "2"]
    assert found(context, layers=["0", "output"]).site.values.tolist() == ["net 0", "second output"]
    with pytest.raises(MetameryError, match="layers has 3 names for 2 models, expected one for all or one for each"):
        found(context, layers=["0", "1", "2"])
    with pytest.raises(MetameryError, match="unknown layer '22'"):
        found(context, layers=["22"])


class Root(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.clamp(min=0).sqrt()


class Halves(nn.Module):
    """Hears one half of a sound only."""

    def __init__(self, half: int) -> None:
        super().__init__()
        self.half = half

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.unflatten(1, (2, -1))[:, self.half]


def heard(module: nn.Module) -> Model:
    return Model(nn.Sequential(module).eval(), WaveformDomain(40, 8000, rms=None), ["output"])


def sound(seed: int = 0) -> Stimulus:
    wave = 0.1 * torch.randn(40, generator=torch.Generator().manual_seed(seed))
    return Stimulus(wave, name="noise", sample_rate=8000)


def test_of_two_ears_each_distortion_is_in_one() -> None:
    result = found(Context({"left": heard(Halves(0)), "right": heard(Halves(1))}, [sound()]), steps=100)
    assert result.attrs["sample_rate"] == 8000
    energy = np.square(result.principal_distortion.values).reshape(2, 2, 20).sum(axis=2)
    np.testing.assert_allclose(energy, [[1, 0], [0, 1]], atol=1e-3)
    heard_by, deaf_to = np.log(2 + 0.01) / 2, np.log(0.1)
    np.testing.assert_allclose(result.log_sensitivity[:, 0], [[heard_by, deaf_to], [deaf_to, heard_by]], atol=1e-2)


def test_where_a_network_has_no_local_geometry_there_is_a_warning() -> None:
    given = Context({"left": heard(Halves(0)), "root": heard(Root())}, [sound()])
    result = found(given)
    (warning,) = result.attrs["warnings"]
    assert warning.startswith("root output: its Jacobian at 'noise' is not finite, so that there are no principal")
    assert result.log_sensitivity.isnull().all()
    assert result.position.isnull().all()


@pytest.mark.parametrize("which", ["pictures", "nine models", "missing"])
def test_the_report_has_the_map_and_the_distortions(which: str, result: xr.Dataset, tmp_path: Any) -> None:
    count = 9 if which == "nine models" else 3
    shown = result.isel(site=[0, 1, 2] * (count // 3), other_site=[0, 1, 2] * (count // 3))
    if which == "nine models":
        named = [f"model {number}" for number in range(9)]
        shown = shown.assign_coords(site=named, other_site=named)
    if which == "missing":
        of_stimuli = {name: array for name, array in shown.data_vars.items() if "stimulus" in array.dims}
        with xr.set_options(keep_attrs=True):
            known = {name: array.where(shown.stimulus != "picture 0") for name, array in of_stimuli.items()}
        shown = shown.assign(known)
    page = write_report({"principal-distortions": shown}, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("of each item; the numbers are in the table") == 1
    assert page.count("of each item in the plane; the numbers are in the table") == 1
    assert page.count(" large dots") == count
    assert page.count(" faint dots") == count
    assert "mean over stimulus; a small point for each stimulus" in page
    assert "lines from position_low to position_high" in page
    of_signal = 3 - (which == "missing")
    assert page.count('alt="principal distortion of unit norm: ') == 2 * of_signal
    assert page.count('alt="natural signal with the distortion added: ') == 2 * of_signal
    assert (">model 3</text>" in page) == (which == "nine models")


def test_a_single_model_and_other_domains_are_refused() -> None:
    model = example_model()
    with pytest.raises(MetameryError, match="principal-distortions compares models: 1 given, expected at least two"):
        found(Context({"net": model}, stimuli(model)))
    wider = replace(model, domain=ImageDomain(3, 14, 14))
    with pytest.raises(MetameryError, match="principal-distortions expects models of one domain"):
        found(Context({"net": model, "wider": wider}, stimuli(model)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 0}, "limit is 0, expected a whole number of at least 1"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"starts": 1.5}, "starts is 1.5, expected a whole number of at least 1"),
        ({"probes": 0}, "probes is 0, expected a whole number of at least 1"),
        ({"resamples": 0}, "resamples is 0, expected a whole number of at least 1"),
        ({"floor": 0}, "floor is 0, expected a number from 0 to 1"),
        ({"size": 2}, "size is 2, expected a number from 0 to 1"),
        ({"bounded": 1}, "bounded is 1, expected true or false"),
        ({"layers": "output"}, "layers is 'output', expected a list of names"),
        ({"layers": []}, r"layers is \[\], expected a list of names"),
    ],
)
def test_a_bad_option_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", "principal-distortions", **options)


def test_a_search_that_is_not_at_its_end_is_said_to_rise() -> None:
    context = Context(models(2), stimuli(example_model(), 2))
    short, long = (found(context, steps=steps, bounded=False) for steps in (10, 600))
    (warning,) = short.attrs["warnings"]
    rising = int((short.late_rise > 0.01).sum())
    assert warning.startswith(f"at {rising} of 2 stimuli the search gained more than 1% in the last tenth of its steps")
    best = short.objective.isel(seed=short.objective.isel(step=-1).argmax("seed").drop_vars("step"))
    np.testing.assert_allclose(short.late_rise, 1 - best[:, -2].values / best[:, -1].values)
    assert not long.attrs["warnings"]
    assert (long.late_rise < 1e-3).all()
    assert (long.spread > short.spread).all()
