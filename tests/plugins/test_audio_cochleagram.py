"""Cochleagrams: published figures, closed forms, a slow dense version, gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.framework import MetameryError
from metamery.plugins.audio.cochleagram import Cochleagram
from metamery.plugins.audio.compression import Compress
from metamery.plugins.audio.envelopes import low_pass
from metamery.plugins.audio.erb import erb_frequency, erb_number, half_cosine_bands

SMALL = {"samples": 4000, "sample_rate": 8000, "filters": 10, "low": 60.0, "high": 3500.0, "envelope_rate": 100}
TINY = {"samples": 120, "sample_rate": 8000, "filters": 3, "low": 300.0, "high": 3000.0, "envelope_rate": 2000}


def noise(batch, samples, rms=0.1, seed=0, dtype=torch.float32):
    signals = torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    signals -= signals.mean(1, keepdim=True)
    return (rms * signals / signals.square().mean(1, keepdim=True).sqrt()).to(dtype)


def sine(frequency, samples, sample_rate, amplitude=1.0, dtype=torch.float64):
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    return amplitude * torch.sin(2 * math.pi * frequency * time)[None].to(dtype)


def dense_filters(samples, sample_rate, filters, low, high, oversampling):
    """Every filter at every bin, ``(filters, bins)``: band-pass first, then their complements at both ends."""

    def scale(hertz):
        return 9.265 * np.log(1 + hertz / (24.7 * 9.265))

    number = scale(np.arange(samples // 2 + 1) * sample_rate / samples)
    edges = np.linspace(scale(low), scale(high), oversampling * (filters + 1) + 1)
    half_width = oversampling * (edges[1] - edges[0])
    inside = []
    for centre in edges[1:-1]:
        away = (number - centre) / half_width
        inside.append(np.where(abs(away) < 1, np.cos(np.pi / 2 * away), 0))
    low_pass = [np.where(number < edges[1 + i], np.sqrt(1 - inside[i] ** 2), 0) for i in range(oversampling)]
    high_pass = [
        np.where(number > edges[-2 - i], np.sqrt(1 - inside[-1 - i] ** 2), 0) for i in reversed(range(oversampling))
    ]
    return np.array(low_pass + inside + high_pass) / math.sqrt(oversampling)


def plain_envelopes(
    signals, samples=40_000, sample_rate=20_000, filters=50, low=50.0, high=10_000.0, oversampling=4, envelope_rate=200
):
    """The definition, step by step and without a thought for time and memory; float64."""
    responses = dense_filters(samples, sample_rate, filters, low, high, oversampling)
    stride = sample_rate // envelope_rate
    place = np.arange(-5 * stride, 5 * stride + 1)
    taps = np.sinc(place / stride) / stride * np.kaiser(len(place), 5)
    found = []
    for signal in signals.double().numpy():
        spectrum = np.fft.rfft(signal)
        magnitudes = [abs(np.fft.ifft(spectrum * response, samples)) for response in responses]
        begins = range(0, samples - len(taps) + 1, stride)
        found.append([[magnitude[i : i + len(taps)] @ taps for i in begins] for magnitude in magnitudes])
    return torch.tensor(found)


# Figures of Feather et al. (2023)


def test_size_of_2023():
    cochleagram = Cochleagram()
    assert cochleagram.shape == (1, 211, 390)
    assert cochleagram(noise(2, 40_000)).shape == (2, 1, 211, 390)


def test_white_noise_of_2023():
    values = Cochleagram()(noise(4, 40_000))
    assert values.mean().item() == pytest.approx(0.180, abs=1e-3)
    assert values.min().item() == pytest.approx(0.004, abs=1e-4)
    assert values.max().item() == pytest.approx(0.29, abs=0.02)


def test_sine_of_2023():
    cochleagram = Cochleagram()
    envelopes = cochleagram.envelopes(sine(1000, 40_000, 20_000, 0.1 * math.sqrt(2), torch.float32))
    best = envelopes[0].amax(1).argmax()
    assert envelopes.max().item() == pytest.approx(0.0354, abs=5e-5)
    assert (envelopes[0].amax(1) > 0.034).sum() == 1
    assert cochleagram.centres[best] == pytest.approx(1000, rel=0.01)


# The definition


@pytest.mark.parametrize("oversampling", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_the_plain_definition(oversampling, dtype):
    signals = noise(3, 4000, seed=oversampling, dtype=dtype)
    plain = plain_envelopes(signals, oversampling=oversampling, **SMALL)
    cochleagram = Cochleagram(oversampling=oversampling, **SMALL)
    envelopes = cochleagram.envelopes(signals)
    assert envelopes.shape == plain.shape
    tolerance = {torch.float32: 2e-6, torch.float64: 2e-7}[dtype]  # filters and taps are float32
    assert (envelopes - plain).abs().max() < tolerance * plain.max()
    expected = (plain.clamp(min=0) + 1e-8) ** 0.3
    torch.testing.assert_close(cochleagram(signals)[:, 0].double(), expected, rtol=0, atol=2e-4)


def test_as_the_plain_definition_at_full_size():
    signals = noise(1, 40_000, seed=5)
    plain = plain_envelopes(signals)
    assert (Cochleagram().envelopes(signals) - plain).abs().max() < 2e-6 * plain.max()


@pytest.mark.parametrize("samples", [4001, 4079, 3999])
def test_as_the_plain_definition_with_odd_lengths(samples):
    options = {**SMALL, "samples": samples}
    signals = noise(1, samples, seed=6, dtype=torch.float64)
    plain = plain_envelopes(signals, **options)
    envelopes = Cochleagram(density=8, **options).envelopes(signals)
    assert (envelopes - plain).abs().max() < 2e-3 * plain.max()


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(2000, 9000),
    filters=st.integers(1, 12),
    oversampling=st.integers(1, 5),
    low=st.floats(0, 500),
    high=st.floats(2500, 4000),
)
def test_squares_sum_to_one(samples, filters, oversampling, low, high):
    bands = half_cosine_bands(samples, 8000, filters, low, high, oversampling)
    assert len(bands.centres) == oversampling * (filters + 1) - 1 + 2 * oversampling
    total = torch.zeros(samples // 2 + 1, dtype=torch.float64)
    for first, width, response in zip(bands.first, bands.widths, bands.responses, strict=True):
        total[first : first + width] += response[:width].square()
        assert not response[width:].any()
    torch.testing.assert_close(total, torch.ones_like(total))


def test_centres_are_equally_spaced_on_the_scale():
    centres = Cochleagram().centres
    numbers = torch.tensor([erb_number(centre) for centre in centres[4:-4]], dtype=torch.float64)
    ends = erb_number(50), erb_number(10_000)
    torch.testing.assert_close(numbers, torch.linspace(*ends, 205, dtype=torch.float64)[1:-1])
    assert erb_frequency(erb_number(1234.5)) == pytest.approx(1234.5)
    assert erb_number(1000) == pytest.approx(9.265 * math.log(1 + 1000 / (24.7 * 9.265)))


@pytest.mark.parametrize("place", [40, 111, 500, 1203, 1900])
def test_a_sine_gives_half_its_amplitude_times_the_response(place):
    cochleagram = Cochleagram(oversampling=2, **SMALL)
    responses = dense_filters(4000, 8000, 10, 60.0, 3500.0, 2)[:, place]
    envelopes = cochleagram.envelopes(sine(place * 2, 4000, 8000, 0.3))[0]
    expected = torch.tensor(responses)[:, None] * 0.15 * low_pass(80).sum()
    torch.testing.assert_close(envelopes, expected.expand_as(envelopes), rtol=1e-6, atol=1e-8)


def test_the_low_pass_filter():
    taps = low_pass(100)
    assert len(taps) == 1001
    assert taps.sum().item() == pytest.approx(1.00095, abs=1e-5)
    torch.testing.assert_close(taps, taps.flip(0))
    gain = torch.fft.rfft(taps, 20_000).abs()  # at every Hz
    assert gain[100].item() == pytest.approx(0.5, abs=0.01)
    assert gain[140:].max() < 0.002


# Density


@pytest.mark.parametrize(("density", "rms", "most"), [(32, 4e-6, 1e-4), (8, 1.1e-4, 1.4e-3), (4, 6e-4, 7e-3)])
def test_a_lower_density_is_as_near_as_stated(density, rms, most):
    signals = noise(2, 40_000)
    exact = Cochleagram().envelopes(signals)
    difference = Cochleagram(density=density).envelopes(signals) - exact
    assert difference.norm() < rms * exact.norm()
    assert rms / 4 * exact.norm() < difference.norm()
    assert difference.abs().max() < most * exact.max()


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(801, 9000),
    density=st.none() | st.integers(2, 40),
    batch=st.integers(1, 300),
)
def test_every_filter_is_worked_on_once_for_each_signal(samples, density, batch):
    envelopes = Cochleagram(**{**SMALL, "samples": samples}, density=density).envelopes
    done = torch.zeros(batch, len(envelopes.widths))
    for signals, rows, group in envelopes.pieces(batch):
        done[signals, rows] += 1
        assert group.points * group.step == samples
        assert envelopes.stride % group.step == 0
        assert group.step == 1 or group.points >= density * max(envelopes.widths[rows])
        assert density is not None or group.step == 1
    assert (done == 1).all()


# Gradients


@pytest.mark.parametrize("density", [None, 4])
def test_gradient(density):
    cochleagram = Cochleagram(**TINY, oversampling=2, slope_limit=math.inf, density=density)
    assert (density is None) == (len(cochleagram.envelopes.groups) == 1)
    signals = noise(2, 120, rms=1.0, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(cochleagram.envelopes, signals)
    assert torch.autograd.gradgradcheck(cochleagram.envelopes, signals[:1].detach().requires_grad_())
    positive = Cochleagram(**TINY, oversampling=2, offset=1.0, slope_limit=math.inf, density=density)
    assert torch.autograd.gradcheck(positive, signals)


def test_gradient_as_the_plain_definitions_at_full_size():
    """A directional derivative, by central differences of the slow twin's float64."""
    signals, direction = noise(1, 40_000, seed=1, dtype=torch.float64), noise(1, 40_000, seed=2, dtype=torch.float64)
    weight = torch.randn(1, 211, 390, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = 1e-5
    ahead, behind = (plain_envelopes(signals + sign * step * direction) for sign in (1, -1))
    expected = ((ahead - behind) * weight).sum() / (2 * step)
    leaf = signals.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((Cochleagram().envelopes(leaf) * weight).sum(), leaf)
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=0)


