"""Turning, scaling and shifting of pictures, of sounds, and of a network's maps of them.

A `Move` is given in the signal's own pixels or samples. On a map whose units are `stride` pixels apart the same move
turns and scales alike, and shifts by the number of pixels / `stride` units. Between points there is linear
interpolation; a shift by whole points and a rotation of a square by 90° are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...framework.errors import unknown

EDGES = ("reflect", "circular", "zero")
"""What is beyond a signal's edge: the signal mirrored there, the edge itself not repeated; its other end; nothing."""


@dataclass(frozen=True)
class Move:
    """A rotation counter-clockwise and a scaling, about the middle, and then a shift to the right (for sounds, later).

    Parameters
    ----------
    degrees
        Angle of the rotation.
    factor
        Scale; above 1 enlarges.
    shift
        Distance in pixels or samples of the signal.
    """

    degrees: float = 0.0
    factor: float = 1.0
    shift: float = 0.0


def check_edges(edges: str) -> None:
    """Raise `MetameryError` unless edges are one of `EDGES`."""
    if edges not in EDGES:
        raise unknown("edges", edges, EDGES)


def sources(move: Move, size: Sequence[int], stride: Sequence[float] = (1.0, 1.0)) -> torch.Tensor:
    """The position that each point's value comes from: rows and columns ``(2, h, w)``, float64, on the CPU.

    Parameters
    ----------
    size
        ``(h, w)`` of the picture or map; a sound is one row.
    stride
        Pixels from one row, and one column, to the next.
    """
    middle = [(length - 1) / 2 for length in size]
    steps = [
        (torch.arange(n, dtype=torch.float64, device="cpu") - m) * s
        for n, m, s in zip(size, middle, stride, strict=True)
    ]
    y, x = torch.meshgrid(*steps, indexing="ij")
    x = x - move.shift
    cosine, sine = math.cos(math.radians(move.degrees)), math.sin(math.radians(move.degrees))
    before = (sine * x + cosine * y, cosine * x - sine * y)
    positions = [p / move.factor / s + m for p, s, m in zip(before, stride, middle, strict=True)]
    return torch.stack(positions).round(decimals=9)  # so that a quarter turn is exact


def inside(positions: torch.Tensor, edges: str) -> torch.Tensor:
    """Which points come from within the signal, ``(h, w)``; over circular edges all do."""
    last = torch.tensor(positions.shape[1:], dtype=positions.dtype, device="cpu")[:, None, None] - 1
    return ((positions >= 0) & (positions <= last)).all(dim=0) | (edges == "circular")


def moved(
    maps: torch.Tensor, move: Move, stride: Sequence[float] = (1.0, 1.0), edges: str = "reflect", empty: float = 0.0
) -> torch.Tensor:
    """Move pictures or maps ``(…, h, w)``; a sound is one row of them, ``(…, 1, T)``.

    Where the factor is below 1 they are first smoothed by a Gaussian with σ = (1 / factor − 1) / 2, against aliasing.

    Parameters
    ----------
    stride, edges
        Stride as in `sources`, and one of `EDGES`.
    empty
        Value beyond ``zero`` edges.
    """
    if move.factor < 1:
        around = "circular" if edges == "circular" else "reflect"
        maps = smoothed(maps, [(1 / move.factor - 1) / 2] * 2, around)
    height, width = maps.shape[-2:]
    y, x = sources(move, (height, width), stride)
    flat = maps.flatten(-2)
    result = torch.zeros_like(maps, memory_format=torch.contiguous_format)
    for row in (y.floor(), y.floor() + 1):
        for column in (x.floor(), x.floor() + 1):
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
            if not weight.any():
                continue
            position = _folded(row, height, edges) * width + _folded(column, width, edges)
            values = flat[..., position.flatten().to(maps.device)].reshape(maps.shape)
            if edges == "zero":
                is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                values = values.where(is_inside.to(maps.device), empty)
            result += weight.to(maps) * values
    return result


def smoothed(maps: torch.Tensor, sigmas: Sequence[float], edges: str) -> torch.Tensor:
    """Convolve the last axes of ``(…, h, w)`` with Gaussians of these standard deviations, truncated at 4 of them."""
    for axis, sigma in zip(range(-len(sigmas), 0), sigmas, strict=True):
        size = maps.shape[axis]
        if size > 1 and sigma > 0:
            maps = (maps.movedim(axis, -1) @ _blurring(size, sigma, edges).to(maps).T).movedim(-1, axis)
    return maps


def _blurring(size: int, sigma: float, edges: str) -> torch.Tensor:
    """The matrix ``(size, size)`` that blurs a line."""
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64, device="cpu")
    weights = torch.softmax(-((offsets / sigma) ** 2) / 2, dim=0)
    positions = _folded(torch.arange(size, device=offsets.device)[:, None] + offsets, size, edges)
    return torch.zeros(size, size, dtype=torch.float64, device="cpu").scatter_add_(
        1, positions, weights.expand(size, -1).contiguous()
    )


def _folded(positions: torch.Tensor, size: int, edges: str) -> torch.Tensor:
    """Map positions beyond a line's ends back onto it."""
    positions = positions.long()
    if edges == "circular":
        return positions % size
    if edges == "zero":
        return positions.clamp(0, size - 1)
    around = positions % max(1, 2 * (size - 1))
    return torch.where(around < size, around, 2 * (size - 1) - around)
