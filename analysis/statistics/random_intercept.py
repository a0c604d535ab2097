"""A line through points that come in groups, each group with an offset of its own (a mixed model)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import t

from ...framework.errors import MetameryError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LOG_RATIOS = (-12.0, 8.0)
"""Range in which the logarithm of the ratio of the variances, between to within, is sought."""


@dataclass(frozen=True)
class RandomIntercept:
    """The fitted line ``y = intercept + slope · x + u + e``, with u for each group and e for each point.

    Parameters
    ----------
    intercept, slope
        Coefficients of the line.
    covariance
        Covariance of the two, ``(2, 2)``.
    between
        Variance of u, between groups, at x = 0.
    within
        Variance of e, between the points of a group, at x = 0.
    variance_slope
        Change of the logarithm of both variances with x; 0 where they are the same everywhere.
    groups
        Number of groups.
    """

    intercept: float
    slope: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    between: float
    within: float
    variance_slope: float
    groups: int

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the line's values."""
        return self.intercept + self.slope * np.asarray(x, dtype=np.float64)

    def half_width(self, x: ArrayLike, extra: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Return half the width of the 95 % prediction interval of a point of a new group.

        It contains the variance between and within groups and that of the coefficients, with Student's t at one degree
        of freedom less than there are groups: the variance between groups is known no better.

        Parameters
        ----------
        x
            Where the point is.
        extra
            Variance that a point has in addition, in units of y².
        """
        x = np.asarray(x, dtype=np.float64)
        (first, cross), (_, second) = self.covariance
        variance = (self.between + self.within) * np.exp(self.variance_slope * x)
        variance = variance + first + 2 * cross * x + second * x * x + np.asarray(extra)
        return np.asarray(t.ppf(0.975, self.groups - 1) * np.sqrt(variance))


def fit_random_intercept(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike, *, variance_slope: float | None = 0.0
) -> RandomIntercept:
    """Fit a line with a random intercept for each group, by restricted maximum likelihood (Patterson & Thompson 1971).

    For given ratios of the variances the line is that of generalised least squares; the ratios are found by a search.

    Parameters
    ----------
    x, y
        ``(point,)``, finite.
    groups
        ``(point,)``: the group of each point.
    variance_slope
        Change of the logarithm of the variances with x; None to estimate it together with the line.

    Raises
    ------
    MetameryError
        There are fewer than three groups, or all points have the same x.

    Examples
    --------
    >>> line = fit_random_intercept([0, 1, 0, 1, 0, 1], [0.1, 1.9, 0.9, 3.1, 2, 4], ["a", "a", "b", "b", "c", "c"])
    >>> round(line.intercept, 3), round(line.slope, 3), round(line.between, 3)
    (1.0, 2.0, 0.99)
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 3:
        raise MetameryError(f"there are {len(names)} groups of points, expected at least 3")
    if np.ptp(x) == 0:
        raise MetameryError("all points have the same x, so that no line is determined")
    sizes = np.bincount(group_of).astype(np.float64)
    freedom = len(x) - 2

    def solve(log_ratio: float, tilt: float) -> _Solution:
        ratio = math.exp(min(max(log_ratio, _LOG_RATIOS[0]), _LOG_RATIOS[1]))
        scale = np.exp(-tilt * x / 2)  # to one variance everywhere
        columns = np.stack([scale, x * scale, y * scale])
        sums = np.stack([np.bincount(group_of, column) for column in columns])  # (3, group)
        shrunk = columns @ columns.T - (sums * (ratio / (1 + sizes * ratio))) @ sums.T
        normal, right = shrunk[:2, :2], shrunk[:2, 2]
        coefficients = np.linalg.solve(normal, right)
        residual = max(float(shrunk[2, 2] - right @ coefficients), np.finfo(np.float64).tiny)
        deviance = freedom * math.log(residual) + np.log1p(sizes * ratio).sum() + np.linalg.slogdet(normal)[1]
        return _Solution(
            coefficients, np.linalg.inv(normal), residual / freedom, ratio, float(deviance + tilt * x.sum())
        )

    if variance_slope is None:
        found = minimize(  # type: ignore[call-overload]  # its stubs lack the options of this method
            lambda each: solve(float(each[0]), float(each[1])).deviance,
            [0.0, 0.0],
            method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000},
        )
        log_ratio, tilt = found.x.tolist()
    else:
        tilt = variance_slope
        log_ratio = minimize_scalar(lambda each: solve(each, tilt).deviance, bounds=_LOG_RATIOS, method="bounded").x
    best = solve(float(log_ratio), tilt)
    (first, cross), (_, second) = (best.within * best.inverse).tolist()
    intercept, slope = best.coefficients.tolist()
    return RandomIntercept(
        intercept,
        slope,
        ((first, cross), (cross, second)),
        best.within * best.ratio,
        best.within,
        float(tilt),
        len(names),
    )


@dataclass(frozen=True)
class _Solution:
    """The line at given variances: the inverse of its normal matrix, and minus twice the restricted likelihood."""

    coefficients: NDArray[np.float64]
    inverse: NDArray[np.float64]
    within: float
    ratio: float  # of the variances, between to within
    deviance: float
