"""Training objectives: ``loss(model, signals, labels) -> ()``."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax

from ...framework.checks import number
from ...framework.models import Model
from ...framework.protocols import Loss


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean cross-entropy of the logits, in nats; labels ``(B,)`` are class indices, targets their probabilities.

    `label_smoothing` is the fraction of the target, from 0 to 1, that is spread over all classes.
    """
    number("label_smoothing", label_smoothing, 0, 1)

    def loss(
        model: Model, signals: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        wanted = labels if targets is None else targets
        return torch.nn.functional.cross_entropy(model.module(signals), wanted, label_smoothing=label_smoothing)

    return loss


def trades(beta: float = 6.0) -> Loss:
    """Cross-entropy on the natural signals, plus `beta` times the change of the prediction when they are perturbed.

    The change is the Kullback–Leibler divergence of the prediction on the perturbed signals from the one on the natural
    signals, in nats, averaged over the batch (Zhang et al. 2019, equation 5); the perturbation is `pgd_kl`.
    """
    number("beta", beta, 0)

    def loss(
        model: Model,
        signals: torch.Tensor,
        labels: torch.Tensor,
        natural: torch.Tensor,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        before = model.module(natural)  # (B, classes)
        after = model.module(signals)
        change = kl_div(log_softmax(after, 1), log_softmax(before, 1), reduction="batchmean", log_target=True)
        wanted = labels if targets is None else targets
        return torch.nn.functional.cross_entropy(before, wanted) + beta * change

    return loss
