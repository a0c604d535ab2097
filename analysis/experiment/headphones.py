"""Sounds that are heard right over headphones only, stereo ``(T, 2)``; the answer is the number of an interval.

Antiphase (Woods, Siegel, Traer and McDermott 2017): three tones of 200 Hz; one is 6 dB quieter, and another has its
phase reversed in one channel, so that it cancels between loudspeakers and seems the quietest. Huggins pitch (Milne et
al. 2021): three noises; in one of them a band has its phase reversed in one ear, which is heard as a faint tone if each
ear gets its own channel, and not at all otherwise. Apart from ramps, an interval that is not quieter has a root mean
square of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from ...framework.randomness import derived_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

TONE_HZ = 200.0
QUIETER_DB = 6.0
BAND_HZ, BAND_SHARE = 600.0, 0.06
"""Centre of the band of the Huggins pitch, and how far it reaches to each side, as a share of the centre."""

INTERVAL_SECONDS, PAUSE_SECONDS, RAMP_SECONDS = 1.0, 0.5, 0.1
INTERVALS = 3


def antiphase(number: int, seed: int, rate: int) -> tuple[NDArray[np.float64], str]:
    """Return a trial of the antiphase test, and the number of its quietest tone.

    The first six trials are the six orders of the three tones, in an order that is drawn from the seed.
    """
    generator = np.random.default_rng(derived_seed("antiphase", seed, number // 6) % 2**64)
    orders = generator.permutation(list(permutations(("usual", "quiet", "antiphase"))))
    order = [str(each) for each in orders[number % 6]]
    time = np.arange(round(INTERVAL_SECONDS * rate)) / rate
    tone = np.sqrt(2) * np.sin(2 * np.pi * TONE_HZ * time) * _ramps(len(time), rate)
    gains = {"usual": (1.0, 1.0), "quiet": (_QUIETER, _QUIETER), "antiphase": (1.0, -1.0)}
    intervals = [tone[:, None] * np.array(gains[each]) for each in order]
    return _with_pauses(intervals, rate), str(order.index("quiet") + 1)


def huggins(number: int, seed: int, rate: int) -> tuple[NDArray[np.float64], str]:
    """Return a trial of the Huggins pitch, and the number of the noise that holds the tone.

    Of each three trials each interval holds it once.
    """
    generator = np.random.default_rng(derived_seed("huggins", seed, number // INTERVALS) % 2**64)
    right = int(generator.permutation(INTERVALS)[number % INTERVALS])
    generator = np.random.default_rng(derived_seed("noise", seed, number) % 2**64)
    length = round(INTERVAL_SECONDS * rate)
    frequency = np.fft.rfftfreq(length, 1 / rate)
    turned = np.where(np.abs(frequency - BAND_HZ) <= BAND_SHARE * BAND_HZ, -1.0, 1.0)
    intervals = []
    for index in range(INTERVALS):
        spectrum = np.fft.rfft(generator.standard_normal(length))
        ears = [spectrum, spectrum * turned if index == right else spectrum]
        intervals.append(np.stack([np.fft.irfft(ear, length) for ear in ears], axis=1))
    ramps = _ramps(length, rate)[:, None]
    return _with_pauses([each / each.std() * ramps for each in intervals], rate), str(right + 1)


TESTS: Mapping[str, Callable[[int, int, int], tuple[NDArray[np.float64], str]]] = {
    "antiphase": antiphase,
    "huggins": huggins,
}
"""For each test the function of trial, seed and sample rate that returns its sound and its answer."""

_QUIETER = 10 ** (-QUIETER_DB / 20)


def _ramps(length: int, rate: int) -> NDArray[np.float64]:
    """Return an envelope with raised cosines at both ends."""
    rise = np.sin(np.linspace(0, np.pi / 2, round(RAMP_SECONDS * rate))) ** 2
    envelope = np.ones(length)
    envelope[: len(rise)], envelope[-len(rise) :] = rise, rise[::-1]
    return envelope


def _with_pauses(intervals: list[NDArray[np.float64]], rate: int) -> NDArray[np.float64]:
    pause = np.zeros((round(PAUSE_SECONDS * rate), 2))
    parts = [part for interval in intervals for part in (interval, pause)]
    return np.concatenate(parts[:-1])
