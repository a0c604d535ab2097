"""Adversarial weight perturbation: weights moved to where the loss is higher, while a gradient is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def raised(module: nn.Module, gamma: float) -> Iterator[None]:
    """Move weights along their gradients; afterwards they are exactly what they were.

    Every tensor w of two or more dimensions that has a gradient g becomes ``w + gamma * |w| * g / |g|``, with L2 norms
    (Wu et al. 2020, equation 10, in one step). One whose gradient is 0 or not finite stays.
    """
    moved: list[tuple[nn.Parameter, torch.Tensor]] = []
    with torch.no_grad():
        for weight in module.parameters():
            if weight.grad is None or weight.dim() < 2:
                continue
            size = weight.grad.norm()
            step = gamma * weight.norm() / size * weight.grad
            moved.append((weight, weight.clone()))
            weight.add_(torch.where((size > 0) & size.isfinite(), step, 0.0))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in moved:
                weight.copy_(before)


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Restore a network's buffers afterwards, such as the running statistics of batch normalisation."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
