"""Priors on signals: properties of natural signals, independent of the network.

Metamers are made without any; adding one shows what a prior can and cannot improve (Feather et al. 2023, Extended
Data). Each takes signals ``(B, …)`` and the domain's range, and returns ``(B,)``.
"""

from __future__ import annotations

import torch


def total_variation(signals: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Mean squared difference of neighbouring samples, along time or along rows and columns, in units of the range.

    Mahendran & Vedaldi (2015), eq. 4, with β = 2.
    """
    scaled = signals / (high - low)
    along = (-1,) if signals.ndim == 2 else (-1, -2)
    return sum((scaled.diff(dim=dim).square().flatten(1).mean(dim=1) for dim in along), scaled.new_zeros(len(signals)))


def bounds(signals: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Mean sixth power of the distance from the middle of the range, where its ends are at 1.

    Mahendran & Vedaldi (2015), eq. 3, with α = 6.
    """
    return ((signals - (low + high) / 2) / ((high - low) / 2)).pow(6).flatten(1).mean(dim=1)
