"""Ascent over vectors of unit norm, within bounds: many problems at once, each as if it were alone.

L-BFGS (Nocedal 1980) in the tangent space of the spheres: a step leads along the quasi-Newton direction and back to the
spheres by `projected`. Within bounds it is the projected method of Bertsekas (1982): an entry at its bound whose
gradient points outward is left out of the direction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch

MEMORY = 10
"""Number of previous steps from which the curvature is estimated."""

SYNC_EVERY = 10
"""Number of steps after which it is looked up whether all problems are finished."""

_SHORTEST = 4.0**-6  # part of a quasi-Newton step below which none is found to rise
_STALLED = 1e-9  # relative rise of a step at which a problem is finished


class Bounds(NamedTuple):
    """Lowest and highest entries of vectors, at most 0 and at least 0; of a shape that broadcasts with theirs."""

    low: torch.Tensor
    high: torch.Tensor


class Ascent(NamedTuple):
    """Result of `climb`: the best points, and the objective of the best point up to each step ``(…, steps)``."""

    points: torch.Tensor
    objective: torch.Tensor


def climb(
    evaluate: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    points: torch.Tensor,
    steps: int,
    bounds: Bounds | None = None,
) -> Ascent:
    """Raise the objectives of several problems in lockstep.

    A step that does not raise a problem's objective is not taken, and is a quarter as long at the next attempt. A
    problem is finished when a step raises it by less than a billionth, or none raises it. No result depends on the
    other problems, except for the rounding of `evaluate`.

    Memory: ``2 · MEMORY + 12`` tensors of the size of the points.

    Parameters
    ----------
    evaluate
        Objectives ``(…)``, in float64, and their gradients ``(…, V, samples)`` at points of that shape. The objectives
        do not depend on the norms of the vectors.
    points
        Starts, V vectors for each problem: ``(…, V, samples)``, none of them 0.
    steps
        Largest number of points of each problem at which the objective is computed, at least 1.
    bounds
        Bounds of each entry, or None for no bounds.
    """
    points = projected(points, bounds)
    values, gradients = evaluate(points)
    done = ~values.isfinite()
    trace = [values]
    memory: deque[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = deque(maxlen=MEMORY)
    scale = 1 / _dot(gradients, gradients).sqrt().clamp(min=torch.finfo(gradients.dtype).tiny)
    length = torch.ones_like(scale)
    directions = _direction(points, gradients, memory, scale, bounds)
    for step in range(1, steps):
        if step % SYNC_EVERY == 0 and bool(done.all()):
            break
        tried = projected(points + _each(length) * directions, bounds)
        reached, slopes = evaluate(tried)
        rise = reached - values
        taken = ~done & (rise > 0)
        moved, bent = tried - points, gradients - slopes
        along, bending = _dot(moved, bent), _dot(bent, bent)
        is_curved = taken & (along > 1e-8 * (_dot(moved, moved) * bending).sqrt())
        memory.append((moved, bent, torch.where(is_curved, 1 / along, 0.0)))
        scale = torch.where(is_curved, along / bending, torch.where(taken, 2 * scale, scale))
        length = torch.where(taken, torch.ones_like(length), length / 4)
        done = done | (taken & (rise <= _STALLED * reached)) | (length < _SHORTEST)
        points = torch.where(_each(taken), tried, points)
        gradients = torch.where(_each(taken), slopes, gradients)
        values = torch.where(taken, reached, values)
        trace.append(values)
        found = _direction(points, gradients, memory, scale, bounds)
        directions = torch.where(_each(taken), found, directions)
    trace += trace[-1:] * (steps - len(trace))
    return Ascent(points, torch.stack(trace, dim=-1))


def projected(vectors: torch.Tensor, bounds: Bounds | None = None) -> torch.Tensor:
    """Return the nearest vectors of unit norm within bounds.

    The nearest one is the vector times a factor, clamped to the bounds; the factor at which its norm is 1 is found by
    clamping ever more entries. If all entries are clamped, the norm is below 1.

    Parameters
    ----------
    vectors
        Vectors ``(…, samples)``, none of them 0.
    bounds
        Bounds of each entry, or None for no bounds.
    """
    if bounds is None:
        return vectors / _norm(vectors)
    has_room = torch.where(vectors < 0, bounds.low, bounds.high) != 0
    rows = torch.where(has_room, vectors, 0.0)
    factor = 1 / _norm(rows).clamp(min=torch.finfo(rows.dtype).tiny)
    while True:
        scaled = rows * factor
        inside = scaled.clamp(bounds.low, bounds.high)
        is_free = scaled == inside
        left = (1 - _norm(torch.where(is_free, 0.0, inside)).square()).clamp(min=0).sqrt()
        free = _norm(torch.where(is_free, rows, 0.0))
        larger = torch.where(free > 0, left / free, factor)
        if not bool((larger > factor * (1 + 8 * torch.finfo(rows.dtype).eps)).any()):
            return inside
        factor = torch.maximum(factor, larger)


def _direction(
    points: torch.Tensor,
    gradients: torch.Tensor,
    memory: deque[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    scale: torch.Tensor,
    bounds: Bounds | None,
) -> torch.Tensor:
    """Quasi-Newton direction of each problem, at most of length 1; it rises, as the estimated curvature is positive."""
    if bounds is None:
        radii = points
    else:
        within = torch.where((points > bounds.low) & (points < bounds.high), points, 0.0)
        reduced = gradients - _share(gradients, within) * points
        is_free = torch.where(reduced > 0, points < bounds.high, points > bounds.low)
        radii = torch.where(is_free, points, 0.0)

    def tangent(vectors: torch.Tensor) -> torch.Tensor:
        free = vectors if bounds is None else torch.where(is_free, vectors, 0.0)
        return free - _share(free, radii) * radii

    found = tangent(gradients)
    weights = []
    for moved, bent, inverse in reversed(memory):
        weight = inverse * _dot(moved, found)
        found = found - _each(weight) * bent
        weights.append(weight)
    found = _each(scale) * found
    for (moved, bent, inverse), weight in zip(memory, reversed(weights), strict=True):
        found = found + _each(weight - inverse * _dot(bent, found)) * moved
    found = tangent(found)
    return found / _each(_dot(found, found).sqrt().clamp(min=1))


def _share(vectors: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    """Coefficient of the vectors along the radii, ``(…, V, 1)``; 0 where a radius is 0."""
    squares = radii.square().sum(dim=-1, keepdim=True)
    return (vectors * radii).sum(dim=-1, keepdim=True) / torch.where(squares > 0, squares, 1.0)


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Inner product of each problem's vectors, ``(…)``."""
    return (first * second).sum(dim=(-2, -1))


def _each(values: torch.Tensor) -> torch.Tensor:
    """Values of problems ``(…)`` as factors of their vectors."""
    return values[..., None, None]


def _norm(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return norms
