"""The bootstrap over one random factor or two crossed ones, such as participants × stimuli.

Each factor is resampled separately, with replacement; with two, intervals are somewhat too wide rather than too narrow
(Owen 2007, doi 10.1214/07-AOAS122). Ends are percentiles of the replicates, or those corrected for bias and skewness,
BCa (Efron 1987), whose acceleration comes from leaving out one participant, then one stimulus, at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from ...framework.checks import MANY, number, whole
from ...framework.errors import MetameryError, unknown
from .intervals import quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["bca", "percentile"]
METHODS: tuple[Method, ...] = ("bca", "percentile")

BLOCK_BYTES = 64 * 2**20
"""Bytes of resampled values in memory at once; the statistic may take several times as much."""

Statistic = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Results of resampling a statistic, each of its shape."""

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def bootstrap(
    values: NDArray[np.float64],
    statistic: Statistic,
    *,
    generator: np.random.Generator,
    factors: int = 1,
    resamples: int = 10_000,
    level: float = 0.95,
    method: Method = "bca",
) -> Bootstrap:
    """Resample the leading axes of an array.

    Parameters
    ----------
    values
        ``(participant, …)``, or ``(participant, stimulus, …)`` with two factors.
    statistic
        Function that takes ``(b, participant, …)``, with both factors where there are two, and returns ``(b, …)``.
    generator
        Generator of the resamples.
    factors
        Number of leading axes that are random: 1 or 2.
    resamples
        Number of resamples. All replicates of the statistic are in memory at once, the resampled values block by block.
    level
        Level of the interval, between 0 and 1.
    method
        ``bca`` or ``percentile``.

    Raises
    ------
    MetameryError
        An option is unknown or out of range, or a random factor has fewer than two items.
    """
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    if factors not in (1, 2) or factors > values.ndim:
        raise MetameryError(f"factors is {factors} for values of {values.ndim} dimensions, expected 1 or 2")
    if min(values.shape[:factors]) < 2:
        raise MetameryError(f"values are {values.shape}, expected at least 2 of each random factor")
    number("level", level, above=0, below=1)
    whole("resamples", resamples, 2, 100 * MANY)
    estimate = statistic(values[None])[0]
    replicates = np.concatenate([statistic(block) for block in _resampled(values, factors, resamples, generator)])
    tails = np.array([(1 - level) / 2, (1 + level) / 2]).reshape(2, *[1] * estimate.ndim)
    tails = np.broadcast_to(tails, (2, *estimate.shape))
    if method == "bca":
        tails = _corrected(tails, estimate, replicates, _acceleration(values, statistic, factors))
    low, high = quantiles(replicates, tails)
    known = np.isfinite(replicates)
    deviations = np.where(known, replicates - _mean(replicates, known), 0)
    beyond_one = np.maximum(known.sum(axis=0) - 1.0, 0)
    variance = np.full(estimate.shape, np.nan)
    np.divide((deviations**2).sum(axis=0), beyond_one, out=variance, where=beyond_one > 0)
    return Bootstrap(estimate, low, high, np.sqrt(variance))


def bootstrap_mean(
    scores: xr.DataArray,
    *,
    generator: np.random.Generator,
    over: Sequence[str] = ("participant", "stimulus"),
    resamples: int = 10_000,
    level: float = 0.95,
    method: Method = "bca",
) -> xr.Dataset:
    """Take the mean of scores over one or two random dimensions, with its interval.

    Parameters
    ----------
    scores
        Scores with the dimensions `over` and any others; missing scores (NaN) do not count, as when each participant is
        given each stimulus in one condition.
    over
        The random dimensions, one or two.
    generator, resamples, level, method
        As in `bootstrap`.

    Returns
    -------
    xr.Dataset
        ``mean``, ``mean_low``, ``mean_high`` and ``standard_error`` over the other dimensions, in the scores' units.

    Raises
    ------
    MetameryError
        As in `bootstrap`, or the scores lack one of the dimensions.
    """
    for dim in over:
        if dim not in scores.dims:
            raise unknown("dimension", dim, [str(own) for own in scores.dims])
    others = [str(dim) for dim in scores.dims if dim not in over]
    values = scores.transpose(*over, *others).values.astype(np.float64)
    axes = tuple(range(1, len(over) + 1))

    def mean(block: NDArray[np.float64]) -> NDArray[np.float64]:
        return _mean(block, np.isfinite(block), axes)

    result = bootstrap(
        values, mean, generator=generator, factors=len(over), resamples=resamples, level=level, method=method
    )
    units = str(scores.attrs.get("units", "1"))
    interval = f"end of the {100 * level:g} % bootstrap interval ({method}) over {' and '.join(over)}"
    named = {
        "mean": (result.estimate, f"mean over {' and '.join(over)}"),
        "mean_low": (result.low, f"low {interval}"),
        "mean_high": (result.high, f"high {interval}"),
        "standard_error": (result.standard_error, "bootstrap standard error of the mean"),
    }
    return xr.Dataset(
        {name: (others, array, {"long_name": text, "units": units}) for name, (array, text) in named.items()},
        {dim: scores[dim] for dim in others if dim in scores.coords},
        {"resamples": resamples, "method": method, "level": level},
    )


def _mean(values: NDArray[np.float64], known: NDArray[np.bool_], axes: tuple[int, ...] = (0,)) -> NDArray[np.float64]:
    count = known.sum(axis=axes)
    total = np.where(known, values, 0).sum(axis=axes)
    mean = np.full(np.shape(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _resampled(
    values: NDArray[np.float64],
    factors: int,
    resamples: int,
    generator: np.random.Generator,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[NDArray[np.float64]]:
    step = max(1, block_bytes // values.nbytes)
    for first in range(0, resamples, step):
        count = min(step, resamples - first)
        drawn = [generator.integers(size, size=(count, size)) for size in values.shape[:factors]]
        yield values[drawn[0]] if factors == 1 else values[drawn[0][:, :, None], drawn[1][:, None, :]]


def _acceleration(values: NDArray[np.float64], statistic: Statistic, factors: int) -> NDArray[np.float64]:
    """The acceleration of several samples (Davison & Hinkley 1997, section 5.3); crossed factors count as such."""
    cubes: NDArray[np.float64] | float = 0.0
    squares: NDArray[np.float64] | float = 0.0
    for axis in range(factors):
        size = values.shape[axis]
        without = np.concatenate([statistic(np.delete(values, index, axis)[None]) for index in range(size)])
        influence = (size - 1) * (without.mean(axis=0) - without) / size
        cubes, squares = cubes + (influence**3).sum(axis=0), squares + (influence**2).sum(axis=0)
    bottom = 6 * np.asarray(squares) ** 1.5
    return np.divide(cubes, bottom, out=np.zeros_like(bottom), where=bottom > 0)


def _corrected(
    tails: NDArray[np.float64],
    estimate: NDArray[np.float64],
    replicates: NDArray[np.float64],
    acceleration: NDArray[np.float64],
) -> NDArray[np.float64]:
    known = np.isfinite(replicates).sum(axis=0)
    below = (replicates < estimate).sum(axis=0) + (replicates == estimate).sum(axis=0) / 2
    share = np.divide(below, known, out=np.full(estimate.shape, 0.5), where=known > 0)
    bias = ndtri(np.clip(share, 0.5 / len(replicates), 1 - 0.5 / len(replicates)))
    moved = bias + ndtri(tails)
    below_one = 1 - acceleration * moved
    shift = np.divide(moved, below_one, out=np.copysign(np.inf, moved), where=below_one > 0)  # inf is its limit
    corrected: NDArray[np.float64] = ndtr(bias + shift)
    return corrected
