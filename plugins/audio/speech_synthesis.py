"""A small formant synthesiser, which speaks words from phonemes.

Sources and filters (Fant 1960, *Acoustic theory of speech production*; Klatt 1980, JASA 67:971): the voice, a sum of
harmonics, and breath pass through the resonances of the vocal tract, the hiss of a consonant through a resonance of
its own. The targets of successive phonemes are smoothed into each other. Filters are gains over frequency, so that
nothing aliases at a low sample rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from ...framework.errors import MetameryError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Track = NDArray[np.float64]

SAMPLE_RATE = 8000

_GLIDE, _ONSET = 0.10, 0.015  # s, over which formants and levels move from one target to the next
_FADE = 800  # samples, over which a word fades out
_BLOCK, _HOP = 128, 32  # samples of filtered noise
_FOURTH_FORMANT = 3400.0  # Hz, of a man
_BANDWIDTHS = (60.0, 90.0, 150.0, 250.0)  # Hz
_PEAK = 0.5  # of full scale


@dataclass(frozen=True)
class Phoneme:
    """Target of the vocal tract.

    Parameters
    ----------
    formants
        First three resonances of a man's vocal tract, in Hz.
    voice, breath, hiss
        Levels of the three sources, in dB re a vowel's voice; None is silence.
    hiss_at
        Resonance of the hiss: its frequency and bandwidth, in Hz.
    """

    formants: tuple[float, float, float]
    voice: float | None = None
    breath: float | None = None
    hiss: float | None = None
    hiss_at: tuple[float, float] = (3000.0, 3000.0)


@dataclass(frozen=True)
class Voice:
    """A speaker: pitch at the beginning and the end of a word, in Hz, and a factor for a man's formants."""

    name: str
    pitch: tuple[float, float]
    tract: float


VOICES = (Voice("man", (130.0, 95.0), 1.0), Voice("woman", (225.0, 170.0), 1.16))

PHONEMES: Mapping[str, Phoneme] = {
    # vowels: a man's formants after Peterson & Barney (1952, JASA 24:175), without e, o and ə; a begins "I"
    "i": Phoneme((270, 2290, 3010), voice=0),
    "ɪ": Phoneme((390, 1990, 2550), voice=0),
    "e": Phoneme((480, 1950, 2550), voice=0),
    "ɛ": Phoneme((530, 1840, 2480), voice=0),
    "a": Phoneme((730, 1190, 2440), voice=0),
    "ʌ": Phoneme((640, 1190, 2390), voice=0),
    "ə": Phoneme((500, 1500, 2480), voice=-6),
    "ɔ": Phoneme((570, 840, 2410), voice=0),
    "o": Phoneme((500, 900, 2300), voice=0),
    "ʊ": Phoneme((440, 1020, 2240), voice=-3),
    "ɚ": Phoneme((490, 1350, 1690), voice=-3),
    "u": Phoneme((300, 870, 2240), voice=0),
    # consonants: formants after Klatt (1980, table III), except those of n: first of a murmur, second of an alveolar
    "w": Phoneme((290, 610, 2150), voice=-6),
    "r": Phoneme((310, 1060, 1380), voice=-4),
    "n": Phoneme((280, 1700, 2500), voice=-6),
    "v": Phoneme((220, 1100, 2080), voice=-10, hiss=-32),
    "z": Phoneme((240, 1390, 2530), voice=-12, hiss=-20, hiss_at=(3900, 600)),
    "f": Phoneme((340, 1100, 2080), hiss=-26),
    "θ": Phoneme((320, 1290, 2540), hiss=-30),
    "s": Phoneme((320, 1390, 2530), hiss=-10, hiss_at=(4000, 500)),
    # a stop is its closure, its burst, and breath into the next phoneme
    "t-": Phoneme((400, 1600, 2600)),
    "t": Phoneme((400, 1600, 2600), hiss=-8, hiss_at=(3600, 1500)),
    "tʰ": Phoneme((350, 1300, 2400), breath=-16, hiss=-22, hiss_at=(3600, 1500)),
    "k-": Phoneme((300, 1990, 2850)),
    "k": Phoneme((300, 1990, 2850), hiss=-8, hiss_at=(1900, 500)),
}


