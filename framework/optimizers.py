"""Optimizers from the factories that names stand for, with what is asked of them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import MetameryError
from .manager import short

if TYPE_CHECKING:
    import torch

    from .protocols import OptimizerFactory


def make_optimizer(make: OptimizerFactory, parameters: Sequence[torch.Tensor], name: str) -> torch.optim.Optimizer:
    """Make an optimizer of parameters that are updated once from each gradient.

    Raises
    ------
    MetameryError
        It does not take its options, or it computes the loss several times in an update, as L-BFGS does: its line
        search would couple the signals of a batch, each of which is to be independent of the others.
    """
    try:
        optimizer = make(parameters)
    except (ValueError, TypeError, RuntimeError) as error:
        raise MetameryError(f"optimizer '{short(name)}': {error}") from error
    step = getattr(optimizer, "step", None)
    if not callable(step) or not hasattr(optimizer, "param_groups"):
        kind = type(optimizer).__name__
        raise MetameryError(f"optimizer '{short(name)}' makes {kind}, expected a torch.optim.Optimizer")
    closure = inspect.signature(step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise MetameryError(
            f"optimizer '{short(name)}' computes the loss several times in an update, which is not supported: "
            "expected one that updates from a gradient, such as adam"
        )
    return optimizer
