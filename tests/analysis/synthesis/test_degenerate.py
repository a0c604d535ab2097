"""Estimators on values that do not vary: a finite value from those that do, or NaN with the reason; never −inf or 0."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.similarity.ceilings import ceiling_bounds as similarity_ceiling
from metamery.analysis.statistics import (
    bootstrap_mean,
    noise_ceiling,
    repeated_measures_anova,
    spearman_brown,
    split_half,
)
from metamery.analysis.statistics.prediction import other_model_prediction
from metamery.analysis.statistics.reliability import correlate

CEILING = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0.5, 0.2, 0], [1, 0.6, 0.3, 0.1], [1, 0.4, 0.3, 0]])


def halves(scores: np.ndarray, splits: int = 100, **options: object) -> tuple[float, float, int]:
    found = split_half(scores, generator=np.random.default_rng(0), splits=splits, **options)  # type: ignore[arg-type]
    return found.half, found.full, found.splits


@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_splits_with_a_constant_half_do_not_count(measure: str) -> None:
    half, full, varied = halves(CEILING, measure=measure)
    assert 0.9 < half <= full < 1 + 1e-9
    assert 80 < varied < 100  # a half of two people is both at ceiling in one of ten
    assert 0.9 < noise_ceiling(full, 0.95) < 1


@pytest.mark.parametrize(
    "scores",
    [
        np.ones((6, 4)),
        np.zeros((6, 4)),
        np.full((7, 5), 0.1),  # whose means differ by rounding
        np.where(np.arange(30).reshape(6, 5) % 7 == 0, np.nan, 0.3),  # of other numbers of people at each point
        np.repeat([[0.1], [0.7], [0.2], [1 / 3]], 6, axis=1),
    ],
)
@pytest.mark.parametrize("measure", ["pearson", "spearman"])
def test_where_no_half_varies_there_is_no_reliability_and_a_reason(scores: np.ndarray, measure: str) -> None:
    with pytest.warns(UserWarning, match="reliability is NaN: in each of 20 splits a half is the same at all points"):
        half, full, varied = halves(scores, 20, measure=measure)
    assert (math.isnan(half), math.isnan(full), varied) == (True, True, 0)
    assert math.isnan(noise_ceiling(full, 0.9))
    assert math.isnan(noise_ceiling(0.9, full))


def test_what_has_no_value_stays_without_one() -> None:
    for reliability in (math.nan, -1.0, -3.0):
        assert math.isnan(spearman_brown(reliability))
    assert spearman_brown(-0.5) == -2
    assert noise_ceiling(-2, 0.9) == 0
    rounding = 0.3 + np.array([0, 1, -1, 2]) * 5e-17
    assert np.isnan(correlate(rounding, np.arange(4.0)))
    assert np.isnan(correlate(np.zeros(4), np.arange(4.0), "spearman"))


def test_a_prediction_of_people_who_are_all_at_ceiling_says_why_it_has_no_value() -> None:
    sites = {"site": ["v/m/a", "v/m/b", "v/m/c"], "modality": ("site", ["v"] * 3), "model": ("site", ["m"] * 3)}
    sites["layer"] = ("site", ["a", "b", "c"])
    people = xr.Dataset(
        {"human": (("participant", "site"), np.ones((6, 3)))},
        sites | {"experiment": ("site", ["1"] * 3), "participant_experiment": ("participant", ["1"] * 6)},
    )
    drawn = np.random.default_rng(0).uniform(size=(5, 3))
    models = xr.DataArray(drawn, sites | {"recogniser": list("pqrst")}, ("recogniser", "site"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = other_model_prediction(people, models, "v", generator=np.random.default_rng(0), splits=10)
    assert any("the means of people are the same at all points" in str(each.message) for each in said)
    assert np.isnan(found[["correlation", "human_reliability", "noise_ceiling", "corrected"]].to_dataarray()).all()
    assert not np.isinf(found["models_reliability"]).any()


@pytest.mark.parametrize(
    ("cosines", "lower", "upper"),
    [
        (torch.full((3, 3), torch.nan), math.nan, math.nan),
        (torch.eye(2) * 2 - 1, -1.0, math.nan),  # opposite: their mean has no direction
        (torch.ones(4, 4), 1.0, 1.0),
        (torch.ones(1, 1), math.nan, math.nan),
    ],
)
def test_ceilings_of_similarity(cosines: torch.Tensor, lower: float, upper: float) -> None:
    assert similarity_ceiling(cosines.double()) == pytest.approx((lower, upper), nan_ok=True)


def test_a_repetition_that_is_constant_does_not_take_the_ceiling_away() -> None:
    cosines = torch.tensor([[1, 0.8, 0.7], [0.8, 1, 0.6], [0.7, 0.6, 1]], dtype=torch.float64)
    with_constant = torch.full((4, 4), torch.nan, dtype=torch.float64)
    with_constant[:3, :3] = cosines
    assert similarity_ceiling(with_constant) == pytest.approx(similarity_ceiling(cosines))


def test_intervals_and_tests_of_equal_scores_are_not_infinite() -> None:
    equal = xr.DataArray(np.full((4, 3), 0.5), dims=("participant", "stimulus"))
    found = bootstrap_mean(equal, generator=np.random.default_rng(0), resamples=50)
    assert (found["mean_low"], found["mean"], found["mean_high"], found["standard_error"]) == (0.5, 0.5, 0.5, 0)
    nothing = bootstrap_mean(equal * np.nan, generator=np.random.default_rng(0), resamples=50)
    assert np.isnan(nothing.to_dataarray()).all()
    lone = equal.copy()
    lone[0, 0] = 100
    far = bootstrap_mean(lone, generator=np.random.default_rng(0), resamples=50)
    assert np.isfinite(far.to_dataarray()).all()
    assert far["mean_low"] <= far["mean"] <= far["mean_high"]
    scores = xr.DataArray(np.full((2, 4, 3), 0.5), dims=("model", "participant", "layer"))
    tested = repeated_measures_anova(scores, generator=np.random.default_rng(0), shuffles=10)
    assert np.isnan(tested[["F", "p", "partial_eta_squared"]].to_dataarray()).all()
