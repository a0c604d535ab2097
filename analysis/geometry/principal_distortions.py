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

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...framework.errors import MetameryError
from .ascent import Bounds, climb
from .eigendistortions import is_dense
from .jacobian import BLOCK, Jacobians


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


class Formed(NamedTuple):
    """Small Jacobians as matrices ``(S, units, samples)``, with the products of `Jacobians`."""

    matrices: torch.Tensor

    def push(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jv`` of each of the vectors ``(S, K, samples)``: ``(S, K, units)``."""
        return vectors @ self.matrices.mT

    def pull(self, covectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jᵀu`` of each of the covectors ``(S, K, units)``: ``(S, K, samples)``."""
        return covectors @ self.matrices


class Metric(NamedTuple):
    """Local geometry of a network at S signals: q(ε) = ‖Jε‖² / gain² + floor² ‖ε‖², with gains ``(S,)`` in float64."""

    jacobians: Jacobians | Formed
    gains: torch.Tensor
    floor: float


def principal_distortions(
    jacobians: Sequence[Jacobians],
    generators: Sequence[torch.Generator],
    *,
    starts: int = 4,
    steps: int = 200,
    floor: float = 0.1,
    probes: int = 32,
    bounds: Bounds | None = None,
) -> list[PrincipalDistortions]:
    """Find the principal distortions of some networks at S signals, each by itself but all at once.

    Gradient ascent by L-BFGS, see `climb`, from random pairs of sums of the Jacobians' rows, as no other part of a
    distortion tells the networks apart; the best pair of all starts is returned. The objective has several maxima,
    about one for each way to divide the networks in two groups: more networks need more starts.

    Cost for each signal, in vectors that pass forward or backward through each network: the shorter side of a Jacobian
    that `local_geometry` would form, and then nothing; otherwise ``4 · starts · (steps + 1) + probes``. The passes of
    ``2 · S`` signals through all networks are kept in memory at once, Jacobians that are formed too, and about
    ``64 · starts`` vectors for each signal.

    Parameters
    ----------
    jacobians
        Jacobians of at least two networks at the same signals.
    generators
        Generator on the CPU of each signal, for its probes and its starts.
    starts
        Number of random pairs.
    steps
        Largest number of pairs at which the objective and its gradient are computed from each start.
    floor
        Least sensitivity, relative to that to a random distortion; above 0.
    probes
        Number of random vectors from which the gain of a large Jacobian is estimated (Hutchinson 1989).
    bounds
        Bounds ``(S, samples)`` of each entry of the distortions; None for no bounds.

    Returns
    -------
    list of PrincipalDistortions
        One for each signal. Tensors on the CPU; all but the gains are NaN if a Jacobian is not finite, or 0.

    Raises
    ------
    MetameryError
        There are fewer than two networks.
    """
    if len(jacobians) < 2:
        raise MetameryError(f"principal distortions of {len(jacobians)} network, expected at least two")
    first = jacobians[0]
    dtype = functools.reduce(torch.promote_types, (jacobian.dtype for jacobian in jacobians), torch.float32)
    signs = torch.stack([first.draw(probes, generator, signs=True) for generator in generators]).to(dtype)
    metrics = [measured(jacobian, signs, floor) for jacobian in jacobians]
    rows = (_in_rows(*each, starts, generators, signs) for each in zip(jacobians, metrics, strict=True))
    limits = None if bounds is None else Bounds(*(end[:, None, None] for end in bounds))
    pairs, objective = climb(
        functools.partial(objective_and_gradient, metrics), functools.reduce(torch.add, rows), steps, limits
    )
    squares = _squares(metrics, pairs, _pushed(metrics, pairs)) / _sizes(pairs)  # (N, S, starts, 2)
    gains = torch.stack([metric.gains for metric in metrics])
    parts = (pairs.cpu(), squares.cpu(), gains.cpu(), objective.cpu())
    return [
        _best(parts[0][n].reshape(starts, 2, *first.shape), parts[1][:, n], parts[2][:, n], parts[3][n], bounds is None)
        for n in range(first.count)
    ]


def _best(
    pairs: torch.Tensor, squares: torch.Tensor, gains: torch.Tensor, objective: torch.Tensor, is_free: bool
) -> PrincipalDistortions:
    """The best of one signal's pairs ``(starts, 2, …)``, whose metrics are ``(N, starts, 2)``."""
    if not (gains > 0).all():
        pair, logs = torch.full_like(pairs[0], math.nan), torch.full_like(squares[:, 0], math.nan)
        return PrincipalDistortions(pair, logs, gains, torch.full_like(objective, math.nan))
    best = int(log_ratios(squares).var(dim=0, correction=0).argmax())
    pair, logs = pairs[best], squares[:, best].log() / 2
    ratios = log_ratios(squares[:, best])
    if ratios[0] < ratios.mean():
        pair, logs = pair.flip(0), logs.flip(1)
    if is_free:
        flat = pair.flatten(1)
        largest = flat.gather(1, flat.abs().argmax(dim=1, keepdim=True))
        pair = (flat * largest.sign()).reshape(pair.shape)
    return PrincipalDistortions(pair, logs, gains, objective)


def most_products(samples: int, units: int, starts: int, steps: int, probes: int) -> int:
    """Return the largest number of products with a Jacobian, or its transpose, that `principal_distortions` computes.

    The first ones, by which `Jacobian` itself checks that it is finite, are included.
    """
    vectors = min(samples, units) if is_dense(samples, units) else probes
    padded = 3 * BLOCK + -(-vectors // BLOCK) * BLOCK
    return padded if is_dense(samples, units) else padded + 4 * starts * (steps + 1)


def measured(jacobians: Jacobians, signs: torch.Tensor, floor: float) -> Metric:
    """Return a network's metric; large Jacobians' gains are estimated from random signs ``(S, probes, samples)``."""
    products: Jacobians | Formed = jacobians
    if is_dense(jacobians.samples, jacobians.units):
        products = formed = Formed(jacobians.dense().to(signs.dtype))
        squares = formed.matrices.double().square().sum(dim=(1, 2))
    else:
        squares = jacobians.push(signs).double().square().mean(dim=1).sum(dim=1)
    finite = jacobians.finite.to(squares.device)
    return Metric(products, torch.where(finite, (squares / jacobians.samples).sqrt(), math.nan), floor)


def _in_rows(
    jacobians: Jacobians, metric: Metric, starts: int, generators: Sequence[torch.Generator], like: torch.Tensor
) -> torch.Tensor:
    """Draw pairs of sums of Jacobians' rows, ``(S, starts, 2, samples)``, of random lengths; in the type of `like`."""
    lengths, covectors = (
        torch.stack(
            [
                torch.randn(2 * starts, count, generator=generator, device=generator.device, dtype=torch.float32)
                for generator in generators
            ]
        ).to(like)
        for count in (1, jacobians.units)
    )
    pulled = metric.jacobians.pull(covectors).to(like)
    norms = torch.linalg.vector_norm(pulled, dim=2, keepdim=True)
    rows: torch.Tensor = lengths * pulled / norms
    return rows.reshape(-1, starts, 2, jacobians.samples)


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
        Metrics of N networks at S signals.
    pairs
        Pairs of distortions, ``(S, starts, 2, samples)``.

    Returns
    -------
    tuple of torch.Tensor
        The objective ``(S, starts)``, in float64, and the gradient ``(S, starts, 2, samples)``.
    """
    pushed = _pushed(metrics, pairs)
    squares = _squares(metrics, pairs, pushed)  # (N, S, starts, 2)
    ratios = log_ratios(squares)
    centred = ratios - ratios.mean(dim=0)
    weights = 2 / len(metrics) * centred[..., None] / squares  # (N, S, starts, 2): the gradient of ½ log q is Mε / q
    weights[..., 1].neg_()
    gradient = torch.zeros_like(pairs)
    for metric, moved, weight in zip(metrics, pushed, weights, strict=True):
        scaled = (weight / metric.gains[:, None, None] ** 2).flatten(1).to(moved)[..., None]
        pulled = metric.jacobians.pull(moved * scaled)
        gradient += pulled.reshape(pairs.shape) + (weight * metric.floor**2).to(pairs)[..., None] * pairs
    return centred.square().mean(dim=0), gradient


def _pushed(metrics: Sequence[Metric], pairs: torch.Tensor) -> list[torch.Tensor]:
    """Jₙε of each distortion, ``(S, 2 starts, units)`` for each network."""
    return [metric.jacobians.push(pairs.flatten(1, 2)) for metric in metrics]


def _squares(metrics: Sequence[Metric], pairs: torch.Tensor, pushed: Sequence[torch.Tensor]) -> torch.Tensor:
    """qₙ of each distortion, ``(N, S, starts, 2)``, in float64."""
    sizes = _sizes(pairs)
    found = [moved.double().square().sum(dim=2).reshape(sizes.shape) for moved in pushed]
    return torch.stack(
        [
            square / metric.gains[:, None, None] ** 2 + metric.floor**2 * sizes
            for metric, square in zip(metrics, found, strict=True)
        ]
    )


def _sizes(pairs: torch.Tensor) -> torch.Tensor:
    """Squared norms of distortions, ``(S, starts, 2)``, in float64."""
    return pairs.double().square().sum(dim=3)
