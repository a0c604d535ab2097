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
    pull: Callable[[torch.Tensor, torch.Tensor], Pull],
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
        Returns each signal's distances from its target at each term of the layer, and the gradient of their weighted
        sum, of ``(S · k, …)`` and weights ``(terms, S · k)``; see `passes.pull`.
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
    kept = domain.quantise(start)
    inside = is_inside(kept)
    spread = _spread(kept, inside, apart)
    safe, latest, fresh = signals, signals, torch.zeros(len(signals), dtype=torch.bool, device=start.device)
    returns = inside.flatten()  # those that have a metamer to return to
    growth = torch.full_like(radii[:1], GROW_FIRST).expand(len(signals))
    reach = torch.where(returns, FIRST, 1.0) * radii[:, None]  # (terms, S·k)
    for update in range(settings.steps + 1):
        distances, towards = pull(signals, 1 / (len(radii) * reach))
        excess = (distances / reach).mean(dim=0)  # above 1 outside
        within = excess <= 1
        latest, fresh = torch.where(_along(within, signals), signals, latest), fresh | within
        back = torch.zeros_like(fresh)
        if update % LOOK_EVERY == 0 or update == settings.steps:
            rounded = domain.quantise(latest).reshape(start.shape)
            now = is_inside(rounded)
            passes, back = now.flatten() & fresh, ~now.flatten() & fresh & returns
            safe, returns = torch.where(_along(passes, signals), latest, safe), returns | passes
            signals = torch.where(_along(back, signals), safe, signals)
            growth = torch.where(fresh & ~passes, GROW, growth)
            reach = torch.minimum(reach * torch.where(fresh & ~passes, SHRINK, growth), radii[:, None])
            fresh = torch.zeros_like(fresh)
            offered, either = torch.where(_along(now, rounded, 2), rounded, kept), now | inside
            reached = _spread(offered, either, apart)
            more, before = either.sum(dim=1), inside.sum(dim=1)
            better = (more > before) | ((more == before) & (reached > spread))
            kept = torch.where(_along(better, kept), offered, kept)
            inside, spread = torch.where(better[:, None], either, inside), torch.where(better, reached, spread)
        if update == settings.steps:
            break
        towards = torch.zeros_like(signals) if towards is None else towards
        away = _tangent(_gradient(signals, k, apart), towards, signals, domain)
        step = torch.where(_along(within, signals), length * cosine_decay(update, settings.steps) * away, 0)
        step = torch.where(_along(back, signals), 0, step - _restoring(excess, towards, length))
        signals = (signals + step).clamp(domain.low, domain.high)
        advance(stimuli * k)
    return Pushed(kept, inside, spread)


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


def _spread(signals: torch.Tensor, which: torch.Tensor, apart: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        features = apart(signals.flatten(0, 1))
    return mean_distance(features.reshape(*which.shape, -1), which)


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
