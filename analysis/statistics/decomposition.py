"""Balanced analyses of variance on arrays ``(…, factor, participant, stage)``, many at once.

The two-way designs return three effects in one order: the factor, the stage, their interaction. An effect holds the
deviations that it explains and those that it is tested against; its F, partial η² and Greenhouse–Geisser ε follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import f as f_distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-28
"""A sum of squares below this share of the scores' own is due to rounding, and counts as 0."""

_AXES = (-3, -2, -1)


@dataclass(frozen=True, eq=False)
class Effect:
    """One effect in a design.

    Parameters
    ----------
    scores
        ``(…, factor, participant, stage)``.
    explained, error
        Deviations whose squares are summed, each of the scores' shape or broadcast to it.
    df_effect, df_error
        Degrees of freedom.
    nested
        Whether each level of the factor has participants of its own.
    contrasts
        Number of independent differences within a participant's scores that the error consists of.
    """

    scores: NDArray[np.float64]
    explained: NDArray[np.float64]
    error: NDArray[np.float64]
    df_effect: int
    df_error: int
    nested: bool
    contrasts: int

    @cached_property
    def ss_effect(self) -> NDArray[np.float64]:
        """Sum of squares of the effect, ``(…)``."""
        return self._sum_of_squares(self.explained)

    @cached_property
    def ss_error(self) -> NDArray[np.float64]:
        """Sum of squares of its error, ``(…)``."""
        return self._sum_of_squares(self.error)

    @property
    def f(self) -> NDArray[np.float64]:
        """F, ``(…)``: infinite where the error is 0, NaN where the effect is 0 as well."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: NDArray[np.float64] = self.ss_effect / self.df_effect / (self.ss_error / self.df_error)
        return ratio

    @property
    def partial_eta_squared(self) -> NDArray[np.float64]:
        """Effect's share of the sum of the effect and its error, ``(…)``."""
        with np.errstate(invalid="ignore"):
            share: NDArray[np.float64] = self.ss_effect / (self.ss_effect + self.ss_error)
        return share

    @property
    def epsilon(self) -> NDArray[np.float64]:
        """Greenhouse & Geisser's (1959) ε̂ of the error's covariance S, tr(S)² / (contrasts tr(S²)), ``(…)``.

        1 for a spherical error and for an effect between participants. With nested participants S is pooled over the
        factor's levels, as errors deviate from each level's own means. NaN where the error is 0.
        """
        rows = self.error if self.nested else np.swapaxes(self.error, -3, -2)  # people first, then their scores
        kept = 1 if self.nested else 2
        rows = rows.reshape(*rows.shape[:-3], -1, int(np.prod(rows.shape[-kept:])))
        covariance = np.swapaxes(rows, -1, -2) @ rows
        trace = np.trace(covariance, axis1=-2, axis2=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            epsilon = trace**2 / (self.contrasts * (covariance**2).sum(axis=(-2, -1)))
        return np.where(self.ss_error > 0, epsilon, np.nan)

    def p(self, corrected: bool = False) -> NDArray[np.float64]:
        """Upper tail of the F distribution, ``(…)``; corrected, with both degrees of freedom multiplied by ε̂."""
        shrink = self.epsilon if corrected else 1.0
        return np.asarray(f_distribution.sf(self.f, shrink * self.df_effect, shrink * self.df_error))

    def _sum_of_squares(self, deviations: NDArray[np.float64]) -> NDArray[np.float64]:
        repeats = np.prod(self.scores.shape[-3:]) / np.prod(deviations.shape[-3:])
        total = repeats * (deviations**2).sum(axis=_AXES)
        return np.where(total > ROUNDING * (self.scores**2).sum(axis=_AXES), total, 0.0)


def mixed(scores: NDArray[np.float64]) -> tuple[Effect, Effect, Effect]:
    """Participants nested in the factor's levels, stages within participants.

    Parameters
    ----------
    scores
        ``(…, factor, participant, stage)``; participant 0 of one level has nothing to do with participant 0 of another.
    """
    levels, participants, stages = scores.shape[-3:]
    mean = scores.mean(axis=_AXES, keepdims=True)
    level = scores.mean(axis=(-2, -1), keepdims=True)
    stage = scores.mean(axis=(-3, -2), keepdims=True)
    cell = scores.mean(axis=-2, keepdims=True)
    person = scores.mean(axis=-1, keepdims=True)
    people = levels * (participants - 1)
    error = scores - cell - person + level
    interaction = (levels - 1) * (stages - 1)
    return (
        Effect(scores, level - mean, person - level, levels - 1, people, True, 1),
        Effect(scores, stage - mean, error, stages - 1, people * (stages - 1), True, stages - 1),
        Effect(scores, cell - level - stage + mean, error, interaction, people * (stages - 1), True, stages - 1),
    )


def repeated(scores: NDArray[np.float64]) -> tuple[Effect, Effect, Effect]:
    """The factor and the stages both within participants.

    Parameters
    ----------
    scores
        ``(…, factor, participant, stage)``; each participant has a score at every level and stage.
    """
    levels, participants, stages = scores.shape[-3:]
    mean = scores.mean(axis=_AXES, keepdims=True)
    level = scores.mean(axis=(-2, -1), keepdims=True)
    stage = scores.mean(axis=(-3, -2), keepdims=True)
    cell = scores.mean(axis=-2, keepdims=True)
    person = scores.mean(axis=(-3, -1), keepdims=True)
    by_level = scores.mean(axis=-1, keepdims=True)
    by_stage = scores.mean(axis=-3, keepdims=True)
    interaction = (levels - 1) * (stages - 1)
    rest = scores - by_level - by_stage - cell + person + level + stage - mean
    explained = (level - mean, stage - mean, cell - level - stage + mean)
    error = (by_level - person - level + mean, by_stage - person - stage + mean, rest)
    freedom = (levels - 1, stages - 1, interaction)
    main, of_stage, both = (
        Effect(scores, effect, left, df, df * (participants - 1), False, df)
        for effect, left, df in zip(explained, error, freedom, strict=True)
    )
    return main, of_stage, both


def one_way(scores: NDArray[np.float64]) -> Effect:
    """Stages within participants, without another factor.

    Parameters
    ----------
    scores
        ``(…, 1, participant, stage)``.
    """
    participants, stages = scores.shape[-2:]
    mean = scores.mean(axis=_AXES, keepdims=True)
    stage = scores.mean(axis=-2, keepdims=True)
    person = scores.mean(axis=-1, keepdims=True)
    error = scores - stage - person + mean
    df = stages - 1
    return Effect(scores, stage - mean, error, df, df * (participants - 1), False, df)
