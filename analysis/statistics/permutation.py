"""Permutation tests of the factor and of its interaction with stage, in the designs of `decomposition`.

Two schemes. ``feather2023`` is what was published (Feather et al. 2023, Methods): the interaction is tested against
scores shuffled over factor and stage together within each participant, a null that also takes away both main effects
and all correlation between stages; and p = count / N, or 1 / N where the count is 0.

In ``proper`` the interaction is tested against whole profiles over stages that are exchanged between the factor's
levels: freely where participants are nested in them, within each participant where they are not. Its F does not depend
on a profile's own mean; without an interaction profiles less their means are exchangeable whatever the main effects and
however stages correlate, so the test is exact as long as the scatter of scores is the same at all levels of the factor
(exchangeable units, restricted permutation: Anderson & ter Braak 2003, doi 10.1080/00949650215733).
p = (count + 1) / (N + 1), which is never too small (Phipson & Smyth 2010, doi 10.2202/1544-6115.1585).

The effect of stage on a single group of people is tested against their scores shuffled over stages within each
participant, in both schemes; this takes stages for equally correlated, as F without correction does.

The main effect of the factor is tested in the same way in both, on means over stages: labels are shuffled among all
participants (nested) or within each (repeated).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from .decomposition import Effect, one_way

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scheme = Literal["proper", "feather2023"]
SCHEMES: tuple[Scheme, ...] = ("proper", "feather2023")

BLOCK_BYTES = 4 * 2**20
"""Bytes of shuffled scores in memory at once; an analysis takes about eight times as much."""

TIE = 1e-9
"""Share by which a shuffled F may fall short of the observed one and still count as its equal."""

Design = Callable[["NDArray[np.float64]"], tuple[Effect, Effect, Effect]]


def permutation_p(
    scores: NDArray[np.float64],
    design: Design,
    *,
    nested: bool,
    shuffles: int,
    generator: np.random.Generator,
    scheme: Scheme = "proper",
) -> tuple[float, float]:
    """P of the factor's main effect, and of its interaction with stage.

    Parameters
    ----------
    scores
        ``(factor, participant, stage)``.
    design
        `mixed` or `repeated`.
    nested
        Whether participants are nested in the factor's levels.
    shuffles
        Number of shuffles, N; memory does not grow with it.
    generator
        Generator of the shuffles.
    scheme
        ``proper`` or ``feather2023``. In the latter's interaction, participant i of each level is treated as one:
        a person, and the network on that person's stimuli.

    Returns
    -------
    (float, float)
        Both p; NaN where F is.
    """
    published = scheme == "feather2023"
    main = (scores.mean(axis=-1, keepdims=True), nested, True)
    interaction = (scores, nested and not published, not published)
    results = []
    for index, (given, between, whole) in ((0, main), (2, interaction)):
        observed = design(scores)[index].f
        shuffled = (design(block)[index].f for block in _shuffled(given, between, whole, shuffles, generator))
        results.append(_p(observed, shuffled, shuffles, scheme))
    return results[0], results[1]


def stage_p(
    scores: NDArray[np.float64], *, shuffles: int, generator: np.random.Generator, scheme: Scheme = "proper"
) -> float:
    """P of the effect of stage on one group of people.

    Parameters
    ----------
    scores
        ``(1, participant, stage)``.
    shuffles, generator, scheme
        As in `permutation_p`.
    """
    shuffled = (one_way(block).f for block in _shuffled(scores, False, False, shuffles, generator))
    return _p(one_way(scores).f, shuffled, shuffles, scheme)


def _p(observed: NDArray[np.float64], shuffled: Iterator[NDArray[np.float64]], shuffles: int, scheme: Scheme) -> float:
    if np.isnan(observed):
        return float("nan")
    count = sum(int((block >= observed * (1 - TIE)).sum()) for block in shuffled)
    return max(count, 1) / shuffles if scheme == "feather2023" else (count + 1) / (shuffles + 1)


def _shuffled(
    scores: NDArray[np.float64],
    between: bool,
    whole: bool,
    shuffles: int,
    generator: np.random.Generator,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[NDArray[np.float64]]:
    """Yield shuffled scores ``(b, factor, participant, stage)``, `shuffles` in all.

    Profiles over stages stay `whole` or are split up; they are exchanged `between` participants or within each.
    """
    levels, participants, stages = scores.shape
    people = np.swapaxes(scores, 0, 1)  # (participant, factor, stage)
    items = people.reshape(1 if between else participants, -1, stages if whole else 1)  # (row, item, values)
    step = max(1, block_bytes // scores.nbytes)
    for first in range(0, shuffles, step):
        order = generator.random((min(step, shuffles - first), *items.shape[:2])).argsort(axis=2)
        drawn = items[np.arange(len(items))[:, None], order]  # (b, row, item, values)
        yield np.swapaxes(drawn.reshape(-1, participants, levels, stages), 1, 2)
