"""Proportions with their intervals, as every dataset stores them: ``NAME``, ``NAME_low`` and ``NAME_high``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ENDS = ("low", "high")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion after Wilson (1927); NaN without trials.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if not trials:
        return float("nan"), float("nan")
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def proportion(
    name: str, dims: Sequence[str], successes: ArrayLike, trials: ArrayLike, long_name: str
) -> dict[str, Any]:
    """Variables of a dataset: a proportion, and its 95 % Wilson interval, which treats trials as independent.

    Parameters
    ----------
    name
        Name of the proportion; the ends are called ``NAME_low`` and ``NAME_high``.
    dims
        Dimensions of the counts.
    successes, trials
        Counts, of one shape or broadcast to one; without trials the proportion is NaN.
    long_name
        Description of the proportion.
    """
    passed, counted = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    share = np.divide(passed, counted, out=np.full(passed.shape, np.nan), where=counted > 0)
    ends = np.array([wilson(int(k), int(n)) for k, n in zip(passed.flat, counted.flat, strict=True)])
    variables: dict[str, Any] = {name: (tuple(dims), share, {"long_name": long_name, "units": "1"})}
    for index, end in enumerate(ENDS):
        about = {"long_name": f"{end} end of the 95 % Wilson interval: {long_name}", "units": "1"}
        variables[f"{name}_{end}"] = (tuple(dims), ends.reshape(-1, 2)[:, index].reshape(passed.shape), about)
    return variables
