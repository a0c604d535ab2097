"""Envelopes of the bands of a filter bank, low-passed and subsampled: exact, fast, and with little memory.

The plain definition multiplies the half spectrum of N samples with each filter, takes the inverse FFT of N points of
every product, its magnitude, and convolves that with a low-pass filter at every `stride`-th sample. Here

- only a filter's own band of b bins is kept and multiplied. It is moved to the first b bins: that shifts the frequency
  of the inverse FFT's result, which does not change its magnitude;
- for a narrow band, the inverse FFT of N / d points gives every d-th sample of the same magnitude. Low-passing these
  is an approximation, since a magnitude, unlike its square, is not band-limited; so it is done only on request;
- the low-pass filter is a matrix product of blocks of `stride` samples;
- filters are processed in groups that fit a CPU's cache, and the backward pass computes them again, so that it needs
  only the spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...framework.errors import MetameryError
from .erb import Bands

LOBES = 5
"""Number of zero crossings of the sinc on either side of its middle; it ends at the last ones."""

BETA = 5.0
"""Shape parameter of the Kaiser window."""

_POINTS_OF_A_CORE = 2**18  # 2 MB of complex64, which fit its cache
_POINTS_ELSEWHERE = 2**24
_TINY = 1e-30  # least squared magnitude: below it the gradient fades, and at 0 it is 0


def low_pass(stride: int) -> torch.Tensor:
    """Build the low-pass filter for a stride: a sinc that is 0 at every multiple of it, with a Kaiser window.

    Returns
    -------
    torch.Tensor
        ``(2 · LOBES · stride + 1,)``, float64; 1,001 taps for a stride of 100. As published it is not normalised: its
        taps sum to 1.00095.
    """
    reach = LOBES * stride
    position = torch.arange(-reach, reach + 1, dtype=torch.float64)
    window = torch.kaiser_window(2 * reach + 1, periodic=False, beta=BETA, dtype=torch.float64)
    return torch.sinc(position / stride) / stride * window


@dataclass(frozen=True)
class Group:
    """Neighbouring filters whose envelopes have the same sampling: every `step`-th sample, `points` in all."""

    first: int
    last: int
    step: int
    points: int


class Envelopes(nn.Module):
    """Low-passed envelopes ``(B, filters, frames)`` of signals ``(B, samples)``.

    Neither filters nor taps are weights: they are not in the `state_dict`.

    Parameters
    ----------
    bands
        The filters, for signals of `samples` samples.
    stride
        Distance between two frames in samples. The first frame's taps begin at the first sample; those of the last
        frame end within the signal.
    density
        Least number of samples of an envelope that are computed for each bin of its band; None computes all, as
        defined. See `Cochleagram` for the accuracy and the cost.

    Raises
    ------
    MetameryError
        The signals are shorter than the low-pass filter.
    """

    first: torch.Tensor
    responses: torch.Tensor

    def __init__(self, bands: Bands, samples: int, stride: int, density: int | None = None) -> None:
        super().__init__()
        taps = low_pass(stride)
        if samples < len(taps):
            raise MetameryError(f"{samples} samples are shorter than the {len(taps)} taps of the low-pass filter")
        self.samples = samples
        self.stride = stride
        self.frames = (samples - len(taps)) // stride + 1
        self.blocks = samples // stride  # more than the frames use: mostly all samples, which saves copying a part
        self.begins = bands.first
        self.widths = bands.widths
        self.groups = tuple(_groups(bands.widths, samples, stride, density))
        self.register_buffer("first", torch.tensor(self.begins)[:, None], persistent=False)  # (F, 1)
        self.register_buffer("responses", bands.responses.float(), persistent=False)  # (F, widest)
        for step in {group.step for group in self.groups}:
            self.register_buffer(f"taps{step}", _blocks_of_taps(taps, step).float(), persistent=False)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        envelopes: torch.Tensor = _BandEnvelopes.apply(torch.fft.rfft(signals), self)  # type: ignore[no-untyped-call]
        return envelopes

    def pieces(self, batch: int) -> Iterator[tuple[slice, slice, Group]]:
        """Yield the signals and the filters to process together: as many as fit, at least one of each."""
        on_cpu = self.responses.device.type == "cpu"
        most = _POINTS_OF_A_CORE * torch.get_num_threads() if on_cpu else _POINTS_ELSEWHERE
        for group in self.groups:
            signals = min(max(1, most // group.points), max(1, batch))
            rows = max(1, most // (signals * group.points))
            for begin in range(group.first, group.last, rows):
                for first in range(0, batch, signals):
                    yield slice(first, first + signals), slice(begin, min(begin + rows, group.last)), group

    def band(self, spectrum: torch.Tensor, rows: slice, group: Group) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the bins of some filters' bands, and the responses at them, scaled for an FFT of fewer points."""
        width = max(self.widths[rows])
        bins = self.first[rows] + torch.arange(width, device=spectrum.device)  # (F, widest)
        responses = self.responses[rows, :width].to(spectrum.real.dtype) / group.step
        return bins.clamp_(max=spectrum.shape[-1] - 1), responses

    def taps(self, group: Group, dtype: torch.dtype) -> torch.Tensor:
        """Return the taps at a group's samples, ``(2 · LOBES, stride / step)``."""
        return self.get_buffer(f"taps{group.step}").to(dtype)


