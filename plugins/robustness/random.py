"""Random perturbations, the controls of adversarial ones: one draw, added, then clamped to the domain's range."""

from __future__ import annotations

import torch

from ...analysis.attacks.balls import check_epsilon, check_signals, draw, unit
from ...framework.checks import number
from ...framework.errors import MetameryError
from ...framework.protocols import Perturbable, Perturbation


def random_l2(epsilon: float = 3.0) -> Perturbation:
    """Add to each signal a random direction of length `epsilon`, uniform on the sphere (Feather et al. 2023)."""
    number("epsilon", epsilon, 0)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        check_epsilon(epsilon, "l2", signals, model.domain)
        return _add(model, signals, epsilon * unit(draw(torch.randn, signals, generator)))

    return perturb


def random_linf(epsilon: float = 8 / 255) -> Perturbation:
    """Add `epsilon` or −`epsilon` to each sample, with equal chance (Feather et al. 2023)."""
    number("epsilon", epsilon, 0)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        check_epsilon(epsilon, "linf", signals, model.domain)
        corner = (draw(torch.rand, signals, generator) < 0.5).to(signals.dtype) * 2 - 1
        return _add(model, signals, epsilon * corner)

    return perturb


def gaussian(sigma: float = 0.1) -> Perturbation:
    """Add independent Gaussian noise of standard deviation `sigma`, in the signals' units, to each sample."""
    number("sigma", sigma, 0)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        low, high = model.domain.low, model.domain.high
        if sigma > high - low:
            raise MetameryError(f"sigma is {sigma:g}, larger than the model's range [{low:g}, {high:g}]")
        return _add(model, signals, sigma * draw(torch.randn, signals, generator))

    return perturb


def _add(model: Perturbable, signals: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    check_signals(signals, model.domain)
    return (signals.detach() + change).clamp_(model.domain.low, model.domain.high)
