"""Local geometry against what is known: linear networks, the dense Jacobian, and plenoptic's eigendistortions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from metamery.analysis.geometry.eigendistortions import (
    DENSE_SIDE,
    distorted,
    krylov,
    local_geometry,
    most_products,
)
from metamery.analysis.geometry.jacobian import Jacobian, Jacobians
from metamery.framework import ImageDomain, MetameryError, WaveformDomain
from metamery.framework.testing import example_model, example_signals
from peers import peer
from torch import nn

TIGHT: dict[str, Any] = {"iterations": 300, "tolerance": 1e-10}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(spectrum: torch.Tensor, samples: int, seed: int = 0) -> tuple[nn.Linear, torch.Tensor]:
    """A linear layer with these singular values on signals of so many samples, and its right singular vectors."""
    count = len(spectrum)
    left = torch.linalg.qr(torch.randn(count, count, generator=seeded(seed), dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(samples, count, generator=seeded(seed + 1), dtype=torch.float64))[0].T
    network = nn.Linear(samples, count).double()
    network.weight.data = left @ (spectrum.double()[:, None] * right)
    return network, right


def convolutional(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor]:
    """A network on 2 × 10 × 10 pictures, with a kind of layer each; its singular values differ by a factor of 1000."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 12, 3),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(108, 5),
        )
    signal = torch.rand(2, 10, 10, generator=seeded(), dtype=torch.float64)
    return network.eval().to(dtype), signal.to(dtype)


def dense(network: nn.Module, signal: torch.Tensor) -> torch.Tensor:
    """The Jacobian by autograd's own function, ``(units, samples)``."""
    whole = torch.autograd.functional.jacobian(lambda x: network(x[None]).flatten(), signal)
    return whole.flatten(1)


