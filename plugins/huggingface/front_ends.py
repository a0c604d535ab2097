"""What transformers' processors do with sounds, as modules that a gradient passes.

The processors compute in NumPy or detach, so no gradient reaches the sound. Each module here takes waveforms
``(B, samples)`` of one length, and returns what the network takes, equal to the processor's result up to rounding.

Energies below the floor of a logarithm have the derivative that the logarithm has at the floor, in place of 0.
Otherwise a synthesis could not leave the near silence that it starts from, where all energies are below the floor.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import melscale_fbanks

from ...framework.errors import MetameryError

KALDI_FLOOR = 1.1920928955078125e-07
"""Smallest energy of a Kaldi filter, float32's epsilon."""


class FrontEnd(nn.Module):
    """A front end for waveforms ``(B, samples)``, computed in the type of the signals, also under autocast.

    Parameters
    ----------
    samples
        Length of the waveforms.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if signals.ndim != 2 or signals.shape[1] != self.samples:
            raise MetameryError(f"signals of shape {tuple(signals.shape)}, the front end takes (B, {self.samples})")
        with torch.autocast(signals.device.type, enabled=False):
            return self.features(signals)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Return the network's input for checked signals."""
        raise NotImplementedError


class Standardise(FrontEnd):
    """Each waveform with mean 0 and variance 1, ``(B, samples)``: wav2vec 2.0, HuBERT and WavLM."""

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        centred = signals - signals.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()


class WhisperLogMel(FrontEnd):
    """Whisper's log-mel spectrogram, ``(B, bands, samples / hop)``.

    Powers of a Hann window of 25 ms, the last frame left out, in Slaney's mel filters; their logarithm to base 10, no
    lower than 8 below the largest of the sound; scaled by ``(x + 4) / 4``.

    The processor fills every sound up with silence to 30 s. This does not: a window shorter than 30 s ends where the
    sound ends, and its last frames see its reflection in place of silence.

    Parameters
    ----------
    samples
        Length of the waveforms, a multiple of `hop`.
    sample_rate
        Sample rate in Hz.
    bands
        Number of mel filters.
    size, hop
        Length of the window, and the distance of two of them, in samples.
    """

    filters: torch.Tensor
    window: torch.Tensor

    def __init__(
        self, samples: int, sample_rate: int = 16000, bands: int = 80, size: int = 400, hop: int = 160
    ) -> None:
        super().__init__(samples)
        self.size, self.hop = size, hop
        filters = melscale_fbanks(size // 2 + 1, 0.0, 8000.0, bands, sample_rate, norm="slaney", mel_scale="slaney")
        self.register_buffer("filters", filters, persistent=False)  # (frequencies, bands)
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        power = _power(signals, self.window, self.hop)[..., :-1]  # (B, frequencies, frames)
        levels = _floored(self.filters.T @ power, 1e-10).log10()
        return (torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8) + 4) / 4


