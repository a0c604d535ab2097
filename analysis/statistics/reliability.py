"""How reliable mean scores are: split halves, Spearman–Brown, and the noise ceiling of a correlation."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import rankdata

from ...framework.checks import MANY, whole
from ...framework.errors import MetameryError, unknown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Measure = Literal["pearson", "spearman"]
MEASURES: tuple[Measure, ...] = ("pearson", "spearman")

ROUNDING = 1e-12
"""Difference up to which two values count as equal, as a share of the largest of all."""

BLOCK_BYTES = 16 * 2**20
"""Bytes of the halves' means in memory at once; processing them takes about eight times as much."""


@dataclass(frozen=True)
class Reliability:
    """How well halves of the units agree.

    Parameters
    ----------
    half
        Mean correlation of the halves' means.
    full
        Reliability of means over all units, by Spearman–Brown.
    splits
        Number of splits that count: those in which both halves vary over the points.
    """

    half: float
    full: float
    splits: int


def correlate(
    one: NDArray[np.float64], other: NDArray[np.float64], measure: Measure = "pearson"
) -> NDArray[np.float64]:
    """Correlate along the last axis, ``(…)``: Pearson's r or Spearman's ρ; NaN where either is constant.

    Values that differ by less than `ROUNDING` of the largest are ties.
    """
    if measure not in MEASURES:
        raise unknown("measure of correlation", str(measure), MEASURES)
    one, other = (_without_rounding(values) for values in (one, other))
    if measure == "spearman":
        one, other = (np.asarray(rankdata(values, axis=-1)) for values in (one, other))
    centred = [values - values.mean(axis=-1, keepdims=True) for values in (one, other)]
    constant = [values.max(axis=-1) == values.min(axis=-1) for values in (one, other)]
    norms = [np.linalg.norm(values, axis=-1) for values in centred]
    products = (centred[0] * centred[1]).sum(axis=-1)
    varied = ~(constant[0] | constant[1])
    correlations = np.full(products.shape, np.nan)
    np.divide(products, norms[0] * norms[1], out=correlations, where=varied)
    return np.clip(correlations, -1, 1)


def spearman_brown(reliability: float, factor: float = 2.0) -> float:
    """Reliability of a test `factor` times as long: k r / (1 + (k − 1) r) (Spearman 1910, Brown 1910).

    NaN where that is not defined, for r of −1 / (k − 1) and below.

    >>> spearman_brown(0.5)
    0.6666666666666666
    """
    below = 1 + (factor - 1) * reliability
    return factor * reliability / below if below > 0 else math.nan


def split_half(
    scores: NDArray[np.float64],
    *,
    generator: np.random.Generator,
    splits: int = 1000,
    groups: ArrayLike | None = None,
    measure: Measure = "pearson",
    block_bytes: int = BLOCK_BYTES,
) -> Reliability:
    """Split the units at random, many times, and correlate the halves' means over points.

    Parameters
    ----------
    scores
        ``(unit, point)``, such as participants and the stages at which they were scored; NaN where a unit has no score.
    generator
        Generator of the splits.
    splits
        Number of splits; memory does not grow with it.
    groups
        A label for each unit, such as its experiment: each group is halved separately. In an odd group the second half
        has one more.
    measure
        ``pearson`` or ``spearman``.
    block_bytes
        Bytes for the splits that are computed at once; it does not change the result.

    Returns
    -------
    Reliability
        The mean correlation of halves, and that corrected by Spearman–Brown. Splits in which a half is constant, as
        when people are at ceiling, do not count; where none counts, both are NaN, with a warning.

    Raises
    ------
    MetameryError
        There are fewer than three points, or a point has too few units for every half to have one.
    """
    whole("splits", splits, 1, 100 * MANY)
    if scores.shape[1] < 3:
        raise MetameryError(f"scores have {scores.shape[1]} points, expected at least 3")
    members = _members(scores, groups)
    known = np.isfinite(scores)
    _check_halves(known, members)
    filled, counted = np.where(known, scores, 0), known.astype(np.float64)
    total, varied = 0.0, 0
    step = max(1, block_bytes // (8 * max(scores.shape)))
    for start in range(0, splits, step):
        first = np.zeros((min(step, splits - start), len(scores)))
        for group in members:
            order = generator.random((len(first), len(group))).argsort(axis=1)
            first[:, group] = order < len(group) // 2
        halves = [in_half @ filled / (in_half @ counted) for in_half in (first, 1 - first)]
        correlations = correlate(halves[0], halves[1], measure)
        total, varied = total + float(np.nansum(correlations)), varied + int(np.isfinite(correlations).sum())
    if not varied:
        message = f"the reliability is NaN: in each of {splits} splits a half is the same at all points"
        warnings.warn(message, stacklevel=2)
    half = total / varied if varied else math.nan
    return Reliability(half, spearman_brown(half), varied)


def noise_ceiling(one: float, other: float) -> float:
    """Highest correlation that two measures of these reliabilities can have on average: √(r₁ r₂) (Spearman 1904).

    0 where a reliability is negative, NaN where one is.

    >>> noise_ceiling(0.81, 1.0)
    0.9
    """
    return math.sqrt(max(one, 0.0) * max(other, 0.0))


def _without_rounding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round values to steps of `ROUNDING` of the largest, so that equal ones stay equal in any order of summation."""
    step = ROUNDING * np.abs(values).max(axis=-1, keepdims=True, initial=0)
    steps = np.divide(values, step, out=np.zeros_like(values, dtype=np.float64), where=step > 0)
    return np.asarray(np.round(steps) * step)


def _members(scores: NDArray[np.float64], groups: ArrayLike | None) -> list[NDArray[np.intp]]:
    if groups is None:
        return [np.arange(len(scores))]
    labels = np.asarray(groups)
    if labels.shape != scores.shape[:1]:
        raise MetameryError(f"groups are {labels.shape}, expected a label for each of {len(scores)} units")
    return [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]


def _check_halves(known: NDArray[np.bool_], members: list[NDArray[np.intp]]) -> None:
    """A group of n with more than ⌈n / 2⌉ scores at a point has one in either half, however it is split."""
    enough = np.zeros(known.shape[1], dtype=bool)
    for group in members:
        enough |= known[group].sum(axis=0) > (len(group) + 1) // 2
    if not enough.all():
        point = int(np.flatnonzero(~enough)[0])
        raise MetameryError(
            f"point {point} has {int(known[:, point].sum())} scores: expected more than half of a group's units, "
            "so that every half has one"
        )
