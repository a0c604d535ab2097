"""Training objectives: ``loss(model, signals, labels) -> ()``."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax

from ...framework.checks import number
from ...framework.models import Model
from ...framework.protocols import Loss

_EPSILON = 1e-6  # the least probability whose logarithm is taken in `mart`


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


def mart(beta: float = 5.0) -> Loss:
    """Boosted cross-entropy on the perturbed signals, plus `beta` times the change of the prediction where it is wrong.

    For each signal, with p the prediction on the natural and q on the perturbed one,
    ``-log q[y] - log(1 - max q[k]) + beta * KL(p || q) * (1 - p[y])``, where k is any class but y, in nats, averaged
    over the batch (Wang et al. 2020); the perturbation is that of PGD.
    """
    number("beta", beta, 0)

    def loss(model: Model, signals: torch.Tensor, labels: torch.Tensor, natural: torch.Tensor) -> torch.Tensor:
        before = log_softmax(model.module(natural).float(), 1)  # (B, classes)
        after = log_softmax(model.module(signals).float(), 1)
        right = torch.nn.functional.one_hot(labels, after.shape[1]).bool()
        wrong = after.masked_fill(right, -torch.inf).amax(dim=1)  # log-probability of the likeliest other class
        margin = torch.log1p(-wrong.exp().clamp(max=1 - _EPSILON))
        boosted = torch.nn.functional.nll_loss(after, labels) - margin.mean()
        change = kl_div(after, before, reduction="none", log_target=True).sum(dim=1)
        return boosted + beta * (change * (1 - before[right].exp())).mean()

    return loss
