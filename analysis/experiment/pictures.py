"""Pictures of an experiment that are not signals of a study: noise masks, icons and words at the study's size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ...framework.randomness import derived_seed
from . import drawings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.domains import ImageDomain

CONTRAST = 0.2
"""Standard deviation of a mask, in units of the range about its middle: about 1 in 80 values is clipped."""


def mask(domain: ImageDomain, exponent: float, seed: int, number: int) -> NDArray[np.float32]:
    """Return noise whose power spectrum falls as 1 / f to the power of `exponent`, ``(channels, height, width)``.

    The phases are random, and the same in all channels, so that the mask is grey. The mean is the middle of the
    domain's range, the standard deviation `CONTRAST`, and what exceeds the range is clipped.
    """
    generator = np.random.default_rng(derived_seed("mask", seed, number) % 2**64)
    rows = np.fft.fftfreq(domain.height)[:, None]
    columns = np.fft.rfftfreq(domain.width)
    frequency = np.hypot(rows, columns)  # cycles per pixel, (height, width // 2 + 1)
    frequency[0, 0] = math.inf
    spectrum = np.fft.rfft2(generator.standard_normal((domain.height, domain.width))) * frequency ** (-exponent / 2)
    noise = np.fft.irfft2(spectrum, (domain.height, domain.width))
    spread = float(noise.std())
    noise = 0.5 + CONTRAST * noise / (spread or 1.0)
    return _in_domain(noise.astype(np.float32), domain)


def sign(name: str, label: str, domain: ImageDomain, icons: bool = True) -> NDArray[np.float32]:
    """Return the icon of an answer, or without one its label as a word, ``(channels, height, width)``."""
    size = domain.height, domain.width
    drawn = drawings.icon(name, *size) if icons and name in drawings.ICONS else drawings.word(label, *size)
    return _in_domain(drawn, domain)


def _in_domain(picture: NDArray[np.float32], domain: ImageDomain) -> NDArray[np.float32]:
    scaled = domain.low + (domain.high - domain.low) * picture.clip(0, 1)
    return np.broadcast_to(scaled, domain.shape).astype(np.float32)
