"""Mixtures of signals and of their labels: mixup and CutMix.

A signal is mixed with the one half a batch further on. Processes take a batch's signals in turns, so that both are in
one process wherever the batch can be divided by twice the number of processes; the share is the same in all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..framework.checks import number
from ..framework.domains import Domain, ImageDomain
from ..framework.errors import MetameryError, unknown

MIXTURES = ("mixup", "cutmix")


@dataclass(frozen=True)
class Mixing:
    """One or several ways of mixing, of which each batch gets one, drawn evenly.

    Parameters
    ----------
    alpha
        For each way, the parameter of the distribution Beta(alpha, alpha) that the share of a signal is drawn from.
    """

    alpha: dict[str, float]

    def __call__(
        self, signals: torch.Tensor, targets: torch.Tensor, randomness: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix signals ``(B, …)`` and the probabilities of their classes ``(B, classes)``."""
        draw = random.Random(randomness)
        way = draw.choice(list(self.alpha))
        share = draw.betavariate(self.alpha[way], self.alpha[way])
        half = len(signals) // 2
        others = signals.roll(half, 0)
        if way == "mixup":
            mixed = signals * share + others * (1 - share)
        else:
            mixed, share = _cut(signals, others, share, draw)
        return mixed, targets * share + targets.roll(half, 0) * (1 - share)


def mixing(named: Sequence[tuple[str, dict[str, Any]]], domain: Domain, processes: int, batch: int) -> Mixing | None:
    """Build the mixtures among a recipe's augmentations.

    ``mixup`` adds two signals in shares of λ and 1 − λ (Zhang et al. 2018); ``cutmix`` replaces a rectangle of 1 − λ of
    the area (Yun et al. 2019); λ is drawn from Beta(alpha, alpha) for each batch.

    Raises
    ------
    MetameryError
        An argument is unknown or wrong, CutMix is asked for sounds, or the processes' shares of a batch cannot be mixed
        as one process would mix them.
    """
    alpha: dict[str, float] = {}
    for name, given in named:
        if name not in MIXTURES:
            continue
        if strange := next((key for key in given if key != "alpha"), ""):
            raise unknown(f"argument of augmentation '{name}':", strange, ("alpha",))
        alpha[name] = number(f"augmentation '{name}': alpha", given.get("alpha", 1.0), above=0)
    if not alpha:
        return None
    if "cutmix" in alpha and not isinstance(domain, ImageDomain):
        raise MetameryError("augmentation 'cutmix' is for pictures, and the model takes sounds: expected mixup")
    if processes > 1 and batch % (2 * processes):
        raise MetameryError(
            f"augmentation '{next(iter(alpha))}' mixes pairs within a process: batch_size is {batch}, expected a "
            f"multiple of {2 * processes} with {processes} processes"
        )
    return Mixing(alpha)


def _cut(signals: torch.Tensor, others: torch.Tensor, share: float, draw: random.Random) -> tuple[torch.Tensor, float]:
    """Paste a rectangle of the others; return also the share of the area that is left."""
    height, width = signals.shape[-2:]
    half = 0.5 * math.sqrt(1 - share)
    row, column = draw.randrange(height), draw.randrange(width)
    top, bottom = max(row - int(half * height), 0), min(row + int(half * height), height)
    left, right = max(column - int(half * width), 0), min(column + int(half * width), width)
    mixed = signals.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
