"""Masked gradients: signs that an attack was fooled, and the network is less robust than it seems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Still = NDArray[np.bool_]

CLEAR = 0.001
"""P value below which one attack counts as stronger than another."""

FEW = 0.05
"""Share of signals without any gradient above which there is a warning."""

_WEAKER = {"one_step": "one step", "noise": "noise", "transfer": "other models' examples"}


def masked_gradients(name: str, still: Mapping[str, Still], sizes: Sequence[float]) -> Iterator[str]:
    """Yield warnings where an attack did worse than one that it should beat (Athalye et al. 2018, section 3.1).

    Attacks are compared on the same signals, by a sign test on those with which only one of them fooled the model.

    Parameters
    ----------
    name
        Name of the model.
    still
        For each attack, which signals the model still got right, ``(signal, size)``: ``pgd``, and weaker attacks;
        ``stuck`` is true of signals that one step did not change.
    sizes
        Sizes of the perturbation, ascending.
    """
    prefix = f"{name}: the attacks may be fooled by masked gradients:"
    for weak, attack in _WEAKER.items():
        for column, size in enumerate(sizes):
            if weak in still and (counts := _stronger(still[weak][:, column], still["pgd"][:, column])):
                fooled = f"fooled it about {counts[0]} signals where PGD failed, {counts[1]} the other way round"
                yield f"{prefix} at epsilon {size:.4g} {attack} {fooled}"
                break
    for column, (small, large) in enumerate(pairwise(sizes)):
        if counts := _stronger(still["pgd"][:, column], still["pgd"][:, column + 1]):
            fooled = f"fooled it about {counts[0]} signals where PGD within {large:.4g} failed"
            yield f"{prefix} PGD within {small:.4g} {fooled}"
            break
    if len(still["stuck"]) and (share := still["stuck"][:, 0].mean()) > FEW:
        yield f"{prefix} for {share:.0%} of the signals the gradient is zero"


def _stronger(weak: Still, strong: Still) -> tuple[int, int] | None:
    """How many signals only the weak attack fooled, and only the strong one, if the weak one is clearly stronger."""
    only_weak, only_strong = int((~weak & strong).sum()), int((weak & ~strong).sum())
    if only_weak and binomtest(only_weak, only_weak + only_strong, alternative="greater").pvalue < CLEAR:
        return only_weak, only_strong
    return None