def test_float32_is_near_float64():
    cochleagram = Cochleagram(**SMALL)
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = noise(2, 4000, dtype=dtype).requires_grad_()
        values = cochleagram(leaf)
        assert values.dtype == dtype
        results.append((values.double(), torch.autograd.grad(values.sum(), leaf)[0].double()))
    (value32, gradient32), (value64, gradient64) = results
    torch.testing.assert_close(value32, value64, rtol=1e-3, atol=1e-5)
    assert (gradient32 - gradient64).norm() < 1e-4 * gradient64.norm()


@pytest.mark.parametrize("density", [None, 8])
def test_a_signal_does_not_see_its_batch_mates(density):
    cochleagram = Cochleagram(**SMALL, density=density)
    signals = noise(5, 4000).requires_grad_()
    values = cochleagram(signals)
    (gradient,) = torch.autograd.grad(values[3].sum(), signals)
    assert not gradient[[0, 1, 2, 4]].any()
    alone = signals[3:4].detach().requires_grad_()
    value = cochleagram(alone)
    torch.testing.assert_close(value, values[3:4], rtol=1e-3, atol=1e-6)
    (own,) = torch.autograd.grad(value.sum(), alone)
    torch.testing.assert_close(gradient[3:4], own, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("density", [None, 8])
def test_silence(density):
    signals = noise(3, 4000)
    signals[1] = 0
    signals[2, 1000:] = 0
    signals.requires_grad_()
    values = Cochleagram(**SMALL, density=density)(signals)
    torch.testing.assert_close(values[1], torch.full_like(values[1], 1e-8**0.3))
    (gradient,) = torch.autograd.grad(values.sum(), signals, create_graph=True)
    assert gradient.isfinite().all()
    assert gradient[0].any()
    assert not gradient[1].any()
    (second,) = torch.autograd.grad(gradient.square().sum(), signals)
    assert second.isfinite().all()


def test_a_very_quiet_start_pulls_at_full_strength():
    """The published start of a synthesis, noise of 1e-7: directions must not get lost there."""
    cochleagram = Cochleagram(**SMALL)
    gradients = []
    for rms in (1e-7, 1e-3):
        signals = noise(1, 4000, rms).requires_grad_()
        gradients.append(torch.autograd.grad(cochleagram.envelopes(signals).sum(), signals)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3 * gradients[1].abs().max().item())


def test_the_slope_is_bounded_and_undershoot_pulls():
    x = torch.tensor([-0.1, 0.0, 1e-9, 1e-3, 0.018, 0.1, 1.0], dtype=torch.float64, requires_grad=True)
    y = Compress(0.3, 1e-8, 5.0)(x)
    torch.testing.assert_close(y, (x.clamp(min=0) + 1e-8) ** 0.3)
    (slope,) = torch.autograd.grad(y.sum(), x)
    expected = [5.0, 5.0, 5.0, 5.0, 0.3 * 0.01800001**-0.7, 0.3 * 0.10000001**-0.7, 0.3 * 1.00000001**-0.7]
    expected[4] = min(5.0, expected[4])
    torch.testing.assert_close(slope, torch.tensor(expected, dtype=torch.float64))


def test_signal_spectrum_and_envelopes_are_all_that_is_kept():
    cochleagram = Cochleagram()
    own = {buffer.data_ptr() for buffer in cochleagram.buffers()}
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    signals = noise(1, 40_000).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        cochleagram(signals).sum()
    assert sum(kept.values()) == 40_000 * 4 + 20_001 * 8 + 211 * 390 * 4


# A part of networks


def test_it_has_no_weights_and_follows_a_change_of_type():
    cochleagram = Cochleagram(**SMALL)
    assert not cochleagram.state_dict()
    assert not list(cochleagram.parameters())
    signals = noise(1, 4000, dtype=torch.float64)
    torch.testing.assert_close(cochleagram.double()(signals), Cochleagram(**SMALL)(signals))


def test_autocast_does_not_reach_it():
    cochleagram = Cochleagram(**SMALL)
    signals = noise(1, 4000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = cochleagram(signals)
    assert torch.equal(cast, cochleagram(signals))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"high": 12_000.0}, "50 to 12000 Hz, expected one within 0 to 10000 Hz"),
        ({"low": 500.0, "high": 400.0}, "500 to 400 Hz"),
        ({"envelope_rate": 300}, "expected a divisor of 20000 Hz"),
        ({"filters": 0}, "must be at least 1"),
        ({"samples": 1000}, "1000 samples are shorter than the 1001 taps"),
        ({"samples": 1001, "low": 5.0, "filters": 400}, "too short for 400 filters"),
        ({"density": 1}, "density = 1, expected None or a whole number from 2"),
        ({"exponent": 0.0}, "expected numbers above 0"),
    ],
)
def test_settings_that_make_no_sense(options, match):
    with pytest.raises(MetameryError, match=match):
        Cochleagram(**options)


@pytest.mark.parametrize("shape", [(2, 3999), (4000,), (1, 1, 4000)])
def test_signals_of_another_shape(shape):
    with pytest.raises(MetameryError, match=r"the cochleagram takes \(B, 4000\)"):
        Cochleagram(**SMALL)(torch.zeros(shape))
