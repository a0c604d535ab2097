"""Estimate of the time and memory of an evaluation, from the passes that its evaluator states."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from ...framework.context import Context
from ...framework.contract import examine
from ...framework.devices import synchronize
from ...framework.models import Model
from ...framework.protocols import Evaluator
from .batches import fit, running

SIGNALS = 8
"""Number of signals in a measured pass."""


@dataclass(frozen=True)
class Cost:
    """What an evaluation takes at most in time, and at least in memory, besides PyTorch."""

    seconds: float
    memory_bytes: int


def cost(evaluator: Evaluator, context: Context) -> Cost | None:
    """Check what the evaluator checks of a context, and time two passes of a few signals through each model.

    Without stated passes the cost is not known, and None is returned; that the stimuli fit the models is checked.

    Raises
    ------
    MetameryError
        The evaluator refuses the context, or a stimulus does not fit a model.
    """
    passes = getattr(evaluator, "passes", None)
    stated = None if passes is None else passes(context)
    count = min(len(context.stimuli), SIGNALS, stated.batch_size if stated else 1)
    domains = {model.domain for model in context.models.values()}
    began = time.perf_counter()
    fitted = fit([context.stimuli[index] for index in range(count)], domains, context.device)
    seconds = (time.perf_counter() - began) / max(count, 1) * len(context.stimuli)
    if stated is None or not count:
        return None
    if not (stated.forward or stated.backward):
        return Cost(0.0, 0)
    memory, forward = 0, stated.forward_pass or _forward
    with running(context):
        for model in context.models.values():
            signals = fitted[model.domain]
            seconds += stated.forward * _seconds(partial(forward, model, signals), context.device) / count
            if stated.backward:
                taken = _seconds(partial(_backward, model, signals), context.device)
                seconds += stated.backward * taken / count
            memory = max(memory, stated.batch_size * _bytes(model, stated.backward > 0))
    weights = sum(w.numel() * w.element_size() for each in context.models.values() for w in each.module.parameters())
    return Cost(seconds, memory + weights)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time a piece of work, after it has been done once."""
    taken = 0.0
    for _ in range(2):
        began = time.perf_counter()
        work()
        synchronize(device)
        taken = time.perf_counter() - began
    return taken


def _forward(model: Model, signals: torch.Tensor) -> None:
    with torch.no_grad():
        model.module(signals)


def _backward(model: Model, signals: torch.Tensor) -> None:
    with torch.enable_grad():
        moved = signals.detach().requires_grad_()
        torch.autograd.grad(model.module(moved.clone()).sum(), moved)


def _bytes(model: Model, keeps: bool) -> int:
    """Return what a signal of a batch takes: what autograd keeps, or the largest activation."""
    layers = examine(model, model.layers).outline
    return layers[-1].kept_bytes if keeps else 4 * max(layer.units for layer in layers)
