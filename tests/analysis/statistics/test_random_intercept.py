"""The line with a random offset for each group: closed forms, a slow twin, known parameters and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from metamery.analysis.statistics import fit_random_intercept
from metamery.framework import MetameryError
from numpy.typing import NDArray
from scipy.optimize import minimize

Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def drawn(generator: np.random.Generator, groups: int, each: int, tilt: float = 0.0, shift: float = 0.0) -> Points:
    """Points of the line 0.5 + 1.2 x, with variances 0.3 between and 0.1 within groups at x = 0."""
    x = generator.normal(size=groups * each) + shift
    group_of = np.repeat(np.arange(groups), each)
    noise = 0.3**0.5 * generator.normal(size=groups)[group_of] + 0.1**0.5 * generator.normal(size=groups * each)
    return x, 0.5 + 1.2 * x + np.exp(tilt * x / 2) * noise, group_of


def test_variances_of_a_balanced_design_are_those_of_its_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    groups, each = 12, 6
    x, group_of = np.tile(np.linspace(-1, 1, each), groups), np.repeat(np.arange(groups), each)
    y = 2 * x + np.repeat(generator.normal(size=groups), each) + 0.4 * generator.normal(size=groups * each)
    line = fit_random_intercept(x, y, group_of)
    assert line.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    residual = (y - line.predict(x)).reshape(groups, each)
    means = residual.mean(axis=1)
    within = np.square(residual - means[:, None]).sum() / (groups * (each - 1) - 1)
    between = (each * np.square(means).sum() / (groups - 1) - within) / each
    assert (line.within, line.between) == pytest.approx((within, between), rel=1e-4)


def test_the_likelihood_is_that_of_the_dense_covariance() -> None:
    x, y, groups = drawn(np.random.default_rng(1), 8, 5, tilt=-0.6)
    x, y, groups = x[:-3], y[:-3], groups[:-3]  # unbalanced
    design = np.stack([np.ones_like(x), x], axis=1)

    def covariance(between: float, within: float, tilt: float) -> Any:
        scale = np.exp(tilt * x / 2)
        return (between * (groups[:, None] == groups) + within * np.eye(len(x))) * np.outer(scale, scale)

    def deviance(parameters: Any) -> float:
        v = covariance(*np.exp(parameters[:2]), parameters[2])
        inverse = np.linalg.inv(v)
        normal = design.T @ inverse @ design
        residual = y - design @ np.linalg.solve(normal, design.T @ inverse @ y)
        return float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(normal)[1] + residual @ inverse @ residual)

    best = minimize(deviance, [-1.0, -2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}).x
    line = fit_random_intercept(x, y, groups, variance_slope=None)
    assert (line.between, line.within) == pytest.approx(tuple(np.exp(best[:2])), rel=1e-3)
    assert line.variance_slope == pytest.approx(best[2], abs=1e-3)
    inverse = np.linalg.inv(covariance(line.between, line.within, line.variance_slope))
    np.testing.assert_allclose(line.covariance, np.linalg.inv(design.T @ inverse @ design), rtol=1e-6)


def test_known_parameters_are_found() -> None:
    line = fit_random_intercept(*drawn(np.random.default_rng(2), 400, 10, tilt=-0.5), variance_slope=None)
    found = (line.intercept, line.slope, line.between, line.within, line.variance_slope)
    assert found == pytest.approx((0.5, 1.2, 0.3, 0.1, -0.5), abs=0.06)


@pytest.mark.parametrize(("tilt", "extra"), [(0.0, 0.0), (-0.8, 0.5)])
def test_intervals_contain_19_of_20_points_of_new_groups(tilt: float, extra: float) -> None:
    generator = np.random.default_rng(3)
    inside = []
    for _ in range(60):
        line = fit_random_intercept(*drawn(generator, 20, 7, tilt), variance_slope=None if tilt else 0.0)
        x, y, _ = drawn(generator, 100, 1, tilt)
        y = y + extra**0.5 * generator.normal(size=len(y))
        inside.append(np.abs(y - line.predict(x)) <= line.half_width(x, extra))
    assert 0.93 < np.mean(inside) < 0.97


def test_what_determines_no_line_is_one_error() -> None:
    with pytest.raises(MetameryError, match="2 groups of points, expected at least 3"):
        fit_random_intercept([0, 1, 2], [0, 1, 2], ["a", "a", "b"])
    with pytest.raises(MetameryError, match="the same x"):
        fit_random_intercept([1, 1, 1], [0, 1, 2], ["a", "b", "c"])
