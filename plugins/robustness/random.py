"""Random perturbations, the controls of adversarial ones (Feather et al. 2023, Methods): one draw, then clamped."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...framework.models import Model

Perturb = Callable[[Model, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]


def random_l2(epsilon: float = 3.0) -> Perturb:
    """Add to each signal a random direction, uniform on the sphere, scaled to length `epsilon` before clamping."""

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = _draw(torch.randn, signals, generator)
        length: torch.Tensor = drawn.flatten(1).norm(dim=1).reshape(-1, *[1] * (signals.ndim - 1))
        return (signals + drawn / length * epsilon).clamp(model.domain.low, model.domain.high)

    return perturb


def random_linf(epsilon: float = 8 / 255) -> Perturb:
    """Add `epsilon` or −`epsilon` to each sample, with equal chance, before clamping."""

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        corner = (_draw(torch.rand, signals, generator) < 0.5).to(signals.dtype) * 2 - 1
        return (signals + epsilon * corner).clamp(model.domain.low, model.domain.high)

    return perturb


def _draw(draw: Callable[..., torch.Tensor], like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw on the generator's device, so that the numbers do not depend on where the signals are."""
    drawn = draw(like.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return drawn.to(like.device, like.dtype)
