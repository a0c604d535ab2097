"""Thin pictures and sounds of odd rates: the same result as scaled as a whole, in little memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchaudio
from inputs import PEAK_MEMORY, on_linux
from metamery.framework import Stimulus, WaveformDomain, resampling
from torchvision.transforms.v2 import functional as transforms


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def scaled_whole(signal: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What was done before: scale, then crop."""
    own_height, own_width = signal.shape[1:]
    scale = max(height / own_height, width / own_width)
    size = [max(height, round(own_height * scale)), max(width, round(own_width * scale))]
    if size != [own_height, own_width]:
        signal = transforms.resize(signal, size, interpolation=transforms.InterpolationMode.BICUBIC, antialias=True)
    return transforms.center_crop(signal, [height, width])


SIZES = [(40, 40), (31, 64), (64, 31), (3, 500), (500, 3), (1, 7), (7, 1), (90, 1000), (1001, 33), (2, 2), (300, 200)]


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("size", [(8, 8), (24, 10), (10, 24), (33, 33)])
def test_ordinary_pictures_are_bit_for_bit_what_they_were(own: tuple[int, int], size: tuple[int, int]) -> None:
    signal = drawn(3, *own)
    assert torch.equal(resampling.cover(signal, *size), scaled_whole(signal, *size))


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("size", [(8, 8), (24, 10), (10, 24), (33, 33)])
def test_cropping_before_scaling_changes_nothing_beyond_rounding(own: tuple[int, int], size: tuple[int, int]) -> None:
    signal = drawn(3, *own)
    cropped = resampling.cover(signal, *size, most=0)
    torch.testing.assert_close(cropped, scaled_whole(signal.double(), *size).float(), rtol=0, atol=5e-6)


PAIRS = [(441, 200), (200, 441), (1000, 999), (999, 1000), (4001, 500), (500, 4001), (7, 3)]


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
@pytest.mark.parametrize("samples", [50, 10_000])
def test_ordinary_sounds_are_bit_for_bit_what_they_were(rate: int, new_rate: int, samples: int) -> None:
    signal = drawn(3000)
    whole = torchaudio.functional.resample(resampling.centred(signal), rate, new_rate)
    first = max(0, (len(whole) - samples) // 2)
    found = resampling.resampled_middle(signal, rate, new_rate, samples)
    assert torch.equal(found, whole[first : first + samples])
    assert len(whole) == resampling.resampled_length(len(signal), rate, new_rate)


@pytest.mark.parametrize(("rate", "new_rate"), [*PAIRS, (5, 5)])
@pytest.mark.parametrize("samples", [50, 100_000])
def test_the_kept_part_alone_is_resampled_as_torchaudio_does(rate: int, new_rate: int, samples: int) -> None:
    signal = drawn(30_000)
    exact = signal.double() - signal.double().mean()
    whole = torchaudio.functional.resample(exact, rate, new_rate)
    first = max(0, (len(whole) - samples) // 2)
    found = resampling.resampled_middle(signal, rate, new_rate, samples, most=0)
    torch.testing.assert_close(found, whole[first : first + samples].float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("most", [0, resampling.MAX_SAMPLES])
def test_a_steeper_filter_is_torchaudios(most: int) -> None:
    signal = drawn(3000)
    exact = signal.double() - signal.double().mean()
    whole = torchaudio.functional.resample(exact, 441, 200, 64).float()
    found = resampling.resampled_middle(signal, 441, 200, len(whole), most=most, zeros=64)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_a_tone_at_a_coprime_rate_is_the_same_tone() -> None:
    times = torch.arange(44_101, dtype=torch.float64) / 44_101
    domain = WaveformDomain(8000, 20_000, rms=None)
    fitted = domain.fit(Stimulus(0.5 * torch.sin(2 * torch.pi * 440 * times), sample_rate=44_101))
    kept = (torch.arange(8000, dtype=torch.float64) + 6000) / 20_000
    torch.testing.assert_close(fitted.double(), 0.5 * torch.sin(2 * torch.pi * 440 * kept), rtol=0, atol=2e-3)


MEMORY = """
import sys, torch
from metamery.framework import ImageDomain, Stimulus, WaveformDomain
import torchaudio.functional, torchvision.transforms.v2
picture, sound = ImageDomain(3, 224, 224), WaveformDomain(40_000, 20_000)
picture.fit(Stimulus(torch.rand(3, 300, 200)))
sound.fit(Stimulus(torch.rand(80_000), sample_rate=44_100))
before = peak_memory()
for fit in (
    lambda: picture.fit(Stimulus(torch.rand(3, 1, 4000))),
    lambda: picture.fit(Stimulus(torch.rand(3, 100_000, 2))),
    lambda: sound.fit(Stimulus(torch.rand(90_000), sample_rate=44_101)),
    lambda: sound.fit(Stimulus(torch.rand(100_000), sample_rate=1)),
    lambda: sound.fit(Stimulus(torch.rand(3_000_000), sample_rate=199_999_999)),
    lambda: sound.fit(Stimulus(torch.rand(20_000_000), sample_rate=44_100)),
):
    assert fit().isfinite().all()
    print((peak_memory() - before) // 2**20)
"""


@on_linux
def test_thin_pictures_and_odd_rates_take_little_memory() -> None:
    script = PEAK_MEMORY + MEMORY
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    megabytes = [int(line) for line in done.stdout.split()]
    assert len(megabytes) == 6
    assert max(megabytes) < 300
