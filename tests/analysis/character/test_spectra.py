"""Spectra: slopes, cut-offs and folding, on signals whose spectrum is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from metamery.analysis.character.spectra import Folding, check_cutoff, energy_above, folded_share, spectral_slope
from metamery.framework import MetameryError, Plugins
from metamery.framework.layers import Tap
from torch import nn
from torch.nn import functional as F


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wave(cycles: float, size: int = 64) -> torch.Tensor:
    """A sine along x of so many cycles a picture, ``(1, 1, size, size)``."""
    return (2 * math.pi * cycles * torch.arange(size) / size + 0.3).sin().expand(1, 1, size, size)


def checkerboard(size: int = 8) -> torch.Tensor:
    place = torch.arange(size)
    return ((place[:, None] + place) % 2).float()[None, None]


def coloured(exponent: float, size: int = 96) -> torch.Tensor:
    """Pictures whose power falls with frequency to a power, ``(16, 1, size, size)``."""
    fy, fx = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = (fy**2 + fx**2).sqrt()
    frequency[0, 0] = 1
    return torch.fft.irfft2(torch.fft.rfft2(noise(16, 1, size, size)) * frequency ** (exponent / 2))


@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.0, 0.0, 1.0])
def test_the_slope_of_a_picture_is_the_exponent_of_its_power(exponent: float) -> None:
    slopes = spectral_slope(coloured(exponent))
    assert slopes.mean().item() == pytest.approx(exponent, abs=0.1)
    np.testing.assert_allclose(slopes, exponent, atol=0.4)  # one picture has few low frequencies


def test_the_slope_of_a_sound() -> None:
    white = noise(4, 8000)
    np.testing.assert_allclose(spectral_slope(white, 0.01), 0, atol=0.05)
    np.testing.assert_allclose(spectral_slope(white.cumsum(dim=1), 0.01), -2, atol=0.3)  # a random walk; flatter at π
    # The lowest frequency counts: below it there is anything.
    hum = white + 1000 * (2 * math.pi * 0.002 * torch.arange(8000)).sin()
    assert (spectral_slope(hum) < -0.2).all()
    np.testing.assert_allclose(spectral_slope(hum, 0.01), 0, atol=0.05)


def test_neither_level_nor_mean_changes_a_slope() -> None:
    pictures = coloured(-2.0)
    np.testing.assert_allclose(spectral_slope(0.1 * pictures + 5), spectral_slope(pictures), atol=1e-4)


def test_a_constant_has_no_slope_and_no_share() -> None:
    assert spectral_slope(torch.full((2, 3, 16, 16), 0.5)).isnan().all()
    assert energy_above(torch.zeros(2, 100), 0.5).isnan().all()
    assert spectral_slope(noise(2, 3)).isnan().all()  # three samples have no two bands


@pytest.mark.parametrize(("cycles", "share"), [(4, 0), (14, 0), (18, 1), (30, 1)])
def test_a_sine_lies_on_one_side_of_the_cutoff(cycles: int, share: float) -> None:
    assert energy_above(wave(cycles), 0.5).item() == pytest.approx(share, abs=1e-9)
    assert energy_above(wave(cycles)[:, 0, 0], 0.5).item() == pytest.approx(share, abs=1e-9)


def test_two_sines_share_the_energy_and_noise_has_it_everywhere() -> None:
    assert energy_above(3 * wave(4) + wave(28), 0.5).item() == pytest.approx(0.1, abs=1e-6)
    # Of a square of frequencies, a disk of half the side's width is left out.
    np.testing.assert_allclose(energy_above(noise(1, 3, 200, 200), 0.5), 1 - math.pi / 16, atol=0.01)
    np.testing.assert_allclose(energy_above(noise(1, 20000), 0.25), 0.75, atol=0.02)


def test_a_checkerboard_folds_wholly_and_a_constant_not_at_all() -> None:
    both = torch.cat([checkerboard(), torch.full((1, 1, 8, 8), 0.7)])
    assert folded_share(both, (2, 2)).tolist() == [1, 0]
    assert folded_share(torch.full((1, 3, 7, 9), 0.1), (3, 3)).item() == 0
    assert folded_share(torch.zeros(1, 3, 8), (2,)).item() == 0


@pytest.mark.parametrize(("cycles", "stride", "share"), [(16, 2, 0), (17, 2, 1), (8, 4, 0), (9, 4, 1), (11, 3, 1)])
def test_what_folds_is_what_no_smaller_grid_holds(cycles: int, stride: int, share: float) -> None:
    assert folded_share(wave(cycles), (stride, stride)).item() == pytest.approx(share, abs=1e-6)
    assert folded_share(wave(cycles), (stride, 1)).item() == pytest.approx(0, abs=1e-6)  # along x none is left out
    assert folded_share(wave(cycles).mT, (stride, 1)).item() == pytest.approx(share, abs=1e-6)


def test_a_share_is_that_of_the_whole_spectrum() -> None:
    values = noise(2, 3, 9, 12)
    power = np.abs(np.fft.fft2(values.numpy())) ** 2
    power[..., 0, 0] = 0
    fy, fx = np.abs(np.fft.fftfreq(9))[:, None], np.abs(np.fft.fftfreq(12))[None]
    above = (fy > 1 / 4 + 1e-9) | (fx > 1 / 6 + 1e-9)
    expected = (power * above).sum(axis=(1, 2, 3)) / power.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(folded_share(values, (2, 3)), expected, rtol=1e-5)


class Mixed(nn.Module):
    """Subsamples by modules, twice by one of them, and by functions that its code calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, bias=False)
        self.dense = nn.Conv2d(4, 4, 3, padding=1)
        self.maximum = nn.MaxPool2d(3, 2, ceil_mode=True, return_indices=True)
        self.average = nn.AvgPool2d(2)
        self.whole = nn.AvgPool2d(2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        x, _ = self.maximum(self.dense(self.conv(signals)))
        x = F.max_pool2d(self.average(self.average(x)), 2)
        return torch.cat([x.flatten(1), self.whole(x).flatten(1)], dim=1)


def test_every_step_that_leaves_samples_out_is_found() -> None:
    network, signals = Mixed().eval(), noise(3, 2, 68, 68)
    with torch.no_grad(), Folding(network) as folding:
        network(signals)
    assert list(folding.shares) == ["conv", "maximum", "average", "average@2", "max_pool2d"]
    dense = F.conv2d(signals, network.conv.weight)
    torch.testing.assert_close(folding.shares["conv"], folded_share(dense.detach(), (2, 2)))
    with torch.no_grad():
        before = network.dense(network.conv(signals))
    torch.testing.assert_close(folding.shares["maximum"], folded_share(F.max_pool2d(before, 3, 1), (2, 2)))
    assert all(share.shape == (3,) for share in folding.shares.values())


def test_a_signal_s_share_does_not_depend_on_its_batch_mates() -> None:
    network, signals = Mixed().eval(), noise(3, 2, 68, 68)
    with torch.no_grad(), Folding(network) as folding:
        network(signals)
        together = folding.shares
        network(signals[1:2])
    for name, share in folding.shares.items():
        torch.testing.assert_close(share, together[name][1:2], rtol=1e-4, atol=1e-5)


def test_watching_changes_nothing_and_ends() -> None:
    network, signals = Mixed().eval(), noise(2, 2, 68, 68)
    with torch.no_grad():
        plain = network(signals)
        with Tap(network, ["maximum[0]", "output"]) as tap, Folding(network) as folding:
            assert torch.equal(tap(signals)["output"], plain)
            found = folding.shares
        with Tap(network, ["conv"]) as tap, Folding(network) as folding:
            tap(signals)  # which stops there, before the convolution's own hooks have all run
            tap(signals)
            assert set(folding.shares) == {"conv"}
        network(signals)
    assert set(folding.shares) == {"conv"}
    assert len(found) == 5
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_one_dimension_and_layers_that_take_channels_for_signals() -> None:
    class Bands(nn.Module):
        def forward(self, sounds: torch.Tensor) -> torch.Tensor:  # (B, T)
            both = torch.stack([sounds, 2 * sounds], dim=1).flatten(0, 1)[:, None]  # (2 B, 1, T)
            return F.avg_pool1d(both, 4, 3).reshape(len(sounds), -1)

    sounds = noise(3, 200)
    with Folding(Bands()) as folding:
        folding._network(sounds)
    torch.testing.assert_close(folding.shares["avg_pool1d"], folded_share(F.avg_pool1d(sounds[:, None], 4, 1), (3,)))


def test_blurring_folds_less() -> None:
    model = Plugins(installed=()).load("model", "small-cnn")
    blurred = Plugins(installed=()).load("model", "antialias/hann/small-cnn")
    signals = torch.rand(2, *model.domain.shape, generator=torch.Generator().manual_seed(0))
    shares = []
    for each in (model, blurred):
        with torch.no_grad(), Folding(each.module.eval()) as folding:
            each.module(signals)
        assert folding.shares
        shares.append(torch.stack(list(folding.shares.values())).mean().item())
    assert shares[1] < 0.5 * shares[0]


@pytest.mark.parametrize("cutoff", [0, 1, -0.5, True, "half"])
def test_a_cutoff_is_a_part_of_the_nyquist_frequency(cutoff: object) -> None:
    with pytest.raises(MetameryError, match="expected a number between 0 and 1"):
        check_cutoff(cutoff)