class KaldiBank(FrontEnd):
    """Kaldi's log-mel filter bank as the Audio Spectrogram Transformer takes it, ``(B, frames, bands)``.

    Windows of 25 ms every 10 ms, none of which goes beyond the ends, without their means, pre-emphasised by 0.97 and
    weighted by a symmetric Hann window; powers in Kaldi's mel filters from 20 Hz; their natural logarithm; then
    ``(x - mean) / (2 std)``. Where the sound has fewer windows than `frames`, zeros follow before that, as the
    processor has it. Samples after the last whole window have no influence.

    Parameters
    ----------
    samples
        Length of the waveforms, at least that of one window.
    frames
        Number of frames of the network's input.
    sample_rate
        Sample rate in Hz.
    bands
        Number of mel filters.
    mean, std
        Normalisation of the log-mel energies.
    """

    filters: torch.Tensor
    window: torch.Tensor

    def __init__(
        self,
        samples: int,
        frames: int = 1024,
        sample_rate: int = 16000,
        bands: int = 128,
        mean: float = -4.2677393,
        std: float = 4.5689974,
    ) -> None:
        super().__init__(samples)
        self.frames, self.mean, self.std = frames, mean, std
        self.size, self.hop = kaldi_window(sample_rate)
        self.padded = 1 << (self.size - 1).bit_length()
        filters, _ = get_mel_banks(bands, self.padded, float(sample_rate), 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("filters", F.pad(filters, (0, 1)).T, persistent=False)  # (frequencies, bands)
        self.register_buffer("window", torch.hann_window(self.size, periodic=False), persistent=False)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        windows = signals.unfold(1, self.size, self.hop)[:, : self.frames]  # (B, frames, size)
        windows = windows - windows.mean(2, keepdim=True)
        before = torch.cat([windows[..., :1], windows[..., :-1]], 2)
        spectrum = torch.fft.rfft((windows - 0.97 * before) * self.window, self.padded)
        power = spectrum.real.square() + spectrum.imag.square()
        levels = _floored(power @ self.filters, KALDI_FLOOR).log()
        missing = self.frames - levels.shape[1]
        return (F.pad(levels, (0, 0, 0, missing)) - self.mean) / (2 * self.std)


class ClapMel(FrontEnd):
    """CLAP's mel spectrogram in dB, ``(B, 1, frames, bands)``.

    For networks with fusion the processor returns this four times where a sound is not longer than the window, and
    marks one sound of the batch, at random, as longer. Neither is done here: no sound is longer than the window.

    Parameters
    ----------
    samples
        Length of the waveforms, at most `full`.
    full
        Length of the network's window in samples, 10 s.
    sample_rate
        Sample rate in Hz.
    bands
        Number of mel filters.
    size, hop
        Length of the window of the Fourier transform, and the distance of two of them, in samples.
    low, high
        Frequencies in Hz at which the first filter begins and the last one ends.
    slaney
        Whether the filters are Slaney's, as for networks without fusion; otherwise those of HTK.
    repeat
        How a shorter sound fills the window: ``repeatpad``, ``repeat`` (repeated and cut) or ``pad`` (silence follows).
    """

    filters: torch.Tensor
    window: torch.Tensor

    def __init__(
        self,
        samples: int,
        full: int = 480000,
        sample_rate: int = 48000,
        bands: int = 64,
        size: int = 1024,
        hop: int = 480,
        low: float = 50.0,
        high: float = 14000.0,
        *,
        slaney: bool = True,
        repeat: str = "repeatpad",
    ) -> None:
        super().__init__(samples)
        self.full, self.hop, self.repeat = full, hop, repeat
        norm, scale = ("slaney", "slaney") if slaney else (None, "htk")
        filters = melscale_fbanks(size // 2 + 1, low, high, bands, sample_rate, norm=norm, mel_scale=scale)
        self.register_buffer("filters", filters, persistent=False)  # (frequencies, bands)
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        count = {"repeatpad": self.full // self.samples, "repeat": -(-self.full // self.samples)}.get(self.repeat, 1)
        sounds = signals.repeat(1, count)[:, : self.full]
        power = _power(F.pad(sounds, (0, self.full - sounds.shape[1])), self.window, self.hop)
        return 10 * _floored(power.mT @ self.filters, 1e-10).log10()[:, None]


def kaldi_window(sample_rate: int) -> tuple[int, int]:
    """Return the length of Kaldi's window and the distance of two of them, in samples."""
    return sample_rate * 25 // 1000, sample_rate * 10 // 1000


def _power(signals: torch.Tensor, window: torch.Tensor, hop: int) -> torch.Tensor:
    """Return powers ``(B, frequencies, frames)`` of centred windows; the signal is reflected at its ends."""
    spectrum = torch.stft(signals, len(window), hop, window=window, return_complex=True)
    return spectrum.real.square() + spectrum.imag.square()


def _floored(energies: torch.Tensor, floor: float) -> torch.Tensor:
    """Return energies, or the floor where they are below it; the gradient passes either way."""
    return energies + (energies.clamp(min=floor) - energies).detach()