def cosines(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    return (found.flatten(1) * expected.flatten(1)).sum(dim=1).abs()


def side(whole: bool) -> int:
    """The shorter side up to which a Jacobian is formed: the usual one, or none."""
    return DENSE_SIDE if whole else 0


@pytest.mark.parametrize("copies", [1, 3, 8])
@pytest.mark.parametrize("layer", ["0", "1", "2", "3", "5", "output"])
def test_products_are_those_with_the_dense_jacobian(layer: str, copies: int) -> None:
    network, signal = convolutional()
    jacobian = Jacobian(network, layer, signal, copies)
    part = network if layer == "output" else network[: int(layer) + 1]  # type: ignore[index]
    whole = dense(part, signal)
    assert (jacobian.units, jacobian.samples) == whole.shape
    vectors = torch.randn(5, jacobian.samples, generator=seeded(), dtype=torch.float64)
    covectors = torch.randn(5, jacobian.units, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(jacobian.push(vectors), vectors @ whole.T)
    torch.testing.assert_close(jacobian.pull(covectors), covectors @ whole)
    torch.testing.assert_close(jacobian.dense(), whole)
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())


def test_attention_is_differentiated_twice() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval()
    signal = torch.rand(6, 8, generator=seeded(), dtype=torch.float64)
    jacobian = Jacobian(network, "output", signal)
    vectors = torch.randn(2, 48, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(jacobian.push(vectors), vectors @ dense(network, signal).T)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_spectrum_of_a_small_network_is_the_dense_one(whole: bool, dtype: torch.dtype) -> None:
    network, signal = convolutional(dtype)
    jacobian = Jacobian(network, "0", signal)  # 800 units, 200 samples
    exact = dense(network[:1].double(), signal.double())  # type: ignore[index]
    values, right = torch.linalg.svd(exact, full_matrices=False)[1:]
    network.to(dtype)
    found = local_geometry(
        jacobian, seeded(), iterations=300, tolerance=1e-10 if dtype == torch.float64 else 1e-6, dense_side=side(whole)
    )
    assert found.exact is whole
    torch.testing.assert_close(found.singular_values.double(), values[:6], rtol=1e-5, atol=0)
    assert found.least_singular_value == pytest.approx(float(values[-1]), rel=1e-4)
    if dtype == torch.float64:  # some values are so near each other that float32 cannot tell their directions
        assert (cosines(found.most, right[:6]) > 1 - 1e-6).all()
        assert cosines(found.least[None], right[-1:]) > 1 - 1e-6
    assert (found.residuals < 1e-5).all()
    assert found.least_residual < 1e-5
    assert found.most.shape == (6, 2, 10, 10)
    rows = torch.cat([found.most, found.least[None]]).flatten(1).double()
    torch.testing.assert_close(rows @ rows.T, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-4)


def test_every_layer_s_largest_values_come_after_few_products() -> None:
    network, signal = convolutional()
    for layer in range(7):
        jacobian = Jacobian(network, str(layer), signal)
        most, _ = krylov(jacobian, 4, seeded(), iterations=30, tolerance=1e-12)
        exact = torch.linalg.svdvals(dense(network[: layer + 1], signal))[:4]  # type: ignore[index]
        values = torch.linalg.vector_norm(jacobian.push(most), dim=1)
        torch.testing.assert_close(values, exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_linear_network_has_the_spectrum_of_its_weights(whole: bool) -> None:
    spectrum = torch.logspace(1, 0, 80, dtype=torch.float64)
    network, right = linear(spectrum, 80)
    signal = torch.rand(80, generator=seeded(), dtype=torch.float64)
    found = local_geometry(
        Jacobian(network, "output", signal), seeded(), components=3, probes=64, **TIGHT, dense_side=side(whole)
    )
    torch.testing.assert_close(found.singular_values, spectrum[:3])
    assert found.least_singular_value == pytest.approx(float(spectrum[-1]))
    assert (cosines(found.most, right[:3]) > 1 - 1e-8).all()
    assert cosines(found.least[None], right[-1:]) > 1 - 1e-8
    squares = spectrum.square()
    expected = float(squares.sum().square() / squares.square().sum())
    assert found.effective_dimension == pytest.approx(expected, rel=1e-9 if whole else 0.05)
    assert abs(found.effective_dimension - expected) <= (1e-9 if whole else 4 * found.effective_dimension_error)
    assert found.gain == pytest.approx(math.sqrt(float(squares.sum()) / 80), rel=1e-9 if whole else 0.02)
    assert found.free_share == 0


@pytest.mark.parametrize("whole", [True, False])
def test_the_products_are_at_most_those_stated_beforehand(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network, signal = convolutional()
    products, gradient = [], Jacobians._gradient

    def counted(self: Jacobians, of: torch.Tensor, by: torch.Tensor, at: torch.Tensor, keep: bool = False) -> Any:
        products.append(len(at))
        return gradient(self, of, by, at, keep)

    monkeypatch.setattr(Jacobians, "_gradient", counted)
    jacobian = Jacobian(network, "0", signal)
    settings = {"components": 3, "probes": 5, "iterations": 12}
    local_geometry(jacobian, seeded(), **settings, tolerance=1e-12, dense_side=side(whole))
    stated = most_products(jacobian.samples, jacobian.units, **settings, dense_side=side(whole))
    assert 0.9 * stated < sum(products) <= stated


def test_the_effective_dimension_of_known_spectra() -> None:
    signal = torch.rand(40, generator=seeded(), dtype=torch.float64)
    for spectrum, expected in [([3.0] * 7, 7), ([2.0] + [0.0] * 6, 1), ([2.0, 2.0, 0.0], 2), ([2.0, 1.0], 25 / 17)]:
        network, _ = linear(torch.tensor(spectrum), 40)
        found = local_geometry(Jacobian(network, "output", signal), seeded(), components=2)
        assert found.effective_dimension == pytest.approx(expected)
        rank = sum(value > 0 for value in spectrum)
        assert found.free_share == pytest.approx(1 - rank / 40)


def test_estimates_are_unbiased_and_their_error_is_told() -> None:
    spectrum = 1 / torch.arange(1, 61, dtype=torch.float64).sqrt()
    network, _ = linear(spectrum, 60)
    jacobian = Jacobian(network, "output", torch.rand(60, generator=seeded(), dtype=torch.float64))
    squares = spectrum.square()
    expected = float(squares.sum().square() / squares.square().sum())
    found = [
        local_geometry(jacobian, seeded(n), components=2, probes=8, iterations=4, dense_side=0) for n in range(100)
    ]
    values = torch.tensor([each.effective_dimension for each in found])
    told = torch.tensor([each.effective_dimension_error for each in found]).square().mean().sqrt()
    assert abs(values.mean() - expected) < 4 * values.std() / 10
    assert float(told / values.std()) == pytest.approx(1, rel=0.25)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_where_units_are_fewer_than_samples_there_is_a_null_space(dtype: torch.dtype) -> None:
    network, signal = convolutional(dtype)
    jacobian = Jacobian(network, "output", signal)
    found = local_geometry(jacobian, seeded(), components=6)
    assert found.free_share == 1 - 5 / 200
    assert found.singular_values[4] > 0
    assert found.singular_values[5] == 0
    assert found.most[5].isnan().all()
    assert not found.most[:5].isnan().any()
    tiny = 1e-12 if dtype == torch.float64 else 1e-5
    assert float(found.least.norm()) == pytest.approx(1, abs=tiny)
    assert jacobian.push(found.least.reshape(1, -1)).abs().max() < tiny * found.singular_values[0]
    assert found.least_singular_value < tiny * found.singular_values[0]
    other = local_geometry(jacobian, seeded(1), components=6)
    assert cosines(found.least[None], other.least[None]) < 0.5  # it is drawn
    torch.testing.assert_close(found.most[:5], other.most[:5], rtol=1e-4, atol=1e-5)
    assert found.effective_dimension == other.effective_dimension


def test_a_large_layer_with_few_units_says_what_must_be_free() -> None:
    network, _ = linear(torch.linspace(2, 1, 50), 200)
    signal = torch.rand(200, generator=seeded(), dtype=torch.float64)
    found = local_geometry(Jacobian(network, "output", signal), seeded(), components=3, iterations=60, dense_side=0)
    assert (found.free_share, found.exact) == (0.75, False)
    assert found.least_singular_value < 1e-6


@pytest.mark.parametrize("whole", [True, False])
def test_the_signal_itself_notices_every_direction_alike(whole: bool) -> None:
    network, signal = convolutional()
    found = local_geometry(Jacobian(network, "input", signal), seeded(), dense_side=side(whole))
    torch.testing.assert_close(found.singular_values, torch.ones(6).double())
    assert found.least_singular_value == pytest.approx(1)
    assert found.effective_dimension == pytest.approx(200, rel=1e-9 if whole else 0.02)
    assert found.gain == pytest.approx(1, rel=0.02)
    assert found.free_share == 0


class Deaf(nn.Module):
    """A network that hears nothing, in one of three ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if self.way == "constant":
            return torch.ones(len(signals), 3)
        return signals.round() if self.way == "stairs" else (signals - 9).relu()


@pytest.mark.parametrize("way", ["constant", "stairs", "off"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_that_notices_nothing(whole: bool, way: str) -> None:
    found = local_geometry(
        Jacobian(Deaf(way), "output", torch.rand(80, generator=seeded())),
        seeded(),
        components=3,
        dense_side=side(whole),
    )
    assert found.singular_values.tolist() == [0, 0, 0]
    assert found.least_singular_value == 0
    assert found.most.isnan().all()
    assert found.residuals.isnan().all()
    assert float(found.least.norm()) == pytest.approx(1)
    assert math.isnan(found.effective_dimension)
    assert found.gain == 0
    if whole:
        assert found.free_share == 1


class Root(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.sqrt()


def test_a_jacobian_that_is_not_finite_is_missing() -> None:
    found = local_geometry(Jacobian(Root(), "output", torch.tensor([0.25, 0.0, 1.0])), seeded(), components=2)
    assert math.isnan(found.gain)
    assert math.isnan(found.free_share)
    assert found.most.isnan().all()
    assert found.least.shape == (3,)
    assert found.least.isnan().all()


@pytest.mark.parametrize("layer", ["1", "output"])
def test_the_result_depends_neither_on_the_copies_nor_on_the_global_generator(layer: str) -> None:
    network, signal = convolutional()
    settings: dict[str, Any] = {"components": 2, "iterations": 100, "tolerance": 1e-10, "dense_side": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        once = local_geometry(Jacobian(network, layer, signal), seeded(), **settings)
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        again = local_geometry(Jacobian(network, layer, signal), seeded(), **settings)
    for name, value in vars(once).items():
        torch.testing.assert_close(getattr(again, name), value, rtol=0, atol=0)
    few = local_geometry(Jacobian(network, layer, signal, copies=3), seeded(), **settings)
    torch.testing.assert_close(few.singular_values, once.singular_values)
    torch.testing.assert_close(few.most, once.most, rtol=1e-6, atol=1e-9)
    assert few.effective_dimension == pytest.approx(once.effective_dimension)


def test_a_distortion_for_the_eye_stays_in_range() -> None:
    domain = ImageDomain(1, 2, 2)
    signal = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
    direction = torch.tensor([[[0.5, 0.5], [-0.5, 0.5]]])
    torch.testing.assert_close(distorted(signal, direction, 0.4, domain), torch.tensor([[[0.2, 0.7], [0.3, 1.0]]]))
    torch.testing.assert_close(distorted(signal, direction, -0.4, domain), torch.tensor([[[0.0, 0.3], [0.7, 0.8]]]))
    sound = distorted(torch.zeros(4), torch.tensor([1.0, 0, 0, 0]), 3, WaveformDomain(4, 8000))
    assert sound.tolist() == [1, 0, 0, 0]


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signals: torch.Tensor) -> torch.Tensor:
        return signals * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * 2


class Stubborn(nn.Module):
    """Cannot be differentiated twice; autograd says so, or counts only what can be."""

    def __init__(self, says: bool) -> None:
        super().__init__()
        self.says = says

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if self.says:
            return torch.cdist(signals.reshape(-1, 3, 4), torch.ones(1, 3, 4))
        doubled: torch.Tensor = Once.apply(signals)  # type: ignore[no-untyped-call]
        return signals + doubled


class Mixing(nn.Module):
    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.to(self.dtype) if self.dtype else signals.flatten()


def test_what_cannot_be_done_is_said() -> None:
    signal = torch.rand(12)
    for says in (True, False):
        with pytest.raises(
            MetameryError, match="layer 'output': the network has an operation that cannot be different"
        ):
            Jacobian(Stubborn(says), "output", signal)
    with pytest.raises(MetameryError, match=r"layer 'output' returns torch.float32 of shape \(24,\) for 2 signals"):
        Jacobian(Mixing(), "output", signal)
    with pytest.raises(MetameryError, match=r"layer 'output' returns torch\.int64"):
        Jacobian(Mixing(torch.int64), "output", signal)
    with pytest.raises(MetameryError, match="unknown layer 'conv'"):
        Jacobian(Mixing(), "conv", signal)
    for samples, components, most in [(12, 0, 12), (12, 13, 12), (30, 21, 20)]:
        jacobian = Jacobian(nn.Linear(samples, 4), "output", torch.rand(samples))
        with pytest.raises(MetameryError, match=f"components is {components}, expected 1 to {most}"):
            local_geometry(jacobian, seeded(), components=components)


def test_eigendistortions_are_plenoptic_s() -> None:
    plenoptic = peer("plenoptic")
    model = example_model()
    network = nn.Sequential(*list(model.module.children())[:3]).double()  # 150 units, 432 samples
    (signal,) = example_signals(model, 1).double()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = plenoptic.Eigendistortion(signal[None], network)
        theirs.synthesize("exact")
    found = local_geometry(Jacobian(network, "output", signal), seeded(), components=4)
    torch.testing.assert_close(found.singular_values.square(), theirs.eigenvalues[:4].double(), rtol=1e-6, atol=0)
    assert (cosines(found.most, theirs.eigendistortions[:4].reshape(4, -1).double()) > 1 - 1e-6).all()
    assert float(theirs.eigenvalues[-1]) == pytest.approx(found.least_singular_value**2, abs=1e-9)
