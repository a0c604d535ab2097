"""Means over stimuli and their intervals, against NumPy and the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metamery.analysis.statistics.intervals import draws, means, percentiles, quantiles, with_ends


def test_a_mean_is_that_of_what_was_drawn() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 12))
    values[1, ::2] = np.nan
    values[2] = np.nan
    counts = draws(12, 50, generator)
    assert (counts.sum(axis=1) == 12).all()
    drawn = [np.repeat(np.arange(12), row.astype(int)) for row in counts]
    found = means(values, counts)
    np.testing.assert_allclose(found[:, 0], [values[0, places].mean() for places in drawn])
    np.testing.assert_allclose(found[:, 1], [np.nanmean(values[1, places]) for places in drawn])
    assert np.isnan(found[:, 2]).all()


def test_an_interval_is_that_of_the_normal_distribution_where_means_are_normal() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=40)
    low, high = percentiles(means(values, draws(40, 2000, generator)))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(40), rel=0.1)


def test_quantiles_are_those_of_numpy_without_what_is_no_number() -> None:
    samples = np.random.default_rng(0).normal(size=(101, 2, 3))
    np.testing.assert_allclose(percentiles(samples), np.quantile(samples, [0.025, 0.975], axis=0))
    samples[::3, 0, 1] = np.nan
    samples[:, 1, 2] = np.nan
    known = samples[np.isfinite(samples[:, 0, 1]), 0, 1]
    found = quantiles(samples, np.full((1, 2, 3), 0.3))[0]
    assert found[0, 1] == pytest.approx(np.quantile(known, 0.3))
    assert np.isnan(found[1, 2])


def test_an_interval_is_named_as_every_dataset_has_it() -> None:
    found = with_ends("own", ("site",), np.array([0.5]), np.array([[0.4], [0.6]]), "recognition")
    assert list(found) == ["own", "own_low", "own_high"]
    assert found["own_high"][1].tolist() == [0.6]
    assert found["own_low"][2]["long_name"].startswith("low end of the 95 % percentile bootstrap interval over stimuli")
