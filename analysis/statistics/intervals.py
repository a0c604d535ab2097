"""Means over stimuli with their 95 % bootstrap intervals: ``NAME``, ``NAME_low`` and ``NAME_high`` in a dataset.

Many means share their resamples here: these are stored as the number of times that each stimulus is drawn, so that a
mean is a product of matrices.
`metamery.analysis.statistics.bootstrap` takes any statistic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.limits import check_memory
from .proportions import ENDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95


def draws(stimuli: int, resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw as many stimuli as there are, with replacement; return how often each is drawn, ``(resamples, stimuli)``."""
    check_memory(f"resamples is {resamples}: resampling {stimuli} stimuli", 16 * resamples * stimuli)
    return generator.multinomial(stimuli, np.full(stimuli, 1 / stimuli), size=resamples).astype(np.float64)


def means(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take means of the finite `values` over the last axis, weighted by each row of `counts`: ``(rows, …)``."""
    known = np.isfinite(values)
    total = np.tensordot(counts, np.where(known, values, 0), (1, -1))
    number = np.tensordot(counts, known.astype(np.float64), (1, -1))
    result = np.full(total.shape, np.nan)
    np.divide(total, number, out=result, where=number > 0)
    return result


def percentiles(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Both ends of the interval, ``(2, …)``, of samples ``(resamples, …)``, leaving out NaN."""
    tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).reshape(2, *[1] * (samples.ndim - 1))
    return quantiles(samples, np.broadcast_to(tails, (2, *samples.shape[1:])))


def quantiles(samples: NDArray[np.float64], tails: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the quantiles that `tails` gives for each entry, ``(t, …)``, of samples ``(R, …)``, leaving out NaN."""
    ordered = np.sort(samples, axis=0)  # NaN comes last
    most = np.maximum(np.isfinite(samples).sum(axis=0) - 1, 0)
    position = tails * most
    under = np.floor(position).astype(np.intp)
    low, high = (
        np.take_along_axis(ordered, which, axis=0) for which in (under, np.minimum(under + 1, most).astype(np.intp))
    )
    return np.asarray(low + (position - under) * (high - low))


def with_ends(
    name: str, dims: Sequence[str], values: NDArray[np.float64], ends: Iterable[NDArray[np.float64]], meaning: str
) -> dict[str, Any]:
    """Name a value and the two ends of its interval as variables of a dataset; `meaning` describes it."""
    variables: dict[str, Any] = {name: (tuple(dims), values, {"long_name": meaning, "units": "1"})}
    for end, bound in zip(ENDS, ends, strict=True):
        about = f"{end} end of the {100 * LEVEL:g} % percentile bootstrap interval over stimuli: {meaning}"
        variables[f"{name}_{end}"] = (tuple(dims), bound, {"long_name": about, "units": "1"})
    return variables
