"""The distance: what synthesis lowers."""

from __future__ import annotations

import torch
from metamery.framework import MetameryError
from metamery.framework.protocols import Distance


def relative_lp(p: float = 1.0) -> Distance:
    """Build ‖a − a₀‖ₚ / ‖a₀‖ₚ over each signal's activation; at p = 1, few large activations count least.

    Raises
    ------
    MetameryError
        `p` is below 1, where this is no norm.
    """
    if p < 1:
        raise MetameryError(f"distance 'example-relative-lp': p = {p:g}, expected at least 1")

    def distance(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        error, size = (
            torch.linalg.vector_norm(each.flatten(1), ord=p, dim=1)  # (B,)
            for each in (activations - targets, targets)
        )
        relative: torch.Tensor = error / size
        return relative

    return distance
