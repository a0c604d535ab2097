"""Analyses of variance and permutation tests: closed forms, invariants, slow reference versions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics import mixed_anova, permutation, repeated_measures_anova, stage_anova
from metamery.analysis.statistics.decomposition import mixed, repeated
from metamery.framework import MetameryError
from metamery.framework.schema import check_dataset
from peers import peer
from scipy import stats

Anova = Callable[..., xr.Dataset]
BOTH = pytest.mark.parametrize(
    ("anova", "factor"), [(mixed_anova, "recogniser"), (repeated_measures_anova, "model")], ids=["mixed", "repeated"]
)


def drawn(levels: int = 2, participants: int = 9, stages: int = 4, seed: int = 0) -> np.ndarray:
    """Scores with effects of everything and stages that correlate."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(levels, participants, stages)).cumsum(axis=2)
    effects = np.arange(levels)[:, None, None] * 0.3 * np.arange(stages) + generator.normal(size=(participants, 1))
    return noise + effects


def labelled(values: np.ndarray, factor: str) -> xr.DataArray:
    names = (factor, "participant", "layer")
    places = {name: [f"{name}{n}" for n in range(size)] for name, size in zip(names, values.shape, strict=True)}
    return xr.DataArray(values, places, names)


def test_two_levels_are_t_tests() -> None:
    values = drawn(stages=2)
    people, network = values.mean(axis=2)
    differences = values[..., 1] - values[..., 0]
    found = mixed_anova(labelled(values, "recogniser"))
    assert found.F.sel(term="recogniser").item() == pytest.approx(stats.ttest_ind(people, network).statistic ** 2)
    slope = stats.ttest_ind(*differences)
    assert found.F.sel(term="recogniser:layer").item() == pytest.approx(slope.statistic**2)
    assert found.p.sel(term="recogniser:layer").item() == pytest.approx(slope.pvalue)
    found = repeated_measures_anova(labelled(values, "model"))
    paired = stats.ttest_rel(people, network)
    assert found.F.sel(term="model").item() == pytest.approx(paired.statistic**2)
    assert found.p.sel(term="model").item() == pytest.approx(paired.pvalue)
    stage = stats.ttest_1samp(differences.mean(axis=0), 0)
    assert found.F.sel(term="layer").item() == pytest.approx(stage.statistic**2)
    assert found.F.sel(term="model:layer").item() == pytest.approx(stats.ttest_rel(*differences).statistic ** 2)


@BOTH
def test_two_levels_are_spherical(anova: Anova, factor: str) -> None:
    found = anova(labelled(drawn(stages=2), factor))
    np.testing.assert_allclose(found.epsilon, 1)
    np.testing.assert_allclose(found.p_GG, found.p)


def contrasts(count: int) -> np.ndarray:
    """Orthonormal contrasts, ``(count, count − 1)``."""
    return np.linalg.svd(np.eye(count) - 1 / count)[0][:, : count - 1]


def epsilon(rows: np.ndarray) -> float:
    """Greenhouse & Geisser's ε̂ by eigenvalues of the covariance of contrasts ``(…, people, contrasts)``, pooled."""
    values = np.linalg.eigvalsh(sum(np.cov(group.T) for group in rows.reshape(-1, *rows.shape[-2:])))
    return float(values.sum() ** 2 / len(values) / (values**2).sum())


def test_epsilon_is_that_of_the_contrasts_covariance() -> None:
    values = drawn(3, 12, 4)
    found = mixed_anova(labelled(values, "recogniser")).epsilon
    of_stage = epsilon(values @ contrasts(4))
    assert of_stage < 0.9
    np.testing.assert_allclose(found, [1, of_stage, of_stage])
    found = repeated_measures_anova(labelled(values, "model")).epsilon
    people = np.swapaxes(values, 0, 1)  # (participant, model, stage)
    both = people.reshape(12, -1) @ np.kron(contrasts(3), contrasts(4))
    expected = [epsilon(people.mean(axis=2) @ contrasts(3)), epsilon(people.mean(axis=1) @ contrasts(4)), epsilon(both)]
    np.testing.assert_allclose(found, expected)


