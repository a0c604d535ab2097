"""The stimuli: pictures of gratings, drawn when they are asked for; and a family, the gratings of one orientation."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from metamery.framework import MetameryError, Stimulus
from metamery.framework.errors import unknown

ORIENTATIONS = ("horizontal", "vertical")


class Gratings(Sequence[Stimulus]):
    """Sine gratings of orientations in turn, each pair finer than the one before."""

    def __init__(self, orientations: Sequence[str], number: int, size: int) -> None:
        self.orientations, self.number, self.size = orientations, number, size

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Stimulus:  # type: ignore[override]
        if not 0 <= index < self.number:
            raise IndexError(index)
        turn, position = divmod(index, len(self.orientations))
        orientation = self.orientations[position]
        wave = 0.5 + 0.5 * torch.sin(2 * pi * (turn + 1) * torch.arange(self.size) / self.size)
        picture = wave[:, None] if orientation == "horizontal" else wave[None, :]
        return Stimulus(
            picture.expand(3, self.size, self.size).clone(),  # (3, size, size), in [0, 1]
            category=orientation,
            name=f"{orientation}-{turn + 1}",
            source="drawn by metamery-example",
            licence="CC0-1.0",
        )


def gratings(count: int = 8, size: int = 32) -> Gratings:
    """Build gratings of both orientations.

    Parameters
    ----------
    count
        Number of pictures.
    size
        Height and width in pixels.
    """
    for name, value in (("count", count), ("size", size)):
        if value < 1:
            raise MetameryError(f"stimuli 'example-gratings': {name} = {value}, expected at least 1")
    return Gratings(ORIENTATIONS, count, size)


def gratings_of(name: str, count: int = 8, size: int = 32) -> Gratings:
    """Build the gratings of one orientation; `name` is what follows ``example-gratings/``."""
    if name not in ORIENTATIONS:
        raise unknown("orientation of 'example-gratings/':", name, ORIENTATIONS)
    return Gratings([name], count, size)


def orientations() -> list[str]:
    return list(ORIENTATIONS)
