"""Measures of similarity by name, and their intervals over stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from ...framework.errors import MetameryError, unknown
from .cka import BANDWIDTH, CKA, linear_kernels, rbf_kernels
from .rsa import CORRELATIONS, DISTANCES, RSA
from .streaming import Gram, pairwise

FEWEST = 4
"""Smallest number of stimuli that are compared; the unbiased estimator of HSIC is not defined for fewer."""

FEWEST_DRAWN = 10
"""Smallest number of stimuli for which there are intervals."""

MEASURES = (
    *(f"{bias}cka_{kernel}" for bias in ("", "biased_") for kernel in ("linear", "rbf")),
    *(f"rsa_{distance}_{correlation}" for distance in DISTANCES for correlation in CORRELATIONS),
)
"""Every measure: ``cka_KERNEL``, debiased, ``biased_cka_KERNEL``, and ``rsa_DISTANCE_CORRELATION``."""


class Comparison(Protocol):
    """N representations of the same K stimuli under one measure."""

    def matrix(self, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Similarities of all pairs, ``(N, N)``; `weights` ``(K,)`` is how often each stimulus counts."""
        ...

    def ceiling(self) -> tuple[float, float]:
        """Lower and upper noise ceiling, if the representations are repetitions of one; see `ceiling_bounds`."""
        ...


def check_measure(name: str) -> None:
    """Raise `UnknownNameError` unless a measure has this name."""
    if name not in MEASURES:
        raise unknown("measure of similarity", name, MEASURES)


def check_count(count: int) -> None:
    """Raise `MetameryError` unless there are enough stimuli to compare."""
    if count < FEWEST:
        raise MetameryError(f"similarity of {count} stimuli, expected at least {FEWEST}")


def similarity_of(inners: Sequence[Gram], measure: str, bandwidth: float = BANDWIDTH) -> Comparison:
    """Compare representations of the same stimuli.

    Memory is 24 bytes for each representation and pair of stimuli, the inner products themselves included.

    Parameters
    ----------
    inners
        Gram products of N sites, or of N sets of signals at one site.
    measure
        One of `MEASURES`.
    bandwidth
        Bandwidth of the RBF kernel, see `rbf_kernels`.

    Raises
    ------
    MetameryError
        The measure is unknown, or there are fewer than four stimuli, or different numbers of them.
    """
    check_measure(measure)
    counts = {len(inner.sums) for inner in inners}
    if len(counts) != 1:
        raise MetameryError(f"the representations are of {sorted(counts)} stimuli, expected the same stimuli")
    check_count(min(counts))
    kind, _, rest = measure.rpartition("cka_")
    if measure.startswith("rsa_"):
        distance, _, correlation = measure.removeprefix("rsa_").rpartition("_")
        return RSA(torch.stack([pairwise(DISTANCES[distance](inner)) for inner in inners]), correlation)
    kernels = linear_kernels(inners) if rest == "linear" else rbf_kernels(inners, bandwidth)
    return CKA(kernels, debiased=kind != "biased_")


def draw_stimuli(count: int, number: int, generator: torch.Generator) -> torch.Tensor:
    """Draw `count` stimuli with replacement, and return how often each is drawn, ``(number, count)`` int64.

    A draw of fewer than five different stimuli, or of which one stimulus is half, is repeated: a debiased CKA is not
    defined for it.

    Raises
    ------
    MetameryError
        There are fewer than ten stimuli.
    """
    if count < FEWEST_DRAWN:
        raise MetameryError(f"a bootstrap over {count} stimuli, expected at least {FEWEST_DRAWN}")
    found: list[torch.Tensor] = []
    while len(found) < number:
        drawn = torch.randint(count, (count,), generator=generator, device=generator.device)
        counts = drawn.bincount(minlength=count).cpu()
        if int((counts > 0).sum()) > FEWEST and 2 * int(counts.max()) < count:
            found.append(counts)
    return torch.stack(found)


def bootstrap(comparison: Comparison, drawn: torch.Tensor) -> torch.Tensor:
    """Compare under each draw of stimuli: ``(draws, N, N)``.

    A stimulus that is drawn twice forms pairs of copies of itself, at distance 0, which would increase all
    similarities. They are left out, as the diagonal is. A biased CKA includes both, and is therefore too high.

    Parameters
    ----------
    drawn
        Draws ``(draws, K)`` from `draw_stimuli`.
    """
    return torch.stack([comparison.matrix(counts) for counts in drawn])
