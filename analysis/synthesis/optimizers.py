"""Optimizers for signals.

A factory takes the learning rate (and further options) and returns ``make(parameters) -> torch.optim.Optimizer``.
Synthesis passes every signal of a batch as a separate parameter, so an optimizer that treats its parameters
separately, as all of PyTorch's except LBFGS do, keeps the signals independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch

from ...framework.checks import FLOAT32, flag, number
from ...framework.errors import MetameryError
from ...framework.protocols import OptimizerFactory


class NormalisedGradientDescent(torch.optim.Optimizer):
    """p ← p − lr · g / (‖g‖₂ + eps), each parameter's gradient by its own norm.

    The update of Feather et al. (2023, Methods): every step has length `lr`, however steep the loss is.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 1.0, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    parameter.sub_(gradient * (group["lr"] / (gradient.norm() + group["eps"])))
        return loss


def normalised_gradient_descent(lr: float = 1.0, eps: float = 1e-10) -> OptimizerFactory:
    return partial(NormalisedGradientDescent, lr=number("lr", lr, 0, FLOAT32), eps=number("eps", eps, 0, FLOAT32))


def adam(lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0) -> OptimizerFactory:
    betas = number("beta1", beta1, 0, below=1), number("beta2", beta2, 0, below=1)
    weight_decay = number("weight_decay", weight_decay, 0, FLOAT32)
    return partial(torch.optim.Adam, lr=number("lr", lr, 0, FLOAT32), betas=betas, weight_decay=weight_decay)


def sgd(lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> OptimizerFactory:
    lr, momentum = number("lr", lr, 0, FLOAT32), number("momentum", momentum, 0, below=1)
    weight_decay = number("weight_decay", weight_decay, 0, FLOAT32)
    if flag("nesterov", nesterov) and not momentum:
        raise MetameryError("nesterov is True, and momentum 0: expected momentum above 0")
    return partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
