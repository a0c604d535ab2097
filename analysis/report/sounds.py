"""What the page shows of a sound: its level, its spectrogram and its cochleagram, with axes in seconds and hertz."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from PIL import Image
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from ...framework.domains import WaveformDomain
from ..studies.media import data_uri, level

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 250

RANGE = 60.0
"""Level below the loudest, in dB, at which a spectrogram ends."""

_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 40, 6, 16, 30, 22
_PANEL = (HEIGHT - _TOP - _BOTTOM - _GAP) // 2
_WINDOW = 0.025  # s
_FRAMES = 200
_BANDS = 48
_POWER = 0.3
_OCTAVES = (100, 500, 1000, 2000, 4000, 8000, 16000)  # Hz
_MAP = "magma"
_INK = "#767676"  # stands out against both the light and the dark page


def picture_of_sound(signal: NDArray[np.float32], domain: WaveformDomain) -> str:
    """Draw a waveform ``(T,)`` as SVG: above its spectrogram, 60 dB deep; below its cochleagram; and write its level.

    The cochleagram is of half-cosine bands, evenly spaced on the ERB scale, of the spectrogram's amplitudes, raised to
    the power of 0.3 as in Feather et al. (2023, Methods): a picture for the eye, not the front end of a network.
    """
    seconds, nyquist = len(signal) / domain.sample_rate, domain.sample_rate / 2
    amplitudes = _amplitudes(signal, domain.sample_rate)  # (frequency, time)
    loudness = _decibels(amplitudes) / RANGE + 1
    frequencies = np.linspace(0, nyquist, len(amplitudes))
    bands = _bands(frequencies) @ amplitudes
    compressed = (bands / max(float(bands.max()), 1e-12)) ** _POWER
    linear = [(hertz / nyquist, hertz) for hertz in _round(nyquist)]
    highest = float(_erb(nyquist))
    cochlear = [(float(_erb(hertz)) / highest, hertz) for hertz in _OCTAVES if hertz < nyquist]
    second = _TOP + _PANEL + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="10" fill="{_INK}">'
        + f'<text x="{WIDTH - _RIGHT}" y="{_TOP - 5}" text-anchor="end">{_level(signal, domain)}</text>'
        + _panel(loudness, _TOP, "spectrogram (Hz)", linear)
        + _panel(compressed, second, "cochleagram (Hz)", cochlear)
        + _times(seconds)
        + "</svg>"
    )


def spectrogram(signal: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each frequency from 0 Hz to half the sample rate over time, ``(frequency, time)``.

    In dB relative to the loudest, which is 0; the windows are of 25 ms.
    """
    return _decibels(_amplitudes(signal, sample_rate))


def _decibels(amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    peak = max(float(amplitudes.max()), 1e-12)
    return np.asarray(20 * np.log10(np.maximum(amplitudes / peak, 1e-12)))


def _level(signal: NDArray[np.float32], domain: WaveformDomain) -> str:
    peak, rms = level(signal, domain)
    if not np.isfinite(peak):
        return "silent"
    return f"peak {peak:.1f}, RMS {rms:.1f} dBFS".replace("-", "&#8722;")


def _amplitudes(signal: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    window = max(8, round(_WINDOW * sample_rate))
    hop = max(1, len(signal) // _FRAMES)
    transform = ShortTimeFFT(hann(window, sym=False), hop, sample_rate, scale_to="magnitude")
    if len(signal) < window:
        signal = np.pad(signal, (0, window - len(signal)))
    return np.abs(transform.stft(signal.astype(np.float64)))


def _erb(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Number of equivalent rectangular bandwidths below a frequency (Glasberg & Moore 1990)."""
    return np.asarray(9.265 * np.log1p(np.asarray(hertz) / (24.7 * 9.265)))


def _bands(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half-cosine weights of each frequency in each band, ``(band, frequency)``, which sum to 1 in each band."""
    numbers = _erb(frequencies)
    spacing = numbers[-1] / (_BANDS + 1)
    away = (numbers - spacing * np.arange(1, _BANDS + 1)[:, None]) / spacing
    weights = np.where(np.abs(away) < 1, np.cos(np.pi / 2 * away), 0.0)
    nearest = np.abs(away) == np.abs(away).min(axis=1, keepdims=True)  # a band narrower than the window's resolution
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, nearest)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _panel(values: NDArray[np.float64], top: int, title: str, ticks: Sequence[tuple[float, float]]) -> str:
    shown = (255 * np.clip(values[::-1], 0, 1)).astype(np.uint8)
    image = Image.fromarray(shown).convert("P")
    colours = (255 * colormaps[_MAP](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    width = WIDTH - _LEFT - _RIGHT
    marks = "".join(
        f'<text x="{_LEFT - 4}" y="{top + _PANEL * (1 - share) + 3:.1f}" text-anchor="end">{hertz:g}</text>'
        f'<path d="M{_LEFT - 2} {top + _PANEL * (1 - share):.1f}h2" stroke="{_INK}"/>'
        for share, hertz in ticks
    )
    return (
        f'<text x="{_LEFT}" y="{top - 5}">{title}</text>'
        f'<image x="{_LEFT}" y="{top}" width="{width}" height="{_PANEL}" preserveAspectRatio="none" '
        f'href="{data_uri(buffer.getvalue(), "image/png")}"/>{marks}'
    )


def _times(seconds: float) -> str:
    width, base = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM
    marks = "".join(
        f'<text x="{_LEFT + width * time / seconds:.1f}" y="{base + 13}" text-anchor="middle">{time:g}</text>'
        f'<path d="M{_LEFT + width * time / seconds:.1f} {base}v2" stroke="{_INK}"/>'
        for time in _round(seconds)
    )
    return f'{marks}<text x="{_LEFT + width / 2}" y="{HEIGHT - 4}" text-anchor="middle">time (s)</text>'


def _round(most: float) -> list[float]:
    """Round numbers from 0 to `most`, about four."""
    rough = most / 4
    scale = 10 ** np.floor(np.log10(rough))
    step = float(min((factor for factor in (1, 2, 2.5, 5, 10)), key=lambda factor: abs(factor * scale - rough)) * scale)
    return [round(step * count, 10) for count in range(int(most / step + 1e-9) + 1)]
