"""The bootstrap, split halves and noise ceilings."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics import (
    bootstrap,
    bootstrap_mean,
    correlate,
    noise_ceiling,
    resampling,
    spearman_brown,
    split_half,
)
from metamery.framework import MetameryError
from metamery.framework.schema import check_dataset
from scipy import stats


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mean(block: np.ndarray) -> np.ndarray:
    return block.mean(axis=1)


def crossed_mean(block: np.ndarray) -> np.ndarray:
    return block.mean(axis=(1, 2))


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_one_factor_as_in_scipy(method: str) -> None:
    values = generator(1).exponential(size=25)
    ours = bootstrap(values, mean, generator=generator(2), resamples=5000, method=method)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method=method, rng=generator(2))
    assert ours.estimate == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low)
    assert ours.high == pytest.approx(theirs.confidence_interval.high)
    assert ours.standard_error == pytest.approx(theirs.standard_error)


def test_bca_follows_skewness() -> None:
    values = generator(1).exponential(size=25)
    bca, plain = (
        bootstrap(values, mean, generator=generator(), resamples=20_000, method=method)
        for method in ("bca", "percentile")
    )
    assert bca.low > plain.low
    assert bca.high > plain.high


def test_two_factors_add_their_variances() -> None:
    people, stimuli = generator(1).normal(size=(30, 1)), 2 * generator(2).normal(size=20)
    found = bootstrap(people + stimuli, crossed_mean, generator=generator(3), factors=2, resamples=20_000)
    expected = np.sqrt(people.var() / 30 + stimuli.var() / 20)
    assert found.standard_error == pytest.approx(expected, rel=0.03)
    alone = bootstrap(people + stimuli, crossed_mean, generator=generator(3), resamples=20_000)
    assert alone.standard_error == pytest.approx(people.std() / np.sqrt(30), rel=0.03)


def test_intervals_cover() -> None:
    covered = 0
    for trial in range(200):
        values = generator(trial).normal(size=40)
        found = bootstrap(values, mean, generator=generator(trial), resamples=400)
        covered += int(found.low <= 0 <= found.high)
    assert 0.88 * 200 <= covered <= 0.99 * 200


def test_no_spread_is_an_interval_of_no_width() -> None:
    found = bootstrap(np.ones((5, 4, 3)), crossed_mean, generator=generator(), factors=2, resamples=50)
    for part in (found.estimate, found.low, found.high):
        np.testing.assert_array_equal(part, np.ones(3))
    np.testing.assert_array_equal(found.standard_error, 0)


def seen_once() -> xr.DataArray:
    """Each participant gets each stimulus at one layer."""
    chance = np.array([0.9, 0.6, 0.1])
    layer = generator(1).integers(3, size=(12, 30))
    right = (generator(2).random((12, 30)) < chance[layer]).astype(float)
    scores = np.where(layer[..., None] == np.arange(3), right[..., None], np.nan)
    places = {"participant": np.arange(12), "stimulus": [f"s{n}" for n in range(30)], "layer": ["a", "b", "c"]}
    return xr.DataArray(scores, places, tuple(places), attrs={"units": "1"})


def test_bootstrap_mean_takes_what_there_is() -> None:
    scores = seen_once()
    found = bootstrap_mean(scores.transpose("layer", "stimulus", "participant"), generator=generator(), resamples=500)
    check_dataset(found)
    np.testing.assert_allclose(found["mean"], scores.mean(("participant", "stimulus")))
    assert (found.mean_low < found["mean"]).all()
    assert (found["mean"] < found.mean_high).all()
    assert found.mean_low.sel(layer="a") > found.mean_high.sel(layer="c")
    alone = bootstrap_mean(scores, generator=generator(), over=["participant"], resamples=50)
    assert alone["mean"].dims == ("stimulus", "layer")
    nobody = scores.where(scores.layer != "b")
    found = bootstrap_mean(nobody, generator=generator(), resamples=50)
    assert np.isnan([found[name].sel(layer="b").item() for name in found.data_vars]).all()
    assert found["mean"].sel(layer="a").item() == pytest.approx(scores.sel(layer="a").mean().item())


def test_memory_blocks_do_not_change_what_one_factor_draws() -> None:
    values = generator().random((9, 2))
    (whole,) = resampling._resampled(values, 1, 101, generator(4))
    parts = list(resampling._resampled(values, 1, 101, generator(4), block_bytes=10 * values.nbytes))
    assert len(parts) == 11
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_what_cannot_be_bootstrapped() -> None:
    values = generator().random((9, 2))
    for given, message in (
        ({"method": "bcb"}, "unknown method 'bcb'; did you mean 'bca'"),
        ({"factors": 3}, "factors is 3 for values of 2 dim"),
        ({"level": 95}, "level is 95, expected a number between 0 and 1"),
        ({"resamples": 1}, "resamples is 1"),
    ):
        with pytest.raises(MetameryError, match=message):
            bootstrap(values, mean, generator=generator(), **given)
    with pytest.raises(MetameryError, match="at least 2 of each random factor"):
        bootstrap(values[:1], mean, generator=generator())
    with pytest.raises(MetameryError, match="unknown dimension 'stimuli'; did you mean 'stimulus'"):
        bootstrap_mean(seen_once(), generator=generator(), over=["stimuli"])


def test_correlations_are_scipys() -> None:
    one, other = generator(1).integers(5, size=(2, 3, 20)).astype(float)
    for row in range(3):
        assert correlate(one, other)[row] == pytest.approx(stats.pearsonr(one[row], other[row]).statistic)
        rho = stats.spearmanr(one[row], other[row]).statistic
        assert correlate(one, other, "spearman")[row] == pytest.approx(rho)
    assert np.isnan(correlate(np.ones(4), np.arange(4.0)))
    with pytest.raises(MetameryError, match="unknown measure of correlation 'kendall'"):
        correlate(one, other, "kendall")  # type: ignore[arg-type]


def test_spearman_brown_and_ceiling() -> None:
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(spearman_brown(0.4, 3), 1 / 3) == pytest.approx(0.4)
    assert spearman_brown(1, 7) == 1
    assert noise_ceiling(0.64, 0.25) == pytest.approx(0.4)
    assert noise_ceiling(-0.2, 0.9) == 0


def parallel(units: int, points: int = 4000, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    return generator(seed).normal(size=points) + noise * generator(seed + 1).normal(size=(units, points))


@pytest.mark.parametrize("units", [8, 20])
def test_split_halves_of_parallel_scores(units: int) -> None:
    """Var(truth) / (var(truth) + var(noise) / n), by theory."""
    found = split_half(parallel(units), generator=generator(), splits=20)
    assert found.full == pytest.approx(1 / (1 + 4 / units), abs=0.02)
    assert found.half == pytest.approx(1 / (1 + 4 / (units / 2)), abs=0.02)


def test_the_ceiling_is_what_noise_leaves_of_a_perfect_correlation() -> None:
    truth = generator(9).normal(size=4000)
    one, other = (truth + 2 * generator(seed).normal(size=(units, 4000)) for seed, units in ((1, 10), (2, 30)))
    found = correlate(one.mean(axis=0), other.mean(axis=0)).item()
    reliable = [split_half(scores, generator=generator(), splits=20).full for scores in (one, other)]
    assert found == pytest.approx(noise_ceiling(*reliable), abs=0.02)


def test_groups_are_halved_by_themselves() -> None:
    """Units of two experiments that share no point: a slow twin over all splits of each."""
    scores = np.full((8, 12), np.nan)
    scores[:4, :6], scores[4:, 6:] = parallel(4, 6, 1.0, 3), parallel(4, 6, 1.0, 5)
    groups = ["a"] * 4 + ["b"] * 4
    found = []
    for first in combinations(range(4), 2):
        for second in combinations(range(4, 8), 2):
            chosen = np.isin(np.arange(8), [*first, *second])
            halves = [np.nanmean(scores[which], axis=0) for which in (chosen, ~chosen)]
            found.append(correlate(*halves))
    expected = float(np.mean(found))
    drawn = split_half(scores, generator=generator(), splits=4000, groups=groups)
    assert drawn.half == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(4000))
    assert drawn.full == pytest.approx(spearman_brown(drawn.half))


def test_splits_do_not_depend_on_blocks() -> None:
    scores = parallel(7, 30)
    whole, parts = (
        split_half(scores, generator=generator(), splits=50, measure="spearman", block_bytes=block_bytes)
        for block_bytes in (2**20, 8 * 30 * 7)
    )
    assert parts.half == pytest.approx(whole.half)


def test_what_cannot_be_split() -> None:
    scores = parallel(6, 5)
    with pytest.raises(MetameryError, match="have 2 points, expected at least 3"):
        split_half(scores[:, :2], generator=generator())
    with pytest.raises(MetameryError, match=r"groups are \(2,\), expected a label for each of 6 units"):
        split_half(scores, generator=generator(), groups=["a", "b"])
    with pytest.raises(MetameryError, match="splits is 0"):
        split_half(scores, generator=generator(), splits=0)
    scores[:3, 4] = np.nan
    with pytest.raises(MetameryError, match="point 4 has 3 scores"):
        split_half(scores, generator=generator())
