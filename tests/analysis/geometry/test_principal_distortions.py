"""Principal distortions against what is known: generalised eigenvectors, and a slow search on explicit metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import scipy.linalg
import torch
from metamery.analysis.geometry.ascent import Bounds, projected
from metamery.analysis.geometry.jacobian import Jacobians
from metamery.analysis.geometry.principal_distortions import (
    Metric,
    PrincipalDistortions,
    log_ratios,
    measured,
    most_products,
    objective_and_gradient,
    principal_distortions,
)
from metamery.framework import MetameryError
from torch import nn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(samples: int, units: int, seed: int, scale: float = 1.0) -> nn.Linear:
    network = nn.Linear(samples, units).double()
    network.weight.data = scale * torch.randn(units, samples, generator=seeded(seed), dtype=torch.float64)
    return network


def jacobians(networks: Sequence[nn.Module], signals: torch.Tensor) -> list[Jacobians]:
    return [Jacobians(network, "output", signals) for network in networks]


def search(
    networks: Sequence[nn.Module],
    signal: torch.Tensor,
    generator: torch.Generator,
    bounds: Bounds | None = None,
    **options: Any,
) -> PrincipalDistortions:
    """The search at a single signal."""
    limits = None if bounds is None else Bounds(bounds.low[None], bounds.high[None])
    (found,) = principal_distortions(jacobians(networks, signal[None]), [generator], bounds=limits, **options)
    return found


def explicit(network: nn.Module, signal: torch.Tensor, floor: float) -> torch.Tensor:
    """The metric as a matrix, from autograd's own Jacobian."""
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None]).flatten(), signal).reshape(
        -1, signal.numel()
    )
    square = jacobian.T @ jacobian
    identity = torch.eye(signal.numel(), dtype=signal.dtype)
    return square / (square.trace() / signal.numel()) + floor**2 * identity


