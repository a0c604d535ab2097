"""The optimizer, of weights and of signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from metamery.framework.protocols import OptimizerFactory


class SignDescent(torch.optim.Optimizer):
    """Steps of one size, along the sign of each value's gradient."""

    def __init__(self, parameters: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())
        return loss


def sign_descent(lr: float = 0.01) -> OptimizerFactory:
    """Build sign descent; `lr` is the change of each value in a step."""
    return lambda parameters: SignDescent(parameters, lr)