class _BandEnvelopes(torch.autograd.Function):
    """From the half spectrum ``(B, samples // 2 + 1)`` to low-passed envelopes ``(B, filters, frames)``."""

    @staticmethod
    def forward(ctx: Any, spectrum: torch.Tensor, bank: Envelopes) -> torch.Tensor:
        ctx.save_for_backward(spectrum)
        ctx.bank = bank
        envelopes = spectrum.real.new_empty(len(spectrum), len(bank.widths), bank.frames)
        for signals, rows, group in bank.pieces(len(spectrum)):
            bins, responses = bank.band(spectrum, rows, group)
            inside = torch.fft.ifft(spectrum[signals][:, bins] * responses, n=group.points)
            taps = bank.taps(group, envelopes.dtype)
            magnitude = _squared(inside).sqrt_()[..., : bank.blocks * taps.shape[1]].reshape(-1, taps.shape[1])
            # The other way round, `magnitude @ taps.T` with its short last axis, takes several times as long.
            products = (taps @ magnitude.T).reshape(2 * LOBES, *inside.shape[:2], bank.blocks)
            envelopes[signals, rows] = products[0, ..., : bank.frames]
            for block in range(1, 2 * LOBES):
                envelopes[signals, rows] += products[block, ..., block : block + bank.frames]
        return envelopes

    # Plain operations, so that it can itself be differentiated; one filter after the other, so that overlapping bands
    # are summed in a fixed order, which a scatter does not guarantee.
    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        (spectrum,) = ctx.saved_tensors
        bank = ctx.bank
        total = torch.zeros_like(spectrum)
        for signals, rows, group in bank.pieces(len(spectrum)):
            bins, responses = bank.band(spectrum, rows, group)
            inside = torch.fft.ifft(spectrum[signals][:, bins] * responses, n=group.points)
            taps = bank.taps(group, gradient.dtype)
            padded = F.pad(gradient[signals, rows], (2 * LOBES - 1, bank.blocks - bank.frames))
            around = padded.unfold(-1, 2 * LOBES, 1).reshape(-1, 2 * LOBES)  # one product, not one for each signal
            pull = (around @ taps.flip(0)).reshape(*padded.shape[:2], -1)  # (B, F, samples of the blocks)
            inside = inside[..., : pull.shape[-1]]
            pull = pull * _squared(inside).clamp_min(_TINY).rsqrt()
            turned = torch.fft.fft(inside * pull, n=group.points)
            weighted = turned[..., : responses.shape[1]] * (responses / group.points)
            for row, part in zip(range(rows.start, rows.stop), weighted.unbind(1), strict=True):
                band = slice(bank.begins[row], bank.begins[row] + bank.widths[row])
                total[signals, band] += part[:, : bank.widths[row]]
        return total, None


def _squared(signals: torch.Tensor) -> torch.Tensor:
    """Squared magnitudes of complex signals, in a quarter of the time of `torch.abs`."""
    squares = torch.view_as_real(signals).square()
    return squares[..., 0] + squares[..., 1]


def _blocks_of_taps(taps: torch.Tensor, step: int) -> torch.Tensor:
    """Return every `step`-th tap but the last, which is 0, ``(2 · LOBES, stride / step)``, scaled to the same sum."""
    selected = taps[:-1:step]
    return (selected * (taps.sum() / selected.sum())).reshape(2 * LOBES, -1)


def _groups(widths: tuple[int, ...], samples: int, stride: int, density: int | None) -> Iterator[Group]:
    """Group neighbouring filters with the same step; a step divides both the samples and the stride."""
    steps = [step for step in range(1, stride + 1) if gcd(samples, stride) % step == 0]
    widest, chosen_steps = 0, []
    for width in widths:
        widest = max(widest, width)  # so that steps only get smaller from low to high frequencies
        fine = [step for step in steps if samples // step >= widest * density] if density else []
        chosen_steps.append(max(fine, default=1))
    first = 0
    for last in range(1, len(chosen_steps) + 1):
        if last == len(chosen_steps) or chosen_steps[last] != chosen_steps[first]:
            yield Group(first, last, chosen_steps[first], samples // chosen_steps[first])
            first = last
