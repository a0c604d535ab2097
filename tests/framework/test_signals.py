"""Signals as people bring them: what is right stays, what is on another scale is refused by its range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.framework import ImageDomain, MetameryError, Stimulus, WaveformDomain
from PIL import Image
from torchvision import tv_tensors

PICTURES = ImageDomain(3, 8, 8)
BASE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
DIVIDE = "divide by 255$"

T = np.arange(2000) / 1000
TONE = 0.3 * np.sin(2 * np.pi * 44 * T)
LEVELS = [0.1, None]


def picture(signal: Any) -> torch.Tensor:
    return PICTURES.fit(Stimulus(signal, name="mine"))


def sound(signal: Any, rate: Any = 1000, rms: float | None = None, **rest: Any) -> torch.Tensor:
    return WaveformDomain(2000, 1000, rms=rms, **rest).fit(Stimulus(signal, name="mine", sample_rate=rate))


def refused(call: Any, *given: Any, said: str) -> None:
    with pytest.raises(MetameryError, match=said) as caught:
        call(*given)
    assert str(caught.value).startswith("stimulus 'mine' ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        BASE.double(),
        BASE.numpy(),
        BASE.double().numpy(),
        BASE.numpy()[:, ::-1][:, ::-1],
        np.moveaxis(np.ascontiguousarray(np.moveaxis(BASE.numpy(), 0, -1)), -1, 0),
        BASE.numpy().astype(">f4"),
        BASE.tolist(),
        xr.DataArray(BASE.numpy()),
        BASE.clone().requires_grad_(),
        BASE.to_sparse(),
        np.ma.masked_array(BASE.numpy()),
        tv_tensors.Image(BASE),
    ],
)
def test_a_picture_in_the_range_stays_whatever_holds_it(given: Any) -> None:
    assert torch.equal(picture(given), BASE)


def test_an_array_that_cannot_be_written_to_will_do_and_is_left_alone() -> None:
    given = BASE.numpy().copy()
    given.flags.writeable = False
    picture(given)[0] = 0
    assert np.array_equal(given, BASE.numpy())


def test_black_and_white_may_be_true_and_false() -> None:
    assert torch.equal(picture(BASE > 0.5), (BASE > 0.5).float())


def test_half_precision_and_a_little_overshoot_are_right() -> None:
    assert torch.allclose(picture(BASE.half()), BASE, atol=1e-3)
    over = BASE.clone()
    over[0, 0, 0], over[0, 0, 1] = -0.009, 1.009
    fitted = picture(over)
    assert fitted[0, 0, :2].tolist() == [0, 1]
    assert torch.equal(fitted[1:], BASE[1:])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            (BASE * 255).to(torch.uint8),
            f"is of type uint8 with values from 0 to 25[0-9], expected a floating.*{DIVIDE}",
        ),
        ((BASE * 255).byte().numpy(), f"is of type uint8 .* with values from 0 to 1: {DIVIDE}"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), f"is of type uint8 with values from 0 to 0.*{DIVIDE}"),
        ((BASE * 255).int().tolist(), f"is of type int64 .*{DIVIDE}"),
        ((BASE * 65535).numpy().astype(np.uint16), "is of type uint16 .*divide by 65535$"),
        (BASE * 255, rf"has values from [\d.]+ to 25[\d.]+, expected 0 to 1: {DIVIDE}"),
        (BASE * 65535, "has values from .*, expected 0 to 1: divide by 65535$"),
        ((BASE - MEAN) / STD, r"has values from -2\.\d+ to 2\.\d+, expected 0 to 1: undo the normalisation"),
        (BASE * 2 - 1, r"has values from -0\.\d+ to 0\.\d+, expected 0 to 1: .* \(signal \+ 1\) / 2"),
        (BASE - BASE.mean(), r"has values from -0\.\d+ to 0\.\d+, expected 0 to 1"),
        (BASE * 1.2, r"has values from 0\.\d+ to 1\.\d+, expected 0 to 1: clamp it"),
        (torch.where(BASE < 0.1, torch.nan, BASE), "has pixels that are NaN or infinite"),
        (torch.where(BASE < 0.1, torch.inf, BASE), "has pixels that are NaN or infinite"),
        (np.full((3, 8, 8), 1e300), "has pixels that are NaN or infinite"),
        (BASE.permute(1, 2, 0), r"has 8 channels, the model takes 3: its shape \(8, 8, 3\) looks like \(height"),
        (BASE[None], r"has shape \(1, 3, 8, 8\), expected a picture .* a stimulus of its own"),
        (BASE[0], r"has shape \(8, 8\), expected a picture .* signal\[None\]"),
        (BASE.to(torch.complex64), "is a Tensor of type complex64, expected a floating"),
        (Image.new("RGB", (8, 8)), r"is a PIL image, expected .*to_tensor\(image\)"),
        (np.ma.masked_less(BASE.numpy(), 0.1), "has masked values, expected .*: fill them"),
        (tv_tensors.Image((BASE * 255).byte()), f"is of type uint8 .*{DIVIDE}"),
        ("photo.png", "is a str of type .*, expected a floating-point picture"),
        (None, "is a NoneType of type object, expected"),
        ([[0.5, 0.1], [0.3]], "is a list, expected"),
        (BASE.to("meta"), "is a Tensor, expected"),
    ],
)
def test_a_picture_on_another_scale_or_in_another_form_is_refused(given: Any, said: str) -> None:
    refused(picture, given, said=said)


@pytest.mark.parametrize("rms", LEVELS)
@pytest.mark.parametrize(
    "given", [TONE, TONE.astype(np.float32), torch.from_numpy(TONE), TONE.tolist(), TONE[::-1].copy()[::-1]]
)
def test_a_sound_within_full_scale_is_right_whatever_holds_it(given: Any, rms: float | None) -> None:
    fitted = sound(given, rms=rms).numpy()
    assert abs(np.corrcoef(fitted, TONE)[0, 1]) > 0.9999
    assert np.sqrt(np.mean(fitted**2)) == pytest.approx(rms or 0.3 / math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("rms", LEVELS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            (TONE * 32767).astype(np.int16),
            "is of type int16 with values from -98.* to 98.*, expected .*divide by 32768$",
        ),
        ((TONE * 2**31).astype(np.int32), "is of type int32 .*divide by 2147483648$"),
        (((TONE + 1) * 127.5).astype(np.uint8), "is of type uint8 .*subtract 128 and divide by 128$"),
        (TONE > 0, "is a ndarray of type bool, expected|is an ndarray of type bool, expected"),
        (TONE * 32767, "has values from -98.* to 98.*, expected −1 to 1: if these are 16-bit samples, divide by 32768"),
        (TONE * 2**31, "expected −1 to 1: if these are 32-bit samples, divide by 2147483648"),
        ((TONE + 1) * 127.5, "expected −1 to 1: if these are 8-bit samples, subtract 128 and divide by 128"),
        (TONE[None], r"has shape \(1, 2000\), expected a mono waveform \(samples,\): .* signal\[0\]"),
        (TONE[:, None], r"has shape \(2000, 1\), expected a mono waveform .* signal\[:, 0\]"),
        (np.stack([TONE, TONE], 1), r"has shape \(2000, 2\), expected a mono .* one of its 2 channels, or their mean"),
        ((TONE, 1000), "is a tuple, expected a floating-point waveform"),
    ],
)
def test_a_sound_on_another_scale_or_in_another_form_is_refused(given: Any, said: str, rms: float | None) -> None:
    refused(lambda: sound(given, rms=rms), said=said)


def test_a_sound_a_little_above_full_scale_is_clamped() -> None:
    fitted = sound(np.clip(TONE * 4, -1.009, 1.009))
    assert float(fitted.abs().max()) == 1


def test_peaks_beyond_full_scale_are_taken_only_where_the_level_is_set() -> None:
    given = TONE / TONE.std()
    assert np.corrcoef(sound(given, rms=0.1).numpy(), TONE)[0, 1] > 0.9999
    refused(sound, given, said=r"has values from -1\.41\d* to 1\.41\d*, expected −1 to 1: divide by its peak, 1\.41")
    refused(lambda: sound(given * 10, rms=0.1), said="expected −1 to 1: if these are 16-bit samples, divide by 32768")


def test_a_wider_domain_takes_its_own_full_scale() -> None:
    wide = {"low": -32768.0, "high": 32768.0}
    assert np.abs(sound(TONE * 32767, **wide).numpy() - TONE * 32767).max() < 0.1
    refused(lambda: sound(TONE * 200_000, **wide), said="expected −32768 to 32768")


@pytest.mark.parametrize("rate", [1000, 1000.0, np.int64(1000), np.float32(1000)])
def test_a_whole_number_is_a_sample_rate_whatever_its_type(rate: Any) -> None:
    assert torch.equal(sound(TONE, rate), sound(TONE, 1000))


@pytest.mark.parametrize("rate", [0, -5, 22050.5, "20000", True, math.nan, math.inf, [1000], 0.5])
def test_what_is_not_a_sample_rate_is_refused(rate: Any) -> None:
    refused(sound, TONE, rate, said=r"has sample rate .*, expected a whole number of Hz above 0")


@pytest.mark.parametrize("rate", [10**9, 2**32 - 1, 10**30])
def test_a_rate_at_which_the_sound_is_over_at_once_is_refused(rate: int) -> None:
    refused(sound, TONE, rate, said="lasts .* ms, expected at least 10 ms")
