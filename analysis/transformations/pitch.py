"""Shifting the pitch of sounds while keeping their timing: stretching by a phase vocoder, then resampling."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import pad

WINDOW = 0.05
"""Length of the vocoder's window in s; it is rounded to a power of two samples."""


def pitch_shifted(signals: torch.Tensor, semitones: float, sample_rate: int) -> torch.Tensor:
    """Multiply every frequency of sounds ``(B, T)`` by 2^(semitones / 12); frequencies beyond half the rate are lost.

    The vocoder is that of Puckette (1995, "Phase-locked vocoder"), which ties the phases of neighbouring frequencies
    together. torchaudio's does not, and so lets a tone lose up to three quarters of its amplitude; and its
    `pitch_shift` takes seconds for a sound.
    """
    length = signals.shape[1]
    window = 2 ** min(round(math.log2(WINDOW * sample_rate)), int(math.log2(length)))
    margin = min(2 * window, length - 1)
    padded = pad(signals[:, None], (margin, margin), mode="reflect")[:, 0]
    longer = _stretched(padded, 2 ** (semitones / 12), window)
    return _resampled(longer, padded.shape[1])[:, margin : margin + length]


def _stretched(signals: torch.Tensor, ratio: float, window: int) -> torch.Tensor:
    """Play sounds ``(B, T)`` slower by a ratio, at the same pitch: ``(B, T · ratio)``.

    Each spectrum continues the one before it as the sound itself does over one hop; after silence it starts again.
    """
    hop = window // 4
    length = round(signals.shape[1] * ratio)
    shape = torch.hann_window(window, device=signals.device, dtype=signals.dtype)
    number = torch.arange(length // hop + 1, dtype=torch.float32, device="cpu")
    starts = (number * (hop / ratio)).round().long() + hop  # in the padded signals below
    within = pad(signals, (hop + window // 2, window // 2 + 1))
    indices = starts[:, None] + torch.arange(window, device="cpu")
    here, before = (torch.fft.rfft(within[:, p.to(signals.device)] * shape) for p in (indices, indices - hop))
    size, turn = here.abs(), torch.sgn(here * before.conj())  # (B, frames, frequencies)
    spectrum = here[:, 0]
    spectra = [spectrum]
    for frame in range(1, len(starts)):
        around = pad(spectrum, (1, 1))
        tied = spectrum - around[:, :-2] - around[:, 2:]  # neighbours within one tone have opposite signs
        phase = torch.sgn(turn[:, frame] * tied)
        spectrum = torch.where(phase == 0, here[:, frame], size[:, frame] * phase)
        spectra.append(spectrum)
    return torch.istft(torch.stack(spectra, dim=2), window, hop, window=shape, length=length)


def _resampled(signals: torch.Tensor, length: int) -> torch.Tensor:
    """Resample ``(B, T)`` to another length by truncating or padding its spectrum."""
    spectrum = torch.fft.rfft(signals)
    resampled: torch.Tensor = torch.fft.irfft(spectrum[:, : length // 2 + 1], n=length)
    return resampled * (length / signals.shape[1])
