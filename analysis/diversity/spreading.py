"""Pushing signals apart inside a region: k variants of each stimulus, as far from each other as the region allows.

A variant that is inside makes a step along the gradient of the mean distance between variants, without the gradient's
part along that of the matched layer's distance (gradient projection, Rosen 1960); one that is outside makes a step
towards the region alone, as long as the distance's gradient says is needed (Polyak 1969). The last iterate within a
radius is looked at from time to time, rounded to what is shown; one that is no metamer goes back to the last that was
one, with a smaller radius. So what is returned are metamers, and their spread is a lower bound of the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...framework.checks import number, whole
from ...framework.domains import Domain
from ..synthesis.passes import Pull
from ..synthesis.settings import MAX_COUNT, cosine_decay

LOOK_EVERY = 5
"""Number of updates between two looks at which variants are metamers, rounded as they are shown."""

SHRINK, GROW, GROW_FIRST = 0.8, 1.1, 1.5
"""Factors of a variant's radius where it is no metamer although it is within the radius, where it is one, and where it
has always been one."""

SLOWER, FASTER = 0.7, 1.1
"""Factors of the length of a variant's steps where it was never within its radius since the last look, and where it is
a metamer; at most 1 in all."""

FIRST = 1 / 8
"""Part of the largest radius that a variant begins with which is a metamer at the start."""

AIM = 0.95
"""Part of the radius that a step back towards the region aims at."""


@dataclass(frozen=True)
class PushSettings:
    """How variants are pushed apart.

    Parameters
    ----------
    steps
        Number of updates.
    step_size
        Length of the first update, as a root mean square in units of the domain (`Domain.unit`); it falls to 0 along
        half a cosine.
    """

    steps: int = 400
    step_size: float = 0.02

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1, MAX_COUNT)
        number("step_size", self.step_size, most=1, above=0)


@dataclass(frozen=True, eq=False)
class Pushed:
    """Variants of S stimuli.

    Parameters
    ----------
    signals
        ``(S, k, …)``, rounded to 8-bit pictures or 16-bit sound.
    inside
        ``(S, k)``, whether each is a metamer. One that never was is the start.
    spread
        Mean distance between those that are, ``(S,)``; NaN with fewer than two.
    """

    signals: torch.Tensor
    inside: torch.Tensor
    spread: torch.Tensor


def push_apart(
    start: torch.Tensor,
    pull: Callable[..., Pull],
    radii: torch.Tensor,
    is_inside: Callable[[torch.Tensor], torch.Tensor],
    domain: Domain,
    settings: PushSettings,
    apart: Callable[[torch.Tensor], torch.Tensor] = lambda signals: signals,
    advance: Callable[[int], None] = lambda _updates: None,
) -> Pushed:
    """Push variants of stimuli apart.

    A set of variants replaces an earlier one if more of them are metamers, or if as many are and their spread is
    larger: where all of the start, rounded, are metamers, the result's spread is at least theirs.

    Parameters
    ----------
    start
        Signals to begin with, ``(S, k, …)``.
    pull
        ``pull(signals, weights=…)``, of ``(S · k, …)`` and ``(terms, S · k)``, returns each signal's distances from its
        target at each term of the layer, and the gradient of their weighted sum; see `passes.pull`.
    radii
        Largest distance at each term, ``(terms,)``. A variant's own radius grows to at most this while it is inside,
        and shrinks where another measure or the class takes it out.
    is_inside
        Returns for signals ``(S, k, …)``, rounded, whether each is a metamer, ``(S, k)``.
    domain
        Domain of the signals; every update stays in its range.
    settings
        Number of updates and their length.
    apart
        Function of signals ``(S · k, …)`` whose values ``(S · k, …)`` are pushed apart; the signals themselves by
        default.
    advance
        Called with the number of updates of single signals.
    """
    stimuli, k = start.shape[:2]
    signals = start.flatten(0, 1).clone()
    length = settings.step_size * domain.unit * signals[0].numel() ** 0.5
    best = _Best(domain.quantise(start), is_inside, apart)
    own = _Radii(radii, signals, best.inside.flatten())
    for update in range(settings.steps + 1):
        distances, towards = pull(signals, weights=1 / (len(radii) * own.radii))
        excess = (distances / own.radii).mean(dim=0)  # above 1 outside
        own.see(signals, excess <= 1)
        back = torch.zeros_like(excess, dtype=torch.bool)
        if update % LOOK_EVERY == 0 or update == settings.steps:
            back = own.look(best.offer(domain.quantise(own.latest).reshape(start.shape)))
            signals = torch.where(_along(back, signals), own.safe, signals)
        if update == settings.steps:
            break
        towards = torch.zeros_like(signals) if towards is None else towards
        away = _tangent(_gradient(signals, k, apart), towards, signals, domain)
        step = torch.where(
            _along(excess <= 1, signals),
            _along(length * cosine_decay(update, settings.steps) * own.pace, away) * away,
            0,
        )
        step = step - _restoring(excess, towards, length)
        step = torch.where(_along(back, signals), 0, step)  # what has gone back has another gradient
        signals = (signals + step).clamp(domain.low, domain.high)
        advance(stimuli * k)
    return Pushed(best.signals, best.inside, best.spread)


class _Best:
    """The best set of variants of each stimulus so far, rounded: which of them are metamers, and their spread."""

    def __init__(
        self,
        start: torch.Tensor,
        is_inside: Callable[[torch.Tensor], torch.Tensor],
        apart: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self._is_inside, self._apart = is_inside, apart
        self.signals, self.inside = start, is_inside(start)
        self.spread = self._spread(start, self.inside)

    def offer(self, signals: torch.Tensor) -> torch.Tensor:
        """Take other variants ``(S, k, …)`` that are metamers where that makes a set better; return which are."""
        now = self._is_inside(signals)
        offered, either = torch.where(_along(now, signals, 2), signals, self.signals), now | self.inside
        spread = self._spread(offered, either)
        more, before = either.sum(dim=1), self.inside.sum(dim=1)
        better = (more > before) | ((more == before) & (spread > self.spread))
        self.signals = torch.where(_along(better, offered), offered, self.signals)
        self.inside = torch.where(better[:, None], either, self.inside)
        self.spread = torch.where(better, spread, self.spread)
        return now

    def _spread(self, signals: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self._apart(signals.flatten(0, 1))
        return mean_distance(features.reshape(*which.shape, -1), which)


class _Radii:
    """Each variant's own radius at each term ``(terms, B)`` and pace, its last iterate within, and its last metamer.

    Parameters
    ----------
    largest
        Largest radius at each term, ``(terms,)``.
    signals
        Signals at the start, ``(B, …)``.
    inside
        Which of them are metamers, ``(B,)``: these begin with a smaller radius.
    """

    def __init__(self, largest: torch.Tensor, signals: torch.Tensor, inside: torch.Tensor) -> None:
        self._largest = largest[:, None]
        self.radii = torch.where(inside, FIRST, 1.0) * self._largest
        self.latest = self.safe = signals
        self._is_safe, self._fresh = inside, torch.zeros_like(inside)
        self._growth = torch.full_like(self.radii[0], GROW_FIRST)
        self.pace = torch.ones_like(self.radii[0])

    def see(self, signals: torch.Tensor, within: torch.Tensor) -> None:
        """Keep signals that are within their radius."""
        self.latest = torch.where(_along(within, signals), signals, self.latest)
        self._fresh = self._fresh | within

    def look(self, inside: torch.Tensor) -> torch.Tensor:
        """Set the radii by which of the latest are metamers, ``(S, k)``; return which variants go back, ``(B,)``."""
        passed, failed = inside.flatten() & self._fresh, ~inside.flatten() & self._fresh
        lost = ~self._fresh & self._is_safe
        back = lost | (failed & self._is_safe)
        self.safe = torch.where(_along(passed, self.safe), self.latest, self.safe)
        self._is_safe = self._is_safe | passed
        self._growth = torch.where(failed, GROW, self._growth)
        self.radii = torch.minimum(self.radii * torch.where(failed, SHRINK, self._growth), self._largest)
        self.pace = torch.where(passed, FASTER, torch.where(lost, SLOWER, 1.0)) * self.pace
        self.pace = self.pace.clamp_max(1)
        self._fresh = torch.zeros_like(self._fresh)
        return back


def pairwise(features: torch.Tensor) -> torch.Tensor:
    """Root mean square difference of all pairs of rows, ``(S, k, k)``, of ``(S, k, …)``."""
    flat = features.flatten(2)
    exact = "donot_use_mm_for_euclid_dist"
    distances: torch.Tensor = torch.cdist(flat, flat, compute_mode=exact) / flat.shape[2] ** 0.5
    return distances


def mean_distance(features: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Mean root mean square difference of all pairs of those variants ``(S, k, …)`` that count ``(S, k)``: ``(S,)``.

    NaN with fewer than two.
    """
    pairs = (which[:, :, None] & which[:, None, :]).triu(1)
    total = (pairwise(features) * pairs).sum(dim=(1, 2))
    return total / pairs.sum(dim=(1, 2))  # 0 / 0 is NaN