def variance(metrics: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """The paper's formula on matrices ``(N, P, P)`` and pairs ``(S, 2, P)``: ``(S,)``."""
    squares = torch.einsum("sip,npq,siq->nsi", pairs, metrics, pairs)
    ratios = (squares[..., 0].sqrt() / squares[..., 1].sqrt()).log()
    return ((ratios - ratios.mean(dim=0)) ** 2).mean(dim=0)


def slow(metrics: torch.Tensor, starts: int, steps: int) -> float:
    """Adam on the dense formula, from many random pairs."""
    pairs = torch.randn(starts, 2, metrics.shape[-1], generator=seeded(7), dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([pairs], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-variance(metrics, pairs / pairs.norm(dim=2, keepdim=True)).sum()).backward()
        optimizer.step()
        schedule.step()
    return float(variance(metrics, pairs.detach()).max())


class Colours(nn.Module):
    """Responses of channels to the three channels of one pixel: weighted sums, each compressed by a power."""

    def __init__(self, seed: int, exponent: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 + torch.rand(3, 3, generator=seeded(seed), dtype=torch.float64))
        self.exponent = exponent

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return (signals.flatten(1) @ self.weight.T) ** self.exponent


COLOURS = [(0, 1.0), (1, 1.0), (2, 0.5), (3, 0.33), (4, 2.0)]


@pytest.mark.parametrize("floor", [1e-3, 0.1])
def test_of_two_networks_they_are_the_extremal_generalised_eigenvectors(floor: float) -> None:
    signal = torch.rand(20, generator=seeded(), dtype=torch.float64)
    networks = [linear(20, 30, 1), linear(20, 25, 2)]
    found = search(networks, signal, seeded(), steps=400, floor=floor)
    values, vectors = scipy.linalg.eigh(*(explicit(network, signal, floor).numpy() for network in networks))
    ends = torch.from_numpy(vectors[:, [-1, 0]]).T
    cosines = (found.distortions * ends).sum(dim=1).abs() / ends.norm(dim=1)
    assert (cosines > 1 - 1e-5).all()
    ratios = log_ratios((2 * found.log_sensitivities).exp())
    assert float(ratios[0] - ratios[1]) == pytest.approx(math.log(values[-1] / values[0]) / 2, rel=1e-6)
    assert float(found.objective.max()) == pytest.approx((math.log(values[-1] / values[0]) / 4) ** 2, rel=1e-6)


@pytest.mark.parametrize("kind", ["colours", "full rank", "blind"])
def test_no_slow_search_finds_more(kind: str) -> None:
    if kind == "colours":
        signal = torch.rand(3, 1, 1, generator=seeded(), dtype=torch.float64)
        networks: list[nn.Module] = [Colours(*each) for each in COLOURS]
    else:
        signal = torch.rand(12, generator=seeded(), dtype=torch.float64)
        networks = [linear(12, 20 if kind == "full rank" else 4, seed) for seed in range(4)]
    floor = 0.1
    found = search(networks, signal, seeded(), steps=300, starts=16, floor=floor)
    metrics = torch.stack([explicit(network, signal, floor) for network in networks])
    reached = float(variance(metrics, found.distortions.reshape(1, 2, -1)))
    assert reached >= slow(metrics, starts=32, steps=400) * (1 - 1e-3)
    assert reached == pytest.approx(float(found.objective.max()), rel=1e-6)
    expected = torch.einsum("ip,npq,iq->ni", *[found.distortions.reshape(2, -1), metrics, found.distortions.flatten(1)])
    torch.testing.assert_close(found.log_sensitivities, expected.log() / 2)


@pytest.mark.parametrize("formed", [True, False])
def test_the_gradient_is_that_of_autograd(formed: bool) -> None:
    signal = torch.rand(3, 1, 1, generator=seeded(), dtype=torch.float64)
    networks = [Colours(*each) for each in COLOURS]
    signals = torch.stack([signal, 0.5 * signal.flip(0)])
    signs = torch.ones(2, 8, 3, dtype=torch.float64)
    metrics = [measured(each, signs, 0.2) for each in jacobians(networks, signals)]
    if not formed:
        metrics = [
            Metric(each, metric.gains, 0.2) for each, metric in zip(jacobians(networks, signals), metrics, strict=True)
        ]
    pairs = torch.randn(2, 5, 2, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    dense = [torch.stack([explicit(network, each, 0.2) for network in networks]) for each in signals]
    expected = torch.stack([variance(*each) for each in zip(dense, pairs, strict=True)])
    (gradient,) = torch.autograd.grad(expected.sum(), pairs)
    values, own = objective_and_gradient(metrics, pairs.detach())
    torch.testing.assert_close(values, expected.detach())
    torch.testing.assert_close(own, gradient)
    torch.testing.assert_close((own * pairs.detach()).sum(dim=3), torch.zeros(2, 5, 2, dtype=torch.float64))


def test_the_scale_of_a_layer_does_not_count() -> None:
    signal = torch.rand(10, generator=seeded(), dtype=torch.float64)
    once, rescaled = (
        search([linear(10, 6, 0), linear(10, 6, 1, scale), linear(10, 6, 2)], signal, seeded(), starts=2)
        for scale in (1.0, 1024.0)
    )
    torch.testing.assert_close(rescaled.distortions, once.distortions, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rescaled.log_sensitivities, once.log_sensitivities, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rescaled.gains, once.gains * torch.tensor([1, 1024, 1]))


def test_the_same_seed_gives_the_same_bits_and_the_first_network_is_on_the_positive_side() -> None:
    signal = torch.rand(10, generator=seeded())
    for seed in range(6):
        networks = [linear(10, 6, seed + n).float() for n in range(3)]
        once, again = (search(networks, signal, seeded(seed), starts=2) for _ in range(2))
        for name, value in vars(once).items():
            assert torch.equal(getattr(again, name), value)
        ratios = log_ratios((2 * once.log_sensitivities).exp())
        assert ratios[0] >= ratios.mean()
        assert (once.objective[:, -1] > once.objective[:, 0]).all()
        torch.testing.assert_close(once.distortions.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("units", [6, 700])
def test_large_jacobians_are_not_formed_and_the_products_are_those_stated(
    units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = torch.rand(600, generator=seeded())
    networks = [linear(600, units, seed).float() for seed in range(2)]
    products, gradient = [], Jacobians._gradient

    def counted(self: Jacobians, of: torch.Tensor, by: torch.Tensor, at: torch.Tensor, keep: bool = False) -> Any:
        products.append(len(at))
        return gradient(self, of, by, at, keep)

    monkeypatch.setattr(Jacobians, "_gradient", counted)
    found = search(networks, signal, seeded(), starts=2, steps=7, probes=40)
    stated = most_products(600, units, starts=2, steps=7, probes=40)
    assert sum(products) == 2 * stated
    exact = torch.tensor([float(network.weight.detach().norm()) for network in networks]) / math.sqrt(600)
    torch.testing.assert_close(found.gains.float(), exact, rtol=1e-5 if units == 6 else 0.02, atol=0)


def test_projection_is_the_nearest_vector_of_unit_norm_within_bounds() -> None:
    vectors = torch.randn(6, 40, generator=seeded(), dtype=torch.float64)
    low = -0.25 * torch.rand(40, generator=seeded(1), dtype=torch.float64) - 0.1
    high = 0.25 * torch.rand(40, generator=seeded(2), dtype=torch.float64) + 0.1
    low[::5] = 0
    bounds = Bounds(low, high)
    found = projected(vectors, bounds)
    assert ((found >= low) & (found <= high)).all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6, dtype=torch.float64))
    distance = (found - vectors).norm(dim=1)
    for seed in range(200):  # other vectors of that kind, near and far, are further away
        noise = torch.randn(6, 40, generator=seeded(seed), dtype=torch.float64)
        for size in (0.05, 1.0):
            other = projected(found + size * noise, bounds)
            assert ((other - vectors).norm(dim=1) >= distance - 1e-9).all()
    torch.testing.assert_close(projected(vectors), vectors / vectors.norm(dim=1, keepdim=True))


def test_where_there_is_no_room_the_norm_is_smaller() -> None:
    bounds = Bounds(torch.zeros(4), torch.full((4,), 0.3))
    assert projected(torch.tensor([1.0, 2.0, 3.0, -1.0]), bounds).tolist() == pytest.approx([0.3, 0.3, 0.3, 0])


def test_bounded_distortions_stay_within_their_bounds() -> None:
    signal = torch.rand(30, generator=seeded(), dtype=torch.float64)
    networks = [linear(30, 8, seed) for seed in range(3)]
    bounds = Bounds((0 - signal) / 2, (1 - signal) / 2)
    free, bound = (search(networks, signal, seeded(), steps=300, bounds=each) for each in (None, bounds))
    outside = (free.distortions < bounds.low) | (free.distortions > bounds.high)
    assert outside.any()
    assert ((bound.distortions >= bounds.low) & (bound.distortions <= bounds.high)).all()
    torch.testing.assert_close(bound.distortions.norm(dim=1), torch.ones(2, dtype=torch.float64))
    metrics = torch.stack([explicit(network, signal, 0.1) for network in networks])
    reached, clipped = (
        float(variance(metrics, each[None]))
        for each in (bound.distortions, free.distortions.clamp(bounds.low, bounds.high))
    )
    assert clipped < reached < float(free.objective.max())


class Root(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.sqrt()


class Deaf(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return (signals - 9).relu()


@pytest.mark.parametrize(("network", "gain"), [(Root(), math.nan), (Deaf(), 0.0)])
def test_a_jacobian_that_is_not_finite_or_zero_gives_none(network: nn.Module, gain: float) -> None:
    signal = torch.tensor([0.25, 0.0, 1.0])
    found = search([linear(3, 2, 0).float(), network], signal, seeded(), steps=3)
    assert found.gains[0] > 0
    assert float(found.gains[1]) == pytest.approx(gain, nan_ok=True)
    assert found.distortions.shape == (2, 3)
    assert found.distortions.isnan().all()
    assert found.log_sensitivities.isnan().all()
    assert found.objective.isnan().all()


def test_equal_networks_cannot_be_told_apart() -> None:
    signal = torch.rand(6, generator=seeded(), dtype=torch.float64)
    found = search([linear(6, 4, 0)] * 3, signal, seeded(), steps=5)
    assert float(found.objective.max()) == pytest.approx(0, abs=1e-20)
    assert found.distortions.isfinite().all()


def test_one_network_is_refused() -> None:
    with pytest.raises(MetameryError, match="principal distortions of 1 network, expected at least two"):
        search([linear(3, 2, 0)], torch.rand(3).double(), seeded())


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("units", [6, 520])
def test_a_signal_is_searched_as_if_it_were_alone(units: int, bounded: bool) -> None:
    signals = torch.rand(3, 540, generator=seeded(), dtype=torch.float64)
    networks = [nn.Sequential(linear(540, units, seed), nn.Tanh()) for seed in range(3)]
    bounds = Bounds((0 - signals) / 8, (1 - signals) / 8) if bounded else None
    options: dict[str, Any] = {"starts": 2, "steps": 12}
    together = principal_distortions(
        jacobians(networks, signals), [seeded(n) for n in range(3)], bounds=bounds, **options
    )
    for n, found in enumerate(together):
        limits = None if bounds is None else Bounds(bounds.low[n], bounds.high[n])
        alone = search(networks, signals[n], seeded(n), bounds=limits, **options)
        for name, value in vars(alone).items():
            torch.testing.assert_close(getattr(found, name), value, rtol=1e-8, atol=1e-8)


def test_a_signal_without_local_geometry_does_not_harm_its_batch_mates() -> None:
    signals = torch.tensor([[0.25, 0.0, 1.0], [0.25, 0.5, 1.0]])
    networks = [linear(3, 2, 0).float(), Root()]
    missing, found = principal_distortions(jacobians(networks, signals), [seeded(), seeded(1)], steps=30)
    assert missing.distortions.isnan().all()
    alone = search(networks, signals[1], seeded(1), steps=30)
    torch.testing.assert_close(found.distortions, alone.distortions, rtol=1e-4, atol=1e-4)