def residual(values: np.ndarray, *designs: np.ndarray) -> float:
    """Sum of squares that least squares on dummy columns leaves."""
    design = np.concatenate([columns.reshape(values.size, -1) for columns in designs], axis=1)
    rest = values.ravel() - design @ np.linalg.lstsq(design, values.ravel())[0]
    return float(rest @ rest)


def dummies(shape: tuple[int, ...], *axes: int) -> np.ndarray:
    places = np.indices(shape)[list(axes)].reshape(len(axes), -1)
    combined = np.ravel_multi_index(tuple(places), tuple(shape[axis] for axis in axes)) if axes else np.zeros(1, int)
    return np.eye(combined.max() + 1)[combined]


def test_sums_of_squares_are_those_of_least_squares() -> None:
    values = drawn(3, 5, 4)
    one, level, stage = np.ones((values.size, 1)), dummies(values.shape, 0), dummies(values.shape, 2)
    cell, nested = dummies(values.shape, 0, 2), dummies(values.shape, 0, 1)
    effects = mixed(values)
    assert effects[0].ss_effect == pytest.approx(residual(values, one) - residual(values, level))
    assert effects[0].ss_error == pytest.approx(residual(values, level) - residual(values, nested))
    assert effects[1].ss_effect == pytest.approx(residual(values, one) - residual(values, stage))
    assert effects[2].ss_effect == pytest.approx(residual(values, level, stage) - residual(values, cell))
    assert effects[2].ss_error == pytest.approx(residual(values, cell, nested))
    person, by_stage = dummies(values.shape, 1), dummies(values.shape, 1, 2)
    crossed = repeated(values)
    assert crossed[0].ss_error == pytest.approx(residual(values, level, person) - residual(values, nested))
    assert crossed[1].ss_error == pytest.approx(residual(values, stage, person) - residual(values, by_stage))
    assert crossed[2].ss_effect == pytest.approx(effects[2].ss_effect)
    assert crossed[2].ss_error == pytest.approx(residual(values, cell, nested, by_stage))


@BOTH
def test_partial_eta_squared_follows_from_f(anova: Anova, factor: str) -> None:
    found = anova(labelled(drawn(3), factor))
    weighted = found.F * found.df_effect
    np.testing.assert_allclose(found.partial_eta_squared, weighted / (weighted + found.df_error))


@BOTH
def test_results_pass_the_schema_and_do_not_depend_on_order_or_units(anova: Anova, factor: str) -> None:
    scores = labelled(drawn(3), factor)
    found = anova(scores, generator=np.random.default_rng(0), shuffles=50)
    check_dataset(found)
    assert found.term.values.tolist() == [factor, "layer", f"{factor}:layer"]
    again = anova((5 - 3 * scores).transpose("layer", factor, "participant").isel(layer=[2, 0, 3, 1]))
    xr.testing.assert_allclose(found.drop_vars("p_permutation"), again)


@BOTH
def test_no_error_and_no_effect(anova: Anova, factor: str) -> None:
    flat = anova(labelled(np.full((2, 5, 3), 0.1), factor), generator=np.random.default_rng(0), shuffles=9)
    assert np.isnan([flat.F, flat.p, flat.p_permutation]).all()
    steps = np.broadcast_to([0.1, 0.2, 0.7], (2, 5, 3)) * [[[1]], [[2]]]
    perfect = anova(labelled(steps, factor))
    assert np.isinf(perfect.F).all()
    np.testing.assert_allclose(perfect.partial_eta_squared, 1)


def exact(values: np.ndarray, design: Callable[..., tuple], place: int, orders: list[np.ndarray]) -> float:
    """Share of all arrangements with at least the observed F, the slow way."""
    observed = design(values)[place].f
    return float(np.mean([design(arranged)[place].f >= observed * (1 - 1e-9) for arranged in orders]))


def arrangements(profiles: np.ndarray, nested: bool) -> list[np.ndarray]:
    """All ways in which profiles can change places between two levels, ``(2, participant, values)`` each."""
    participants = profiles.shape[1]
    if nested:
        flat = profiles.reshape(2 * participants, -1)
        first = itertools.combinations(range(2 * participants), participants)
        return [np.stack([flat[list(some)], np.delete(flat, some, axis=0)]) for some in first]
    swaps = itertools.product([False, True], repeat=participants)
    return [np.where(np.array(swap)[:, None], profiles[::-1], profiles) for swap in swaps]


