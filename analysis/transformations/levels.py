"""Levels of sounds ``(B, T)``: gain in dB, and noise at a signal-to-noise ratio."""

from __future__ import annotations

import torch


def rms(sounds: torch.Tensor) -> torch.Tensor:
    """Root mean square of each sound, ``(B, 1)``."""
    return sounds.square().mean(dim=-1, keepdim=True).sqrt()


def at_level_of(sounds: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Scale sounds to the root mean square of others; silence stays."""
    return sounds * (rms(others) / rms(sounds).clamp_min(torch.finfo(sounds.dtype).tiny))


def amplified(sounds: torch.Tensor, decibels: torch.Tensor | float) -> torch.Tensor:
    """Make sounds louder by `decibels`, one number or ``(B, 1)``."""
    return sounds * 10 ** (decibels / 20)


def with_noise(sounds: torch.Tensor, noise: torch.Tensor, snr: torch.Tensor | float) -> torch.Tensor:
    """Add noise ``(B, T)`` at a signal-to-noise ratio in dB, one number or ``(B, 1)``; the sounds keep their level."""
    unit = noise / rms(noise).clamp_min(torch.finfo(noise.dtype).tiny)
    return at_level_of(sounds + unit * rms(sounds) * 10 ** (-snr / 20), sounds)
