"""Low-pass windows, from their closed forms; each sums to 1, so that a constant is not changed.

Subsampling by `stride` folds the frequencies above 1/(2 stride) cycles per sample onto those below it.
"""

from __future__ import annotations

import torch

from ...framework.errors import unknown

KINDS = ("blur3", "blur5", "hann")


def window(kind: str, stride: int) -> torch.Tensor:
    """Build the window for a stride, float64; for stride 1, a single 1.

    ``blur3`` and ``blur5`` are Zhang's (2019) binomial windows, ``hann`` is that of Feather et al. (2019).

    ======= ======================== =================== ==================
    kind    in general               stride 2            gain at 1/(2 · 2)
    ======= ======================== =================== ==================
    blur3   `averages` (stride, 2)   1 2 1               −6.0 dB
    blur5   `averages` (stride, 4)   1 4 6 4 1           −12.0 dB
    hann    `hann` (4 · stride)      8 samples           −24.3 dB
    ======= ======================== =================== ==================

    Raises
    ------
    UnknownNameError
        `kind` is not one of these.
    """
    if kind not in KINDS:
        raise unknown("anti-aliasing", kind, KINDS)
    if kind == "hann" and stride > 1:
        return hann(4 * stride)
    return averages(stride, 4 if kind == "blur5" else 2)


def averages(stride: int, times: int) -> torch.Tensor:
    """Convolve the average of `stride` samples with itself, `times` in all: ``times · (stride − 1) + 1`` taps.

    At stride 2 that is the binomial window. Its zeros are the frequencies that subsampling would fold onto 0. At
    stride 4 it equals two blurs of stride 2, one after the other.
    """
    taps = torch.ones(1, 1, 1, dtype=torch.float64, device="cpu")
    box = torch.full((1, 1, stride), 1 / stride, dtype=torch.float64, device="cpu")
    for _ in range(times):
        taps = torch.nn.functional.conv1d(taps, box, padding=stride - 1)
    return taps.flatten()


def hann(size: int) -> torch.Tensor:
    """Build ``sin²(πi / (size − 1))`` for i = 1 … size − 2: a Hann window without the zeros at its ends."""
    taps = torch.hann_window(size, periodic=False, dtype=torch.float64, device="cpu")[1:-1]
    return taps / taps.sum()


def gain_db(taps: torch.Tensor, frequency: float) -> float:
    """Gain of a window at a frequency, in cycles per sample; in dB."""
    phase = 2 * torch.pi * frequency * torch.arange(len(taps), dtype=torch.float64, device="cpu")
    return float(20 * torch.polar(taps.double(), phase).sum().abs().log10())
