"""Logistic regression clustered by participant."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from metamery.analysis.statistics import logistic_regression
from metamery.framework import MetameryError, MissingExtraError
from metamery.framework.schema import check_dataset
from scipy.special import expit


def answers(people: int = 40, trials: int = 50, spread: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right or wrong, a predictor with slope 1, and who; people differ by `spread` in log odds."""
    generator = np.random.default_rng(0)
    who = np.repeat(np.arange(people), trials)
    x = generator.normal(size=people * trials)
    odds = 0.3 + x + spread * generator.normal(size=people)[who]
    return (generator.random(len(x)) < expit(odds)).astype(int), x, who


def test_without_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    monkeypatch.setitem(sys.modules, "statsmodels.discrete.discrete_model", None)
    with pytest.raises(
        MissingExtraError, match=r"needs the package 'statsmodels.*pip install 'metamery\[statistics\]'"
    ):
        logistic_regression([0, 1], {"x": [1, 2]}, ["a", "b"])


def test_a_slope_is_found() -> None:
    pytest.importorskip("statsmodels")
    correct, x, who = answers()
    found = logistic_regression(correct, {"x": x}, who)
    check_dataset(found)
    assert found.term.values.tolist() == ["intercept", "x"]
    slope = found.sel(term="x")
    assert slope.coefficient_low < 1 < slope.coefficient_high
    assert slope.odds_ratio == pytest.approx(np.exp(slope.coefficient))
    assert slope.p < 1e-10
    assert found.attrs["participants"] == 40


def test_two_groups_are_log_odds() -> None:
    pytest.importorskip("statsmodels")
    correct = np.array([1, 1, 1, 0, 1, 0, 0, 0] * 5)
    layer = ["early"] * 4 + ["late"] * 4
    found = logistic_regression(correct, {"layer": layer * 5}, np.arange(40) // 4)
    assert found.term.values.tolist() == ["intercept", "layer[late]"]
    np.testing.assert_allclose(found.coefficient, [np.log(3), -2 * np.log(3)])


def test_errors_are_clustered() -> None:
    """A sandwich by hand; and wider for the intercept where people differ."""
    pytest.importorskip("statsmodels")
    correct, x, who = answers(spread=1.0)
    found = logistic_regression(correct, {"x": x}, who)
    design = np.stack([np.ones_like(x), x], axis=1)
    fitted = expit(design @ found.coefficient.values)
    bread = np.linalg.inv(design.T @ (design * (fitted * (1 - fitted))[:, None]))
    scores = np.stack([design[who == person].T @ (correct - fitted)[who == person] for person in range(40)])
    correction = 40 / 39 * (len(x) - 1) / (len(x) - 2)
    covariance = correction * bread @ (scores.T @ scores) @ bread
    np.testing.assert_allclose(found.standard_error, np.sqrt(np.diag(covariance)), rtol=1e-6)
    assert found.standard_error[0] > 1.5 * np.sqrt(bread[0, 0])


def test_what_cannot_be_regressed() -> None:
    pytest.importorskip("statsmodels")
    correct, x, who = answers(5, 10)
    for given, message in (
        ((correct * 2, {"x": x}, who), "neither 0 nor 1"),
        ((correct, {"x": x[1:]}, who), r"'x' is \(49,\), expected one for each of 50 answers"),
        ((correct, {"x": x}, who[1:]), "'participants' is"),
        ((correct, {"x": np.full(50, np.nan)}, who), "'x' has missing or infinite values"),
        ((correct, {"x": ["a"] * 50}, who), "'x' has the same value in all trials"),
        ((correct, {"x": x, "y": 2 * x}, who), "x, y are linearly dependent"),
        ((correct, {"x": x}, who * 0), "by 1 participant, expected at least 2"),
        ((correct, {"x": correct + 0.0}, who), "separates right from wrong answers"),
        ((correct, {"layer": np.where(correct, who % 2, 1).astype(str)}, who), "all right or all wrong"),
    ):
        with pytest.raises(MetameryError, match=message):
            logistic_regression(*given)
