"""The cochlea's compression: a power, whose slope is bounded so that gradients do not explode near silence."""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import nn


class Compress(nn.Module):
    """``(max(x, 0) + offset) ** exponent``, with a bounded slope; see Feather et al. (2023, Methods).

    The gradient is that of the power, at most `slope_limit`, also where `x` is below 0: a low-passed envelope can
    undershoot to negative values, and needs a gradient to return from there.

    Parameters
    ----------
    exponent
        Exponent, above 0.
    offset
        Number added to the envelopes, in their units.
    slope_limit
        Largest slope. With 5 and an exponent of 0.3, the gradient at envelopes below 0.018 is the limit instead of
        the slope. With `inf` the gradient above 0 is that of the function.
    """

    def __init__(self, exponent: float = 0.3, offset: float = 1e-8, slope_limit: float = inf) -> None:
        super().__init__()
        self.exponent = exponent
        self.offset = offset
        self.slope_limit = slope_limit

    def forward(self, envelopes: torch.Tensor) -> torch.Tensor:
        options = (self.exponent, self.offset, self.slope_limit)
        compressed: torch.Tensor = _Power.apply(envelopes, *options)  # type: ignore[no-untyped-call]
        return compressed

    def extra_repr(self) -> str:
        return f"{self.exponent:g}, offset={self.offset:g}, slope_limit={self.slope_limit:g}"


class _Power(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, exponent: float, offset: float, slope_limit: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.options = exponent, offset, slope_limit
        return (x.clamp(min=0) + offset) ** exponent

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        exponent, offset, slope_limit = ctx.options
        slope = exponent * (x.clamp(min=0) + offset) ** (exponent - 1)
        return gradients[0] * slope.clamp(max=slope_limit), None, None, None
