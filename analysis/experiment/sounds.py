"""Files of sounds: one rate, one level, nothing clipped; and what a model gets of them when they are brought back."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.io import wavfile

from ...framework.errors import MetameryError
from ...framework.randomness import derived_seed
from ...framework.resampling import resampled_length, resampled_middle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from ...framework.domains import WaveformDomain

FULL = 32767
"""Sample of 16 bits at full scale."""

ZEROS = 64
"""Number of zeros of the resampling filter: a tone at 0.45 of a model's rate comes back with an error of 0.04 %, with
the usual 6 of 39 %."""

LEVEL_NOISE_SECONDS = 10.0


@dataclass(frozen=True)
class SoundFiles:
    """How the sounds of an experiment are written.

    Parameters
    ----------
    format
        ``wav`` or ``flac``, of 16 bits.
    rate
        Sample rate in Hz.
    rms
        Root mean square of each sound, of full scale.
    """

    format: str
    rate: int
    rms: float

    def samples(self, signal: NDArray[np.float32], rate: int) -> tuple[NDArray[np.int16], float]:
        """Return a waveform ``(T,)`` at this rate and level, and the gain that it got."""
        sound = resampled(signal, rate, self.rate)
        gain = self.rms / root_mean_square(sound)
        return quantised(gain * sound), gain

    def returned(self, samples: NDArray[np.int16], gain: float, domain: WaveformDomain) -> torch.Tensor:
        """Bring a file's samples back to a model's rate and to the level before the gain, ``(T,)``."""
        sound = torch.from_numpy((samples / (FULL * gain)).astype(np.float32))
        back = resampled_middle(sound, self.rate, domain.sample_rate, domain.samples, zeros=ZEROS)
        missing = domain.samples - len(back)
        return torch.nn.functional.pad(back, (0, missing)).clamp(domain.low, domain.high)

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """Return the bytes of a file of samples ``(T,)`` or ``(T, 2)``."""
        buffer = io.BytesIO()
        if self.format == "flac":
            import soundfile

            soundfile.write(buffer, samples, self.rate, "PCM_16", format="FLAC")
        else:
            wavfile.write(buffer, self.rate, samples)
        return buffer.getvalue()


def common_rms(sounds: Iterable[tuple[str, NDArray[np.floating]]], wanted: float) -> tuple[float, str]:
    """Return the largest root mean square, at most the one wanted, at which no sound exceeds full scale.

    Parameters
    ----------
    sounds
        Names and waveforms ``(T,)`` at the rate of the files.
    wanted
        Root mean square, of full scale.

    Returns
    -------
    tuple
        The root mean square, and the name of the sound that limits it; empty if none does.

    Raises
    ------
    MetameryError
        A sound is silent.
    """
    largest, limiting = 0.0, ""
    for name, sound in sounds:
        own = root_mean_square(sound)
        if not own:
            raise MetameryError(f"'{name}' is silent: no level can be set")
        crest = float(np.abs(sound).max()) / own
        if crest > largest:
            largest, limiting = crest, name
    return (wanted, "") if wanted * largest <= 1 else (1 / largest, limiting)


def resampled(signal: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float64]:
    """Return a waveform ``(T,)`` at another rate, without its mean."""
    length = resampled_length(len(signal), rate, new_rate)
    sound = resampled_middle(torch.from_numpy(np.ascontiguousarray(signal)), rate, new_rate, length, zeros=ZEROS)
    return sound.double().numpy()


def quantised(sound: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round a sound within full scale to 16 bits."""
    samples: NDArray[np.int16] = np.rint(sound * FULL).clip(-FULL, FULL).astype(np.int16)
    return samples


def root_mean_square(sound: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.square(sound, dtype=np.float64).mean()))


def level_noise(sounds: Iterator[NDArray[np.floating]], rate: int, seed: int) -> NDArray[np.float64]:
    """Return noise with the average power spectrum of some sounds, at their rate, to set a comfortable level by."""
    length = round(LEVEL_NOISE_SECONDS * rate)
    power = np.zeros(length // 2 + 1)
    for sound in sounds:
        power += np.square(np.abs(np.fft.rfft(sound, length)))
    generator = np.random.default_rng(derived_seed("level", seed) % 2**64)
    white = np.fft.rfft(generator.standard_normal(length))
    return np.fft.irfft(white * np.sqrt(power), length)
