"""Principal distortions: the pair of small changes of a signal that spreads the sensitivities of networks most.

Near one signal the local geometry of network n is its Fisher information JₙᵀJₙ under Gaussian noise, Jₙ being the
Jacobian of one of its layers: it notices a distortion ε by ‖Jₙε‖. By how much more it notices ε₁ than ε₂ is its log
sensitivity ratio rₙ = log ‖Jₙε₁‖ − log ‖Jₙε₂‖, which does not change when the layer is rescaled. The principal
distortions maximise the variance of rₙ over the networks (Feather, Lipshutz, Harvey, Williams & Simoncelli 2025); for
two networks they are the extremal generalised eigenvectors of their Fisher informations.

A layer with fewer units than the signal has samples does not notice some directions at all, and the variance would have
no maximum. Hence ‖Jₙε‖² is replaced by the metric qₙ(ε) = ‖Jₙε‖² / gₙ² + floor² ‖ε‖²: gₙ, the root mean square of ‖Jₙε‖
over all unit vectors, makes networks comparable, and no network notices a distortion less than `floor` times as much as
a random one.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy import optimize

from ...framework.errors import MetameryError
from .eigendistortions import is_dense
from .jacobian import BLOCK, Jacobian

_PINNED = 10.0  # weight of (‖ε‖² − 1)², which the objective itself does not depend on


@dataclass(frozen=True, eq=False)
class PrincipalDistortions:
    """Principal distortions of N networks at one signal.

    Parameters
    ----------
    distortions
        The pair, ``(2, …)``, of unit L2 norm. The first network's log sensitivity ratio is at least the mean of all
        networks'. Without bounds the largest entry of each is positive.
    log_sensitivities
        Natural logarithm of how much more each network notices each distortion than a random one of the same size,
        ½ log qₙ, ``(N, 2)``; at least ``log(floor)``.
    gains
        gₙ in the layer's units per unit of the signal, ``(N,)``; NaN if the Jacobian is not finite.
    objective
        Variance over networks of the log sensitivity ratio, of the best pair up to each step, ``(starts, steps)``.
    """

    distortions: torch.Tensor
    log_sensitivities: torch.Tensor
    gains: torch.Tensor
    objective: torch.Tensor


class Bounds(NamedTuple):
    """Lowest and highest entries of a distortion, ``(samples,)``: at most 0, and at least 0."""

    low: torch.Tensor
    high: torch.Tensor


class Formed(NamedTuple):
    """A small Jacobian as a matrix ``(units, samples)``, with the products of `Jacobian`."""

    matrix: torch.Tensor

    def push(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jv`` of each of the vectors ``(K, samples)``: ``(K, units)``."""
        return vectors @ self.matrix.T

    def pull(self, covectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jᵀu`` of each of the covectors ``(K, units)``: ``(K, samples)``."""
        return covectors @ self.matrix


class Metric(NamedTuple):
    """Local geometry of a network, the quadratic form q(ε) = ‖Jε‖² / gain² + floor² ‖ε‖²."""

    jacobian: Jacobian | Formed
    gain: float
    floor: float


def principal_distortions(
    jacobians: Sequence[Jacobian],
    generator: torch.Generator,
    *,
    starts: int = 4,
    steps: int = 200,
    floor: float = 0.1,
    probes: int = 32,
    bounds: Bounds | None = None,
) -> PrincipalDistortions:
    """Find the principal distortions of some networks.

    Gradient ascent by L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) from random pairs of sums of the Jacobians' rows, as no
    other part of a distortion tells the networks apart; the best pair of all starts is returned. The objective has
    several maxima, about one for each way to divide the networks in two groups: more networks need more starts.

    Cost in vectors that pass forward or backward through each network: the shorter side of a Jacobian that
    `local_geometry` would form, and then nothing; otherwise ``4 · starts · (steps + 1) + probes``. The passes of all
    networks are kept in memory at once, and 400 bytes for each sample of the signal.

    Parameters
    ----------
    jacobians
        Finite Jacobians of at least two networks at one signal.
    generator
        Generator on the CPU, for the probes and the starts.
    starts
        Number of random pairs.
    steps
        Largest number of pairs at which the objective and its gradient are computed from each start.
    floor
        Least sensitivity, relative to that to a random distortion; above 0.
    probes
        Number of random vectors from which the gain of a large Jacobian is estimated (Hutchinson 1989).
    bounds
        Bounds of each entry of the distortions; None for no bounds.

    Returns
    -------
    PrincipalDistortions
        Tensors on the CPU; all but the gains are NaN if a Jacobian is not finite, or 0.

    Raises
    ------
    MetameryError
        There are fewer than two networks.
    """
    if len(jacobians) < 2:
        raise MetameryError(f"principal distortions of {len(jacobians)} network, expected at least two")
    first = jacobians[0]
    dtype = functools.reduce(torch.promote_types, (jacobian.dtype for jacobian in jacobians), torch.float32)
    signs = first.draw(probes, generator, signs=True).to(dtype)
    metrics = [measured(jacobian, signs, floor) for jacobian in jacobians]
    gains = torch.tensor([metric.gain for metric in metrics], dtype=torch.float64, device="cpu")
    if not (gains > 0).all():
        return _missing(first, gains, starts, steps)
    rows = (_in_rows(*each, starts, generator, signs) for each in zip(jacobians, metrics, strict=True))
    climbs = [_climb(metrics, projected(pair, bounds), steps, bounds) for pair in functools.reduce(torch.add, rows)]
    pairs = torch.stack([projected(pair, bounds) for pair, _ in climbs])  # (starts, 2, samples)
    squares = _squares(metrics, pairs, _pushed(metrics, pairs)) / _sizes(pairs)  # (N, starts, 2)
    best = int(log_ratios(squares).var(dim=0, correction=0).argmax())
    pair, logs = pairs[best], squares[:, best].log() / 2
    ratios = log_ratios(squares[:, best])
    if ratios[0] < ratios.mean():
        pair, logs = pair.flip(0), logs.flip(1)
    if bounds is None:
        pair = pair * pair.gather(1, pair.abs().argmax(dim=1, keepdim=True)).sign()
    return PrincipalDistortions(
        pair.cpu().reshape(2, *first.shape),
        logs,
        gains,
        torch.stack([objective for _, objective in climbs]),
    )


def most_products(samples: int, units: int, starts: int, steps: int, probes: int) -> int:
    """Return the largest number of products with a Jacobian, or its transpose, that `principal_distortions` computes.

    The first ones, by which `Jacobian` itself checks that it is finite, are included.
    """
    vectors = min(samples, units) if is_dense(samples, units) else probes
    padded = 3 * BLOCK + -(-vectors // BLOCK) * BLOCK
    return padded if is_dense(samples, units) else padded + 4 * starts * (steps + 1)


def measured(jacobian: Jacobian, signs: torch.Tensor, floor: float) -> Metric:
    """Return a network's metric; a large Jacobian's gain is estimated from random signs ``(probes, samples)``."""
    if not jacobian.finite:
        return Metric(jacobian, math.nan, floor)
    if is_dense(jacobian.samples, jacobian.units):
        formed = Formed(jacobian.dense().to(signs.dtype))
        return Metric(formed, _root(formed.matrix.double().square().sum() / jacobian.samples), floor)
    return Metric(jacobian, _root(jacobian.push(signs).double().square().mean(dim=0).sum() / jacobian.samples), floor)


def _in_rows(
    jacobian: Jacobian, metric: Metric, starts: int, generator: torch.Generator, like: torch.Tensor
) -> torch.Tensor:
    """Draw pairs of sums of a Jacobian's rows, ``(starts, 2, samples)``, of random lengths; in the type of `like`."""
    lengths, covectors = (
        torch.randn(2 * starts, count, generator=generator, device=generator.device, dtype=torch.float32).to(like)
        for count in (1, jacobian.units)
    )
    pulled = metric.jacobian.pull(covectors).to(like)
    return (lengths * pulled / _norm(pulled)).reshape(starts, 2, jacobian.samples)


