"""Noise ceilings: how well anything could fit repeated measurements of one representation."""

from __future__ import annotations

import torch

ROUNDING = 1e-12
"""Squared length of a sum of vectors, per vector, below which it is rounding error."""


def ceiling_bounds(cosines: torch.Tensor) -> tuple[float, float]:
    """Bound the mean similarity of any representation to N repetitions of one (Nili et al. 2014, p. 7).

    Parameters
    ----------
    cosines
        Cosines between all repetitions, ``(N, N)``.

    Returns
    -------
    (float, float)
        Lower bound: mean cosine of each with the mean of the *others*. Upper bound: of each with the mean of *all*,
        which no vector exceeds. Means are of vectors of length 1. Constant repetitions, whose cosines are NaN, do not
        count; nor do means of length 0. NaN for fewer than two repetitions.
    """
    finite = cosines.diagonal().isfinite()
    cosines = cosines[finite][:, finite]
    if len(cosines) < 2:
        return float("nan"), float("nan")
    total = cosines.sum()
    own = cosines.sum(dim=1)
    rest = own - cosines.diagonal()
    lower, upper = (
        sums / squared.where(squared > ROUNDING * len(cosines), torch.nan).sqrt()
        for sums, squared in ((rest, total - own - rest), (own, total))
    )
    return float(lower.nanmean()), float(upper.nanmean())
