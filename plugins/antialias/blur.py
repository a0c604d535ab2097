"""The modules that surgery puts into a network: `Blur`, and `Blurred`, another module followed by a blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import nn
from torch.nn import functional as F

from .windows import window


@dataclass(frozen=True)
class Grid:
    """Positions of a blur's results along one axis: those of the pooling that it replaces.

    Parameters
    ----------
    stride
        Distance between two results in samples.
    kernel, padding
        Size and padding of the pooling; 1 and 0 where the blur subsamples the output of another module.
    beyond
        How far after the last sample the last result may begin, for a pooling with `ceil_mode`.
    """

    stride: int
    kernel: int = 1
    padding: int = 0
    beyond: int | None = None

    def count(self, length: int) -> int:
        """Number of results for `length` samples, as PyTorch's poolings count them."""
        span = length + 2 * self.padding - self.kernel
        count = span // self.stride + 1
        if self.beyond is not None and span % self.stride and count * self.stride < length + self.beyond:
            count += 1
        return count


class Blur(nn.Module):
    """Low-pass filter and subsample signals ``(B, C, …)`` along each of their axes, all channels in the same way.

    A window is centred on its result's position, half a sample later where its size is even. Beyond the ends the signal
    is reflected, as in Zhang (2019), also with ``hann``, where Feather et al. (2019) pad with zeros.

    The window is not a weight: it is not in the `state_dict`.

    Parameters
    ----------
    kind
        One of `windows.KINDS`.
    grids
        One grid for each axis after the channels.
    """

    taps: torch.Tensor

    def __init__(self, kind: str, grids: Sequence[Grid]) -> None:
        super().__init__()
        self.kind = kind
        self.grids = tuple(grids)
        each = [window(kind, grid.stride) for grid in self.grids]
        self._sizes = tuple(len(taps) for taps in each)
        product = reduce(lambda whole, taps: whole[..., None] * taps, each)
        self.register_buffer("taps", product.float()[None, None], persistent=False)  # (1, 1, …)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if signals.ndim == len(self.grids) + 1:  # poolings and convolutions also take a signal without a batch
            return self.forward(signals[None])[0]
        extents = []
        for length, grid, size in zip(signals.shape[2:], self.grids, self._sizes, strict=True):
            before = grid.padding + (size - 1) // 2 - (grid.kernel - 1) // 2
            needed = (grid.count(length) - 1) * grid.stride + size
            extents.append((before, needed - before - length))
        signals = _reflect(signals, extents)
        channels = signals.shape[1]
        taps = self.taps.to(signals.dtype).expand(channels, *[-1] * (self.taps.ndim - 1))
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.grids) - 1]
        return convolve(signals, taps, stride=[grid.stride for grid in self.grids], groups=channels)

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.grids}"


class Blurred(nn.Module):
    """The module `dense`, now computed at every sample, followed by `blur`.

    `dense` may be an activation function: it then follows a convolution that has lost its stride.
    """

    def __init__(self, dense: nn.Module, blur: Blur) -> None:
        super().__init__()
        self.dense = dense
        self.blur = blur

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        blurred: torch.Tensor = self.blur(self.dense(signals))
        return blurred


def _reflect(signals: torch.Tensor, extents: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Extend each axis at both ends by its mirror image without the end sample; crop it where an extent is negative."""
    lengths = signals.shape[2:]
    if all(0 <= extent < length for length, both in zip(lengths, extents, strict=True) for extent in both):
        return F.pad(signals, [extent for both in reversed(extents) for extent in both], mode="reflect")
    for axis, (length, (before, after)) in enumerate(zip(lengths, extents, strict=True), 2):
        index = torch.arange(-before, length + after, device=signals.device)
        mirrored = length - 1 - (index % max(1, 2 * length - 2) - (length - 1)).abs()
        signals = signals.index_select(axis, mirrored)
    return signals
