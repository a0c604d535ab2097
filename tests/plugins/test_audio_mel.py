"""The mel front end: against its definition, gradients, settings."""

import math

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError
from metamery.plugins.audio.mel import LogMel


def by_hand(signal, sample_rate, bands, low, high, frame_rate, size, offset):
    """Reflect, window, FFT, power, triangles on the mel scale, logarithm; float64."""
    hop = sample_rate // frame_rate
    around = np.pad(signal, size // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = range(0, len(signal) + 1, hop)
    power = np.array([abs(np.fft.rfft(around[i : i + size] * window)) ** 2 for i in starts]).T  # (bins, frames)
    mels = np.linspace(*(2595 * np.log10(1 + edge / 700) for edge in (low, high)), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.linspace(0, sample_rate / 2, size // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.log(np.maximum(0, np.minimum(rising, falling)) @ power + offset)


@pytest.mark.parametrize("size", [256, 200])
def test_by_hand(size):
    front_end = LogMel(4000, 8000, bands=20, low=100.0, high=3500.0, frame_rate=100, window=size / 8000, offset=1e-3)
    signals = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    found = front_end(signals)
    assert found.shape == (3, *front_end.shape) == (3, 1, 20, 51)
    expected = [by_hand(s.double().numpy(), 8000, 20, 100.0, 3500.0, 100, size, 1e-3) for s in signals]
    torch.testing.assert_close(found[:, 0].double(), torch.tensor(np.array(expected)), rtol=0, atol=1e-4)


def test_silence_is_the_offset_and_has_a_gradient():
    signals = torch.zeros(2, 4000)
    signals[1, :2000] = 0.1 * torch.randn(2000, generator=torch.Generator().manual_seed(0))
    signals.requires_grad_()
    values = LogMel(4000, 8000, offset=1e-3)(signals)
    torch.testing.assert_close(values[0], torch.full_like(values[0], math.log(1e-3)))
    (gradient,) = torch.autograd.grad(values.sum(), signals)
    assert gradient.isfinite().all()
    assert gradient[1].any()


def test_autocast_does_not_reach_it():
    front_end = LogMel(4000, 8000)
    signals = 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = front_end(signals)
    assert torch.equal(cast, front_end(signals))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"high": 5000.0}, "50 to 5000 Hz, expected one within 0 to 4000 Hz"),
        ({"frame_rate": 300}, "expected a divisor of 8000 Hz"),
        ({"window": 1.0}, "a window of 8000 samples"),
        ({"offset": 0.0}, "an offset of 0"),
    ],
)
def test_settings_that_make_no_sense(options, match):
    with pytest.raises(MetameryError, match=match):
        LogMel(4000, 8000, **options)


def test_signals_of_another_length():
    with pytest.raises(MetameryError, match=r"the spectrogram takes \(B, 4000\)"):
        LogMel(4000, 8000)(torch.zeros(1, 3999))
