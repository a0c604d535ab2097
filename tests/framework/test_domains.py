"""Domains: the one place where a natural signal is brought into the form that a model takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import ImageDomain, MetameryError, Stimulus, WaveformDomain
from metamery.framework.domains import domain_from
from PIL import Image


def picture(*shape: int, seed: int = 0) -> Stimulus:
    return Stimulus(torch.rand(shape, generator=torch.Generator().manual_seed(seed)), name="picture")


def sound(signal: torch.Tensor, rate: int | None = 1000) -> Stimulus:
    return Stimulus(signal, name="sound", sample_rate=rate)


# Images


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    given = picture(3, 6, 9)
    assert torch.equal(ImageDomain(3, 6, 9).fit(given), given.signal)


def test_only_the_middle_is_kept() -> None:
    given = picture(3, 8, 20)
    assert torch.equal(ImageDomain(3, 8, 8).fit(given), given.signal[:, :, 6:14])
    given = picture(3, 20, 8)
    assert torch.equal(ImageDomain(3, 8, 8).fit(given), given.signal[:, 6:14])


@pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31), (5, 9), (9, 5), (1, 1), (100, 3)])
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (12, 8)])
def test_the_result_always_has_the_domains_shape(height: int, width: int, size: tuple[int, int]) -> None:
    domain = ImageDomain(3, *size, low=-1.0, high=3.0)
    fitted = domain.fit(picture(3, height, width))
    assert fitted.shape == domain.shape
    assert fitted.dtype == torch.float32
    assert fitted.is_contiguous()
    assert fitted.min() >= -1
    assert fitted.max() <= 3


def test_scaling_is_antialiased_and_bicubic_as_pillow_does_it() -> None:
    values = (torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)) * 255).byte()
    fitted = ImageDomain(3, 10, 10).fit(Stimulus(values.float() / 255, name="picture"))
    image = Image.fromarray(values.permute(1, 2, 0).numpy()).resize((10, 10), Image.Resampling.BICUBIC)
    assert np.abs(fitted.permute(1, 2, 0).numpy() * 255 - np.asarray(image)).max() <= 1.0


def test_the_short_side_is_scaled_and_the_long_side_cropped() -> None:
    given = picture(1, 40, 80)
    whole = ImageDomain(1, 10, 20).fit(given)
    torch.testing.assert_close(ImageDomain(1, 10, 10).fit(given), whole[:, :, 5:15])


def test_a_uniform_picture_stays_uniform_and_is_mapped_to_the_range() -> None:
    fitted = ImageDomain(3, 8, 8, low=-2.0, high=6.0).fit(Stimulus(torch.full((3, 30, 17), 0.25)))
    torch.testing.assert_close(fitted, torch.zeros(3, 8, 8), atol=1e-5, rtol=0)


def test_a_grey_picture_is_repeated_over_the_channels() -> None:
    given = picture(1, 8, 8)
    fitted = ImageDomain(3, 8, 8).fit(given)
    assert all(torch.equal(channel, given.signal[0]) for channel in fitted)
    fitted[0] = 0  # its channels are not the same memory
    assert torch.equal(fitted[1], given.signal[0])


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels: int) -> None:
    with pytest.raises(MetameryError, match=f"'picture' has {channels} channels, the model takes 3"):
        ImageDomain(3, 8, 8).fit(picture(channels, 8, 8))


@pytest.mark.parametrize("shape", [(8,), (8, 8), (1, 3, 8, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MetameryError, match=r"'picture' has shape .* expected a picture \(channels, height, width\)"):
        ImageDomain(3, 8, 8).fit(picture(*shape))


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(MetameryError, match="'picture' is empty"):
        ImageDomain(3, 8, 8).fit(picture(3, 0, 8))


# Waveforms


def test_a_sound_of_the_right_length_is_centred_and_set_to_its_level() -> None:
    wave = torch.sin(torch.arange(100) * (2 * math.pi / 10))
    fitted = WaveformDomain(100, 1000).fit(sound(0.5 * wave + 0.3))
    torch.testing.assert_close(fitted, wave * (0.1 * math.sqrt(2)), atol=1e-5, rtol=0)


@given(st.integers(10, 60), st.floats(0.01, 0.2))
def test_mean_and_level_are_those_of_the_sound_without_its_padding(length: int, rms: float) -> None:
    generator = torch.Generator().manual_seed(length)
    fitted = WaveformDomain(40, 1000, rms=rms).fit(sound(2 * torch.rand(length, generator=generator) - 1))
    first = max(0, (40 - length) // 2)
    kept = fitted[first : first + length]
    assert fitted.shape == (40,)
    assert not fitted[:first].any()
    assert not fitted[first + length :].any()
    if fitted.abs().max() < 1:
        assert float(kept.mean()) == pytest.approx(0, abs=1e-6)
        assert float(kept.square().mean().sqrt()) == pytest.approx(rms, rel=1e-4)


def test_the_middle_of_a_long_sound_is_kept() -> None:
    ramp = torch.arange(11, dtype=torch.float32)
    fitted = WaveformDomain(5, 1000, low=-10.0, high=10.0, rms=None).fit(sound(ramp))
    assert fitted.tolist() == [-2, -1, 0, 1, 2]


def test_a_tone_is_resampled_to_the_same_tone() -> None:
    def tone(rate: int) -> torch.Tensor:
        return torch.sin(torch.arange(rate) * (2 * math.pi * 50 / rate))

    fitted = WaveformDomain(1000, 1000, rms=None).fit(sound(tone(4000), 4000))
    torch.testing.assert_close(fitted[50:-50], tone(1000)[50:-50], atol=0.01, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("rate", [1000, 4410])
def test_silence_has_no_level_to_set(value: float, rate: int) -> None:
    given = sound(torch.full((300,), value), rate)
    with pytest.raises(MetameryError, match=r"'sound' is silent: its RMS cannot be set to 0\.1"):
        WaveformDomain(40, 1000).fit(given)
    assert not WaveformDomain(40, 1000, rms=None).fit(given).any()


def test_a_sound_that_is_silent_where_the_model_hears_it_is_refused() -> None:
    given = torch.zeros(1000)
    given[:100] = torch.rand(100, generator=torch.Generator().manual_seed(0)) - 0.5
    with pytest.raises(MetameryError, match="'sound' is silent in its middle, which is what the model gets: its RMS"):
        WaveformDomain(400, 1000).fit(sound(given))
    assert WaveformDomain(1000, 1000).fit(sound(given)).any()


def test_a_faint_sound_is_set_to_its_level() -> None:
    wave = torch.sin(torch.arange(100) * (2 * math.pi / 10))
    torch.testing.assert_close(
        WaveformDomain(100, 1000).fit(sound(1e-20 * wave)), wave * (0.1 * math.sqrt(2)), atol=1e-5, rtol=0
    )


def test_an_offset_does_not_ring_at_the_ends() -> None:
    wave = torch.sin(torch.arange(4410) * (2 * math.pi * 50 / 4410))
    domain = WaveformDomain(2000, 2000, rms=None)
    offset = domain.fit(sound(0.1 * wave + 0.8, 4410))
    torch.testing.assert_close(offset, domain.fit(sound(0.1 * wave, 4410)), atol=1e-6, rtol=0)


def test_a_sound_stays_in_the_range() -> None:
    spike = torch.zeros(1000)
    spike[500] = 1.0
    fitted = WaveformDomain(1000, 1000, rms=0.5).fit(sound(spike))
    assert fitted.max() == 1.0


def test_peaks_beyond_20_db_are_clamped() -> None:
    wave = torch.ones(1000)
    wave[::2] = -1
    for peak, clamped in ((9.0, False), (20.0, True)):
        given = wave / peak
        given[100], given[101] = -1, 1
        fitted = WaveformDomain(1000, 1000).fit(sound(given))
        assert bool((fitted.abs() == 1).any()) is clamped
        level = float(fitted.square().mean().sqrt())
        assert (level < 0.0999) is clamped
        assert level == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize(
    ("stimulus", "said"),
    [
        (sound(torch.zeros(2, 30)), r"expected a mono waveform \(samples,\)"),
        (sound(torch.zeros(30), None), "'sound' has no sample rate, the model takes 1000 Hz"),
        (sound(torch.zeros(3, 8, 8), None), "'sound' is a picture: it has no sample rate, the model takes 1000 Hz"),
        (sound(torch.zeros(0)), "'sound' is empty"),
        (sound(torch.tensor([0.0, math.nan] * 20)), "'sound' has samples that are NaN or infinite"),
        (sound(torch.tensor([0.0, math.inf] * 20)), "'sound' has samples that are NaN or infinite"),
        (sound(torch.rand(9)), "'sound' lasts 9 ms, expected at least 10 ms"),
        (sound(torch.rand(396), 44_000), "'sound' lasts 9 ms, expected at least 10 ms"),
    ],
)
def test_what_is_no_sound_is_refused(stimulus: Stimulus, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        WaveformDomain(40, 1000).fit(stimulus)


def test_a_sound_that_fills_a_tiny_domain_is_long_enough() -> None:
    assert WaveformDomain(5, 1000).fit(sound(torch.rand(5))).shape == (5,)
    with pytest.raises(MetameryError, match="lasts 4 ms"):
        WaveformDomain(5, 1000).fit(sound(torch.rand(4)))


@pytest.mark.parametrize("rms", [0.0, -0.1, math.nan, math.inf])
def test_a_level_that_cannot_be_set_is_refused(rms: float) -> None:
    with pytest.raises(MetameryError, match=r"a domain's rms is .*, expected a number above 0, or None"):
        WaveformDomain(5, 1000, rms=rms)


def test_the_level_is_part_of_the_domain() -> None:
    domains = [WaveformDomain(5, 1000), WaveformDomain(5, 1000, rms=0.2), WaveformDomain(5, 1000, rms=None)]
    assert len(set(domains)) == 3
    assert domains[0] == WaveformDomain(5, 1000, -1.0, 1.0, 0.1)


# Quantisation

DOMAINS = [
    ImageDomain(3, 8, 8),
    ImageDomain(1, 4, 4, -2.0, 3.0),
    WaveformDomain(64, 1000),
    WaveformDomain(64, 1, -2, 2),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_quantising_moves_by_half_a_level_at_most_and_only_once(domain: Any) -> None:
    levels = 255 if domain.kind == "image" else 65534
    drawn = torch.rand(4, *domain.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signals = domain.low + (domain.high - domain.low) * drawn
    once = domain.quantise(signals)
    level = (domain.high - domain.low) / levels
    assert float((once - signals).abs().max()) <= level / 2 * (1 + 1e-9)
    assert not torch.equal(once, signals)
    torch.testing.assert_close(domain.quantise(once), once, rtol=0, atol=level * 1e-6)
    ends = torch.tensor([domain.low, domain.high], dtype=torch.float64)
    torch.testing.assert_close(domain.quantise(ends), ends)


def test_an_8_bit_picture_is_already_quantised() -> None:
    signals = torch.arange(256, dtype=torch.float64) / 255
    assert torch.equal(ImageDomain(1, 16, 16).quantise(signals), signals)


def test_a_domain_describes_itself() -> None:
    assert str(ImageDomain(3, 8, 9)) == "image, 3 × 8 × 9, values in [0, 1]"
    said = "waveform, 500 samples (0.5 s at 1000 Hz), values in [-1, 1]"
    assert str(WaveformDomain(500, 1000)) == f"{said}, RMS 0.1"
    assert str(WaveformDomain(500, 1000, rms=None)) == f"{said}, level as it is"


@pytest.mark.parametrize(
    "attributes",
    [
        {"domain_kind": "image", "low": "float64"},
        {"domain_kind": "waveform"},
        {"domain_kind": "waveform", "sample_rate": 10**400, "rms": [0.1]},
    ],
)
def test_damaged_attributes_of_a_domain_are_said_in_one_line(attributes: dict[str, object]) -> None:
    with pytest.raises(MetameryError, match="the results are damaged: the domain of a model cannot be read"):
        domain_from(attributes, {"time": 10, "y": 2, "x": 2})