def log_ratios(squares: torch.Tensor) -> torch.Tensor:
    """Log sensitivity ratios ``(N, …)`` of metrics ``(N, …, 2)`` of pairs of distortions."""
    logs = squares.log() / 2
    return logs[..., 0] - logs[..., 1]


def objective_and_gradient(metrics: Sequence[Metric], pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Variance over networks of the log sensitivity ratio, and its gradient.

    The objective does not depend on the distortions' norms, so that a distortion and its gradient are orthogonal.

    Parameters
    ----------
    metrics
        Metrics of N networks.
    pairs
        Pairs of distortions, ``(S, 2, samples)``.

    Returns
    -------
    tuple of torch.Tensor
        The objective ``(S,)``, in float64 on the CPU, and the gradient ``(S, 2, samples)``.
    """
    pushed = _pushed(metrics, pairs)
    squares = _squares(metrics, pairs, pushed)  # (N, S, 2)
    ratios = log_ratios(squares)
    centred = ratios - ratios.mean(dim=0)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64, device="cpu")
    weights = 2 / len(metrics) * centred[..., None] * signs / squares  # (N, S, 2): the gradient of ½ log q is Mε / q
    gradient = torch.zeros_like(pairs)
    for metric, moved, weight in zip(metrics, pushed, weights, strict=True):
        own = weight.to(pairs)[..., None]
        pulled = metric.jacobian.pull(moved * (own / metric.gain**2).flatten(0, 1))
        gradient += pulled.reshape(pairs.shape) + own * metric.floor**2 * pairs
    return centred.square().mean(dim=0), gradient


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


def _missing(jacobian: Jacobian, gains: torch.Tensor, starts: int, steps: int) -> PrincipalDistortions:
    def nan(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.full(shape, math.nan, dtype=dtype, device="cpu")

    distortions = nan(2, *jacobian.shape, dtype=jacobian.dtype)
    return PrincipalDistortions(distortions, nan(len(gains), 2), gains, nan(starts, steps))


class _EnoughError(Exception):
    """The largest number of steps is reached."""


def _climb(
    metrics: Sequence[Metric], pair: torch.Tensor, steps: int, bounds: Bounds | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Climb from a pair ``(2, samples)``; return the pair at the top and the objective up to each step ``(steps,)``."""
    best, lowest, highest = pair, math.inf, 0.0
    objective: list[float] = []

    def descended(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, lowest, highest
        if len(objective) == steps:
            raise _EnoughError
        given = torch.from_numpy(flat).reshape(pair.shape).to(pair)
        values, gradient = objective_and_gradient(metrics, given[None])
        away = np.square(flat.reshape(2, -1)).sum(axis=1, keepdims=True) - 1
        loss = _PINNED * float(np.square(away).sum()) - float(values)
        if loss < lowest:
            best, lowest, highest = given, loss, float(values)
        objective.append(highest)
        pinned = 4 * _PINNED * away * flat.reshape(2, -1)
        return loss, (pinned - gradient[0].double().cpu().numpy()).ravel()

    start = pair.double().cpu().numpy().ravel()
    ends = None if bounds is None else [np.tile(end.double().cpu().numpy(), 2) for end in bounds]
    limits = None if ends is None else optimize.Bounds(*ends)
    with contextlib.suppress(_EnoughError):
        optimize.minimize(
            descended,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxcor": 10, "ftol": 1e-9, "gtol": 0.0, "maxiter": steps, "maxfun": 2 * steps},
        )
    reached = objective + objective[-1:] * (steps - len(objective))
    return best, torch.tensor(reached, dtype=torch.float64, device="cpu")


def _pushed(metrics: Sequence[Metric], pairs: torch.Tensor) -> list[torch.Tensor]:
    """Jₙε of each distortion, ``(2 S, units)`` for each network."""
    return [metric.jacobian.push(pairs.flatten(0, 1)) for metric in metrics]


def _squares(metrics: Sequence[Metric], pairs: torch.Tensor, pushed: Sequence[torch.Tensor]) -> torch.Tensor:
    """qₙ of each distortion, ``(N, S, 2)``, in float64 on the CPU."""
    sizes = _sizes(pairs)
    found = [moved.double().square().sum(dim=1).cpu().reshape(sizes.shape) for moved in pushed]
    return torch.stack(
        [square / metric.gain**2 + metric.floor**2 * sizes for metric, square in zip(metrics, found, strict=True)]
    )


def _sizes(pairs: torch.Tensor) -> torch.Tensor:
    """Squared norms of distortions, ``(S, 2)``, in float64 on the CPU."""
    return pairs.double().square().sum(dim=2).cpu()


def _norm(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return norms


def _root(value: torch.Tensor) -> float:
    return math.sqrt(float(value))
