"""Training objectives: ``loss(model, signals, labels) -> ()``."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...framework.models import Model

Loss = Callable[[Model, torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean cross-entropy of the logits, in nats; labels ``(B,)`` are class indices."""

    def loss(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model.module(signals), labels, label_smoothing=label_smoothing)

    return loss
