"""Masked gradients: signs that an attack was fooled, and the network is less robust than it seems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Still = NDArray[np.bool_]

CLEAR = 0.001
"""P value from which one attack is called stronger than another."""

FEW = 0.05
"""Share of signals without any gradient from which this is said."""

_WEAKER = {"one_step": "one step", "noise": "noise", "transfer": "other models' examples"}


def masked_gradients(name: str, still: Mapping[str, Still], sizes: Sequence[float]) -> Iterator[str]:
    """Say where an attack did worse than one that it should beat (Athalye et al. 2018, section 3.1).

    Attacks are held against each other on the same signals, by a sign test on those that only one of them fooled.

    Parameters
    ----------
    name
        Of the model.
    still
        By attack, which signals were still right, ``(signal, size)``: ``pgd``, and weaker ones; ``stuck`` says which
        signals one step did not move.
    sizes
        Of the perturbation, ascending.
    """
    so = f"{name}: the attacks may be fooled by masked gradients:"
    for weak, said in _WEAKER.items():
        for place, size in enumerate(sizes):
            if weak in still and (counts := _stronger(still[weak][:, place], still["pgd"][:, place])):
                fooled = f"fooled it about {counts[0]} signals where PGD failed, {counts[1]} the other way round"
                yield f"{so} at epsilon {size:.4g} {said} {fooled}"
                break
    for place, (small, large) in enumerate(pairwise(sizes)):
        if counts := _stronger(still["pgd"][:, place], still["pgd"][:, place + 1]):
            yield f"{so} PGD within {small:.4g} fooled it about {counts[0]} signals where PGD within {large:.4g} failed"
            break
    if len(still["stuck"]) and (share := still["stuck"][:, 0].mean()) > FEW:
        yield f"{so} for {share:.0%} of the signals the gradient is zero"


def _stronger(weak: Still, strong: Still) -> tuple[int, int] | None:
    """How many signals only the weak attack fooled, and only the strong one, if the weak one is clearly stronger."""
    only_weak, only_strong = int((~weak & strong).sum()), int((weak & ~strong).sum())
    if only_weak and binomtest(only_weak, only_weak + only_strong, alternative="greater").pvalue < CLEAR:
        return only_weak, only_strong
    return None