def speak(name: str, sounds: Sequence[tuple[str, float]], voice: Voice) -> NDArray[np.float32]:
    """Speak phonemes.

    Parameters
    ----------
    name
        Name of the word, from which the noise is seeded.
    sounds
        Phonemes, of `PHONEMES`, with their durations in s.
    voice
        Speaker.

    Returns
    -------
    numpy.ndarray
        ``(samples,)`` at 8 kHz, float32 with its peak at 0.5, rounded to 16 bits.

    Raises
    ------
    UnknownNameError
        A phoneme is unknown.
    MetameryError
        The result would be silent: no sounds, or only closures.
    """
    for symbol, _ in sounds:
        if symbol not in PHONEMES:
            raise unknown("phoneme", symbol, PHONEMES)
    phonemes = [PHONEMES[symbol] for symbol, _ in sounds]
    if all(p.voice is None and p.breath is None and p.hiss is None for p in phonemes):
        raise MetameryError(f"'{name}' is silent, expected at least one phoneme that is not a closure")
    at = np.repeat(np.arange(len(sounds)), [round(seconds * SAMPLE_RATE) for _, seconds in sounds])  # (T,)
    formants = np.array([(*p.formants, _FOURTH_FORMANT) for p in phonemes])[at] * voice.tract  # (T, 4)
    levels = np.array([[_amplitude(level) for level in (p.voice, p.breath, p.hiss)] for p in phonemes])[at]  # (T, 3)
    hiss_at = np.array([p.hiss_at for p in phonemes])[at]  # (T, 2)
    formants, levels = _smooth(formants, _GLIDE), _smooth(levels, _ONSET)
    signal = levels[:, 0] * _harmonics(_pitch(len(at), voice), formants)
    signal += _noise(name, formants, levels[:, 1:], hiss_at)
    fade = min(_FADE, len(at))
    signal[-fade:] *= np.hanning(2 * fade)[fade:]
    signal *= _PEAK / np.abs(signal).max()
    return ((signal * 32767).round() / 32767).astype(np.float32)


def _pitch(samples: int, voice: Voice) -> Track:
    """The falling pitch, ``(T,)`` in Hz, with the flutter of Klatt & Klatt (1990, JASA 87:820), FL = 25 %."""
    time = np.arange(samples) / SAMPLE_RATE
    falling = np.linspace(*voice.pitch, samples)
    flutter = sum(np.sin(2 * np.pi * rate * time) for rate in (12.7, 7.1, 4.7))
    return falling * (1 + 0.005 * flutter)


def _harmonics(pitch: Track, formants: Track) -> Track:
    """The voice: harmonics that fall by 6 dB per octave, glottis and lips together, through the tract; ``(T,)``."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    signal = np.zeros(len(pitch))
    for number in range(1, int(SAMPLE_RATE / 2 // pitch.min()) + 1):
        frequency = number * pitch
        audible = np.clip((SAMPLE_RATE / 2 - frequency) / 100, 0, 1)
        signal += (audible / number * _tract(frequency, formants.T) * np.exp(1j * number * phase)).imag
    return signal


def _noise(name: str, formants: Track, levels: Track, hiss_at: Track) -> Track:
    """Breath through the tract and hiss through its own resonance: white noise, filtered block by block; ``(T,)``."""
    samples = len(levels)
    # the only one of NumPy's generators whose stream is frozen
    white = np.random.RandomState(crc32(name.encode())).standard_normal(samples + 2 * _BLOCK)
    window = np.hanning(_BLOCK + 1)[:-1] * 2 * _HOP / _BLOCK  # windows a hop apart add up to 1
    frequency = np.arange(_BLOCK + 1) * SAMPLE_RATE / (2 * _BLOCK)  # of a block padded to twice its length
    signal = np.zeros(samples + 3 * _BLOCK)
    for start in range(0, samples + _BLOCK, _HOP):
        at = min(max(start - _BLOCK // 2, 0), samples - 1)
        breath, hiss = levels[at]
        if breath or hiss:
            gain = breath * _tract(frequency, formants[at]) + hiss * _resonance(frequency, *hiss_at[at])
            block = np.fft.rfft(white[start : start + _BLOCK] * window, 2 * _BLOCK)
            signal[start : start + 2 * _BLOCK] += np.fft.irfft(block * gain)
    return signal[_BLOCK : _BLOCK + samples]


def _tract(frequency: Track, formants: Track) -> NDArray[np.complex128]:
    """Response of the vocal tract: four resonances in cascade, and Fant's correction for all higher ones."""
    above = (7 * frequency / formants[3]) ** 2  # a neutral tract's fourth resonance is seven times its first
    response: NDArray[np.complex128] = 10 ** ((0.54 * above + 0.00143 * above**2) / 20) + 0j
    for centre, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
        response *= centre**2 / (centre**2 - frequency**2 + 1j * bandwidth * frequency)
    return response


def _resonance(frequency: Track, centre: float, bandwidth: float) -> NDArray[np.complex128]:
    """Response of a resonance, with gain 1 at its own frequency and 0 at 0 Hz."""
    return 1j * bandwidth * frequency / (centre**2 - frequency**2 + 1j * bandwidth * frequency)


def _smooth(tracks: Track, seconds: float) -> Track:
    """Smooth ``(T, N)`` with a Hann window of a length in seconds; the end values are repeated."""
    window = np.hanning(round(seconds * SAMPLE_RATE) | 1)
    half = len(window) // 2
    padded = np.pad(tracks, ((half, half), (0, 0)), "edge")
    return np.stack([np.convolve(track, window / window.sum(), "valid") for track in padded.T], axis=1)


def _amplitude(decibels: float | None) -> float:
    return 0.0 if decibels is None else 10 ** (decibels / 20)
