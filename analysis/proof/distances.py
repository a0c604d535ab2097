"""Distances between activations: what synthesis lowers.

Each takes activations and targets ``(B, …)`` of the same shape and returns ``(B,)``, one number for each signal,
which depends on that signal alone.
"""

from __future__ import annotations

import torch


def relative_l2(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """‖a − a₀‖₂ / ‖a₀‖₂ over the flattened activation (Feather et al. 2023, Methods); 0 is a perfect match."""
    error, size = (torch.linalg.vector_norm(a.flatten(1), dim=1) for a in (activations - targets, targets))
    relative: torch.Tensor = error / size
    return relative


def cosine(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 − cos(a, a₀), in [0, 2]: blind to the activation's overall size."""
    return 1 - torch.nn.functional.cosine_similarity(activations.flatten(1), targets.flatten(1), dim=1)


def correlation(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 − Pearson's r(a, a₀), in [0, 2]: blind to the activation's overall size and mean."""
    a, b = activations.flatten(1), targets.flatten(1)
    return 1 - torch.nn.functional.cosine_similarity(
        a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True), dim=1
    )
