"""M5, a network that learns its front end from the waveform (Dai et al. 2017, arXiv:1610.00087), for 1 s at 8 kHz."""

from __future__ import annotations

import torch
from metamery.framework import Model, WaveformDomain
from torch import nn


class Waveform(nn.Module):
    """Add a dimension for the channel, ``(B, samples)`` to ``(B, 1, samples)``."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals[:, None]


def m5(num_classes: int = 10, seed: int = 0) -> Model:
    """Build four 1-D convolutions, each with BatchNorm, ReLU and a max pool; average; linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks: list[nn.Module] = []
        before = 1
        for channels, kernel, stride in ((64, 80, 4), (64, 3, 1), (128, 3, 1), (256, 3, 1)):
            convolution = nn.Conv1d(before, channels, kernel, stride, padding=kernel // 2, bias=False)
            blocks += [convolution, nn.BatchNorm1d(channels), nn.ReLU(), nn.MaxPool1d(4)]
            before = channels
        network = nn.Sequential(
            Waveform(), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(before, num_classes)
        )
    return Model(network.eval(), WaveformDomain(8000, 8000), ["3", "7", "11", "15", "output"])
