"""The loss: what training lowers."""

from __future__ import annotations

import torch
from metamery.framework import MetameryError, Model
from metamery.framework.protocols import Loss
from torch.nn import functional


def focal(gamma: float = 2.0) -> Loss:
    """Build the focal loss (Lin et al. 2017): cross-entropy weighted by (1 − p)ᵞ, where p is that of the right class.

    Raises
    ------
    MetameryError
        `gamma` is negative, so that signals that are right already would count most.
    """
    if gamma < 0:
        raise MetameryError(f"loss 'example-focal': gamma = {gamma:g}, expected at least 0")

    def loss(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logs = functional.log_softmax(model.module(signals), dim=1)  # (B, classes)
        right = logs.gather(1, labels[:, None]).squeeze(1)  # (B,)
        return -((1 - right.exp()) ** gamma * right).mean()

    return loss
