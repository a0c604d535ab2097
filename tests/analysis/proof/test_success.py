"""Success: what passes, what fails, and what cannot be decided."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis import judge, match, null_distribution, success_by_layer, synthesise
from metamery.analysis.statistics.proportions import wilson
from metamery.framework import Model, Stimulus
from metamery.framework.schema import VERDICTS, check_dataset, success_variables
from metamery.framework.testing import example_model

NO, YES, UNATTAINABLE, MISSING = (VERDICTS[name] for name in ("no", "yes", "unattainable", "missing"))


@pytest.fixture(scope="module")
def model() -> Model:
    return example_model()


@pytest.fixture(scope="module")
def stimuli() -> list[Stimulus]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 4, 4, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=(12, 12), mode="bilinear")
    return [Stimulus(picture, name=f"s{index}") for index, picture in enumerate(pictures)]


@pytest.fixture(scope="module")
def null(model: Model, stimuli: list[Stimulus]) -> xr.Dataset:
    return null_distribution(model, stimuli, ["1", "output"])


@pytest.fixture(scope="module")
def metamers(model: Model, stimuli: list[Stimulus]) -> xr.Dataset:
    return synthesise(model, stimuli, ["1"], steps=400, step_size=0.02)


def with_signals(model: Model, metamers: xr.Dataset, signals: np.ndarray) -> xr.Dataset:
    """The same study, had its metamers been these signals ``(stimulus, …)``."""
    changed = metamers.assign(signal=metamers["signal"].copy(data=signals[None, :, None].astype(np.float32)))
    found = match(model, changed)
    with torch.no_grad():
        classes = model.module(torch.from_numpy(signals.astype(np.float32))).argmax(dim=1).numpy()
        natural = model.module(torch.from_numpy(metamers["natural"].values)).argmax(dim=1).numpy()
    agrees = metamers["agrees"].copy(data=(classes == natural).astype(np.int8)[None, :, None])
    own = found.sel(measured_layer="1", drop=True)
    return changed.assign(match=found, agrees=agrees, quantised_match=own, quantised_agrees=agrees)


def test_metamers_succeed(metamers: xr.Dataset, null: xr.Dataset) -> None:
    verdicts = judge(metamers, null)
    assert (verdicts["matches"] == YES).all()
    assert (verdicts["success"] == metamers["agrees"]).all()
    assert (verdicts["margin"].sel(metric=["pearson", "spearman", "snr_db"]) > 0).all()
    assert (verdicts["percentile"].sel(metric="spearman") == 100).all()
    assert verdicts["margin"].sel(metric="relative_l2").isnull().all()


def test_the_natural_picture_itself_passes(model: Model, metamers: xr.Dataset, null: xr.Dataset) -> None:
    verdicts = judge(with_signals(model, metamers, metamers["natural"].values), null)
    assert (verdicts["success"] == YES).all()
    assert (verdicts["margin"].sel(metric="snr_db") == np.inf).all()
    assert (verdicts["percentile"].sel(metric="snr_db") == 100).all()


def test_a_metamer_fails_against_another_picture(model: Model, metamers: xr.Dataset, null: xr.Dataset) -> None:
    others = np.roll(metamers["signal"].values[0, :, 0], 1, axis=0)
    verdicts = judge(with_signals(model, metamers, others), null)
    assert (verdicts["success"] == NO).all()
    assert (verdicts["matches"] == NO).all()


def test_noise_fails(model: Model, metamers: xr.Dataset, null: xr.Dataset) -> None:
    noise = np.random.default_rng(0).uniform(size=metamers["natural"].shape)
    verdicts = judge(with_signals(model, metamers, noise), null)
    assert (verdicts["success"] == NO).all()


def test_another_picture_of_the_null_is_at_its_percentile(model: Model, metamers: xr.Dataset, null: xr.Dataset) -> None:
    natural = metamers["natural"].values
    verdicts = judge(with_signals(model, metamers, np.roll(natural, 1, axis=0)), null)
    here = verdicts["percentile"].sel(metric="pearson").values.ravel()
    values = match(model, with_signals(model, metamers, np.roll(natural, 1, axis=0))).sel(
        measured_layer="1", metric="pearson"
    )
    assert (np.argsort(here) == np.argsort(values.values.ravel())).all()
    assert 0 <= here.min() < here.max() <= 100
    assert (verdicts["margin"].sel(metric="pearson") <= 0).all()


def made_up(**values: float) -> xr.Dataset:
    """A null of one layer whose maxima are these, and quantiles from 0 to them."""
    metrics = ["pearson", "spearman", "snr_db"]
    maximum = np.array([[values.get(metric, 0.5) for metric in metrics]], dtype=np.float32)
    levels = np.array([0, 0.5, 1])
    return xr.Dataset(
        {
            "maximum": (("layer", "metric"), maximum),
            "quantiles": (("layer", "metric", "quantile"), np.minimum(maximum, 1)[..., None] * levels),
        },
        {"layer": ["1"], "metric": metrics, "quantile": levels},
    )


def single(agrees: int, pearson: float = 0.9, spearman: float = 0.9, snr_db: float = 9.0) -> xr.Dataset:
    fits = np.array([pearson, spearman, snr_db, snr_db / 2, 0.1], dtype=np.float32).reshape(1, 1, 1, 1, 5)
    at = ("layer", "stimulus", "seed")
    label = (at, np.full((1, 1, 1), agrees, dtype=np.int8))
    return xr.Dataset(
        {
            "match": (("layer", "measured_layer", "stimulus", "seed", "metric"), fits),
            "quantised_match": ((*at, "metric"), fits[:, 0]),
            "agrees": label,
            "quantised_agrees": label,
        },
        {
            "layer": ["1"], "measured_layer": ["1"], "stimulus": ["s"], "seed": [0],
            "metric": ["pearson", "spearman", "snr_db", "snr_db_2023", "relative_l2"],
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metamer", "null", "matches", "success"),
    [
        (single(1), made_up(), YES, YES),
        (single(0), made_up(), YES, NO),
        (single(-1), made_up(), YES, YES),  # a network without classes
        (single(-1, pearson=0.5), made_up(), NO, NO),
        (single(-1, snr_db=float("nan")), made_up(), MISSING, MISSING),
        (single(1, pearson=0.5), made_up(), NO, NO),
        (single(1, spearman=0.4), made_up(), NO, NO),
        (single(1, snr_db=0.4), made_up(), NO, NO),
        (single(1, snr_db=float("nan")), made_up(), MISSING, MISSING),
        (single(1), made_up(pearson=0.999), UNATTAINABLE, UNATTAINABLE),
        (single(1), made_up(spearman=1.0), UNATTAINABLE, UNATTAINABLE),
        (single(0), made_up(spearman=1.0), UNATTAINABLE, NO),
        (single(1), made_up(snr_db=np.inf), UNATTAINABLE, UNATTAINABLE),
        (single(1), made_up().assign_coords(layer=["other"]), MISSING, MISSING),
        (single(1), made_up(pearson=np.nan), MISSING, MISSING),
        (single(0), made_up(snr_db=np.nan), MISSING, MISSING),
        (single(1, pearson=0.1), made_up(spearman=np.nan), MISSING, MISSING),
        (single(1), made_up(pearson=np.nan, spearman=np.nan, snr_db=np.nan), MISSING, MISSING),
        (single(1), made_up(pearson=1.0, snr_db=np.nan), UNATTAINABLE, UNATTAINABLE),
    ],
)
def test_both_parts_decide(metamer: xr.Dataset, null: xr.Dataset, matches: int, success: int) -> None:
    verdicts = judge(metamer, null)
    assert verdicts["matches"].item() == verdicts["quantised_matches"].item() == matches
    assert verdicts["success"].item() == verdicts["quantised_success"].item() == success


def test_margin_and_percentile_in_closed_form() -> None:
    verdicts = judge(single(1, pearson=0.125, snr_db=-1), made_up())
    assert verdicts["margin"].sel(metric="pearson").item() == pytest.approx(-0.375)
    assert verdicts["percentile"].sel(metric=["pearson", "spearman", "snr_db"]).values.ravel() == pytest.approx(
        [25, 100, 0]
    )


def test_verdicts_pass_the_schema(metamers: xr.Dataset, null: xr.Dataset) -> None:
    verdicts = judge(metamers, null)
    check_dataset(verdicts)
    assert set(verdicts.data_vars) == set(success_variables())


def test_wilson_intervals_are_the_published_formula() -> None:
    for k, n in ((0, 5), (3, 8), (60, 60)):
        z, p = 1.959964, k / n
        centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        wanted = (centre + np.array([-half, half])) / (1 + z**2 / n)
        assert wilson(k, n) == pytest.approx(wanted, abs=1e-6)
    assert np.isnan(wilson(0, 0)).all()


def test_successes_are_counted_by_layer(metamers: xr.Dataset, null: xr.Dataset) -> None:
    study = metamers.merge(judge(metamers, null))
    study["success"].values[0, :4, 0] = [NO, YES, MISSING, UNATTAINABLE]
    study["success"].values[0, 4:, 0] = YES
    study["matches"].values[0, :2, 0] = UNATTAINABLE
    counted = success_by_layer(study).sel(layer="1")
    assert (int(counted["success_counted"]), float(counted["success"])) == (6, pytest.approx(5 / 6))
    assert (float(counted["success_low"]), float(counted["success_high"])) == pytest.approx(wilson(5, 6))
    assert int(counted["unattainable"]) == 2
    assert int(counted["matches_counted"]) == 6
    check_dataset(success_by_layer(study))