def _gradient(signals: torch.Tensor, k: int, apart: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Gradient of the mean distance between the variants of each stimulus, ``(S · k, …)``."""
    with torch.enable_grad():
        leaf = signals.detach().requires_grad_()
        features = apart(leaf)
        total = pairwise(features.reshape(-1, k, features[0].numel())).sum() / (k * (k - 1))
        (gradient,) = torch.autograd.grad(total, leaf)
    return gradient


def _tangent(away: torch.Tensor, towards: torch.Tensor, signals: torch.Tensor, domain: Domain) -> torch.Tensor:
    """Directions of unit length along `away` without its part along `towards`, and without what the range stops."""
    for _ in range(2):
        away = torch.where((signals <= domain.low) & (away < 0) | (signals >= domain.high) & (away > 0), 0, away)
        normal = torch.where(away == 0, 0, towards)
        size = normal.flatten(1).square().sum(dim=1)
        share = (away * normal).flatten(1).sum(dim=1).clamp_min(0) / size.clamp_min(torch.finfo(size.dtype).tiny)
        away = away - _along(share, away) * normal
    norm = torch.linalg.vector_norm(away.flatten(1), dim=1)
    return away / _along(norm.clamp_min(torch.finfo(norm.dtype).tiny), away)


def _restoring(excess: torch.Tensor, towards: torch.Tensor, most: float) -> torch.Tensor:
    """Steps to subtract from signals that are outside, at most of the length `most`: ``(e − AIM) g / ‖g‖²``."""
    norm = torch.linalg.vector_norm(towards.flatten(1), dim=1).clamp_min(torch.finfo(excess.dtype).tiny)
    length = ((excess - AIM) / norm).clamp(0, most)
    return torch.where(_along(excess > 1, towards), _along(length / norm, towards) * towards, 0)


def _along(per_signal: torch.Tensor, values: torch.Tensor, dims: int = 1) -> torch.Tensor:
    """Reshape values of each signal so that they multiply signals, whose first `dims` dimensions they have."""
    return per_signal.reshape(*values.shape[:dims], *[1] * (values.ndim - dims))
