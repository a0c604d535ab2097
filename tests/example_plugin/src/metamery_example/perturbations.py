"""The perturbation: a change of a signal."""

from __future__ import annotations

import torch
from metamery.framework import MetameryError, Model
from metamery.framework.protocols import Perturbation


def salt_and_pepper(fraction: float = 0.05) -> Perturbation:
    """Build noise that sets each sample, with probability `fraction`, to the range's lowest or highest value.

    Raises
    ------
    MetameryError
        `fraction` is not a probability.
    """
    if not 0 <= fraction <= 1:
        raise MetameryError(f"perturbation 'example-salt-and-pepper': fraction = {fraction:g}, expected 0 to 1")

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        # All randomness is the generator's; drawn on its device, the numbers do not depend on where the signals are.
        drawn = torch.rand(signals.shape, generator=generator, device=generator.device).to(signals.device)
        salted = signals.detach().masked_fill(drawn < fraction / 2, model.domain.low)
        return salted.masked_fill(drawn >= 1 - fraction / 2, model.domain.high)

    return perturb
