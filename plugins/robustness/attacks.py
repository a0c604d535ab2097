"""The attacks of `metamery.analysis.attacks.gradient` as perturbations; settings are checked once, in the factories."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import kl_div, log_softmax

from ...analysis.attacks.balls import draw
from ...analysis.attacks.gradient import LogitLoss, apgd, check_settings, fgsm, pgd
from ...framework.protocols import Perturbable, Perturbation
from ...framework.running import frozen

_EPSILON_LINF = 8 / 255
_EPSILON_L2 = 3.0


def fast_gradient_sign(
    epsilon: float = _EPSILON_LINF,
    step_size: float | None = None,
    random_start: bool = False,
    loss: str | LogitLoss = "cross_entropy",
) -> Perturbation:
    """One signed step of `step_size`, by default `epsilon`; fast training uses 1.25 epsilon and a random start."""
    return _ready(fgsm, epsilon=epsilon, step_size=step_size, random_start=random_start, loss=loss)


def pgd_linf(
    epsilon: float = _EPSILON_LINF,
    steps: int = 10,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    loss: str | LogitLoss = "cross_entropy",
) -> Perturbation:
    """Projected gradient descent in the Linf norm; `step_size` is 2.5 epsilon / steps by default."""
    return _ready(
        pgd,
        norm="linf",
        epsilon=epsilon,
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        random_start=random_start,
        loss=loss,
    )


def pgd_l2(
    epsilon: float = _EPSILON_L2,
    steps: int = 10,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    loss: str | LogitLoss = "cross_entropy",
) -> Perturbation:
    """Projected gradient descent in the L2 norm; `step_size` is 2.5 epsilon / steps by default."""
    return _ready(
        pgd,
        norm="l2",
        epsilon=epsilon,
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        random_start=random_start,
        loss=loss,
    )


def pgd_kl(epsilon: float = _EPSILON_LINF, steps: int = 10, step_size: float | None = None) -> Perturbation:
    """Projected gradient descent, Linf, away from the model's own prediction, in the Kullback–Leibler divergence.

    The inner attack of TRADES (Zhang et al. 2019): labels are not used, and it starts from
    normal noise of 0.001 of the range around the signal. `step_size` is 2.5 epsilon / steps by default.
    """
    check_settings(epsilon=epsilon, steps=steps, step_size=step_size)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        with frozen(model.module), torch.no_grad():
            predicted = log_softmax(model.module(signals).float(), 1)  # (B, classes)

        def divergence(logits: torch.Tensor, _labels: torch.Tensor) -> torch.Tensor:
            return kl_div(log_softmax(logits, 1), predicted, reduction="none", log_target=True).sum(1)

        near = 0.001 * (model.domain.high - model.domain.low) * draw(torch.randn, signals, generator)
        return pgd(
            model,
            signals,
            labels,
            epsilon=epsilon,
            steps=steps,
            step_size=step_size,
            loss=divergence,
            start=(signals.detach() + near),
        )

    return perturb


def apgd_linf(
    epsilon: float = _EPSILON_LINF, steps: int = 100, restarts: int = 1, loss: str | LogitLoss = "cross_entropy"
) -> Perturbation:
    """Auto-PGD in the Linf norm; it adapts its step sizes by itself."""
    return _ready(apgd, norm="linf", epsilon=epsilon, steps=steps, restarts=restarts, loss=loss)


def apgd_l2(
    epsilon: float = _EPSILON_L2, steps: int = 100, restarts: int = 1, loss: str | LogitLoss = "cross_entropy"
) -> Perturbation:
    """Auto-PGD in the L2 norm; it adapts its step sizes by itself."""
    return _ready(apgd, norm="l2", epsilon=epsilon, steps=steps, restarts=restarts, loss=loss)


def _ready(attack: Any, **settings: Any) -> Perturbation:
    check_settings(**settings)
    return partial(attack, **settings)