@pytest.mark.parametrize("nested", [True, False])
def test_permutation_p_is_near_that_of_all_arrangements(nested: bool) -> None:
    values = drawn(2, 5, 3, seed=6)
    design, anova, factor = (
        (mixed, mixed_anova, "recogniser") if nested else (repeated, repeated_measures_anova, "model")
    )
    means = values.mean(axis=2, keepdims=True)
    main = exact(values, design, 0, arrangements(means, nested))
    both = exact(values, design, 2, arrangements(values - means, nested))
    assert 0.01 < both < 0.9
    shuffles = 20_000
    found = anova(labelled(values, factor), generator=np.random.default_rng(1), shuffles=shuffles).p_permutation
    for p, expected in ((found[0], main), (found[2], both)):
        assert abs(p.item() - expected) < 4 * np.sqrt(expected * (1 - expected) / shuffles) + 1 / shuffles
    assert np.isnan(found[1])


@pytest.mark.parametrize("scheme", ["proper", "feather2023"])
@BOTH
def test_shuffles_come_from_the_generator_alone(anova: Anova, factor: str, scheme: str) -> None:
    scores = labelled(drawn(3, seed=4), factor)
    once, again = (
        anova(scores, generator=np.random.default_rng(3), shuffles=999, scheme=scheme).p_permutation for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_shuffles_do_not_depend_on_blocks(between: bool, whole: bool) -> None:
    scores = drawn(3, seed=4)
    one, seven = (
        np.concatenate(list(permutation._shuffled(scores, between, whole, 50, np.random.default_rng(3), block_bytes)))
        for block_bytes in (permutation.BLOCK_BYTES, 7 * scores.nbytes)
    )
    np.testing.assert_array_equal(one, seven)


def test_least_p_of_either_scheme() -> None:
    values = drawn(participants=20) * 0.01 + np.array([0, 1])[:, None, None] * np.arange(4)
    scores = labelled(values, "recogniser")
    for scheme, least in (("feather2023", 1 / 200), ("proper", 1 / 201)):
        found = mixed_anova(scores, generator=np.random.default_rng(0), shuffles=200, scheme=scheme)
        assert found.p_permutation.sel(term="recogniser:layer").item() == least


def test_shuffled_keeps_what_it_says() -> None:
    scores = drawn(3, 4, 5)

    def one(between: bool, whole: bool) -> np.ndarray:
        return np.concatenate(list(permutation._shuffled(scores, between, whole, 20, np.random.default_rng(0))))

    assert one(True, True).shape == (20, 3, 4, 5)
    profiles = {tuple(profile) for profile in scores.reshape(-1, 5)}
    for between in (True, False):
        assert {tuple(profile) for profile in one(between, True).reshape(-1, 5)} == profiles
    for whole in (True, False):
        own = np.sort(np.swapaxes(one(False, whole), 1, 2).reshape(20, 4, -1))
        np.testing.assert_array_equal(
            own, np.broadcast_to(np.sort(np.swapaxes(scores, 0, 1).reshape(4, -1)), own.shape)
        )
    assert not np.isin(one(True, True)[:, :, 0], scores[:, 0]).all()


@pytest.mark.parametrize("nested", [True, False])
def test_the_proper_interaction_test_keeps_its_size_where_stages_correlate(nested: bool) -> None:
    """Main effects alone: p is at most .05 in 5 % of data sets; in the published scheme, more often."""
    generator = np.random.default_rng(5)
    anova, factor = (mixed_anova, "recogniser") if nested else (repeated_measures_anova, "model")
    rates = dict.fromkeys(("proper", "feather2023"), 0)
    trials = 200
    for _ in range(trials):
        noise = generator.normal(size=(2, 8, 1)) * np.arange(6) + 0.2 * generator.normal(size=(2, 8, 6))
        scores = labelled(noise + 0.5 * np.arange(6) + np.array([0, 1])[:, None, None], factor)
        for scheme in rates:
            found = anova(scores, generator=generator, shuffles=99, scheme=scheme)
            rates[scheme] += int(found.p_permutation[2] <= 0.05)
    limit = 0.05 * trials + 3.5 * np.sqrt(trials * 0.05 * 0.95)
    assert rates["proper"] < limit < rates["feather2023"]


def test_what_cannot_be_analysed() -> None:
    scores = labelled(drawn(), "recogniser")
    with pytest.raises(
        MetameryError, match=r"\(recogniser, participant\), expected \(recogniser, participant, layer\)"
    ):
        mixed_anova(scores[..., 0])
    with pytest.raises(MetameryError, match="have size 1 along 'participant', expected at least 2"):
        mixed_anova(scores[:, :1])
    holed = scores.copy()
    holed[1, 3, 2] = np.nan
    with pytest.raises(
        MetameryError, match="recogniser 'recogniser1', participant 'participant3', layer 'layer2' is miss"
    ):
        mixed_anova(holed)
    with pytest.raises(MetameryError, match="unknown scheme 'propper'; did you mean 'proper'"):
        mixed_anova(scores, scheme="propper")  # type: ignore[arg-type]
    with pytest.raises(MetameryError, match="shuffles is 0"):
        mixed_anova(scores, generator=np.random.default_rng(0), shuffles=0)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@BOTH
def test_against_pingouin(anova: Anova, factor: str) -> None:
    pingouin = peer("pingouin")
    values = drawn(3, 7, 4, seed=8)
    scores = labelled(values, factor)
    table = scores.to_dataframe("score").reset_index()
    found = anova(scores)
    if factor == "model":
        theirs = pingouin.rm_anova(table, "score", ["model", "layer"], "participant", detailed=True, effsize="np2")
        np.testing.assert_allclose(found.epsilon, theirs["eps"], rtol=1e-6)
    else:
        table["participant"] += table[factor]
        theirs = pingouin.mixed_anova(table, "score", "layer", "participant", factor, correction=True, effsize="np2")
        np.testing.assert_allclose(found.epsilon[1], theirs["eps"][1], rtol=1e-6)
    np.testing.assert_allclose(found.F, theirs["F"], rtol=1e-6)
    np.testing.assert_allclose(found.partial_eta_squared, theirs["np2"], rtol=1e-6)
    p = "p_unc" if "p_unc" in theirs else "p-unc"
    np.testing.assert_allclose(found.p, theirs[p], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_stages_alone_against_pingouin() -> None:
    pingouin = peer("pingouin")
    scores = labelled(drawn(1, 9, 5, seed=4), "model").isel(model=0, drop=True)
    theirs = pingouin.rm_anova(
        scores.to_dataframe("score").reset_index(), "score", "layer", "participant", correction=True, effsize="np2"
    )
    found = stage_anova(scores).sel(term="layer")
    check_dataset(stage_anova(scores))
    assert (found.df_effect, found.df_error) == (4, 32)
    names = {"F": "F", "epsilon": "eps", "partial_eta_squared": "np2", "p": "p_unc", "p_GG": "p_GG_corr"}
    for ours, other in names.items():
        column = other if other in theirs else other.replace("_", "-")
        np.testing.assert_allclose(found[ours], theirs[column][0], rtol=1e-6)


def test_permutation_p_of_stages_is_near_that_of_all_arrangements() -> None:
    """Of two stages: each participant's scores are exchanged or not."""
    values = drawn(1, 6, 2, seed=3)[0]
    observed = abs(stats.ttest_rel(values[:, 0], values[:, 1]).statistic)
    every = [
        abs(stats.ttest_rel(*np.where(np.array(swap)[:, None], values, values[:, ::-1]).T).statistic)
        for swap in itertools.product([False, True], repeat=6)
    ]
    exact = np.mean(np.array(every) >= observed - 1e-9)
    scores = labelled(values[None], "model").isel(model=0, drop=True)
    found = stage_anova(scores, generator=np.random.default_rng(0), shuffles=4000).p_permutation.item()
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000) + 1 / 4000
