"""Shifts and blurs: changes that leave what a signal shows as it is."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import pad

from ...framework.checks import number, one_of, whole
from ...framework.domains import Bounds
from ...framework.errors import MetameryError
from ...framework.protocols import Perturbable, Perturbation
from ..attacks.balls import check_signals

PADDINGS = ("reflect", "zero")


def shift(maximum: int = 4, padding: str = "reflect") -> Perturbation:
    """Move each signal by a whole number of pixels, or samples, drawn uniformly from −`maximum` to `maximum`.

    Images are moved along both axes, each by its own draw. What comes in at the edge is the signal mirrored there
    (``reflect``; the edge itself is not repeated), or black or silence (``zero``).
    """
    whole("maximum", maximum)
    one_of("padding", padding, PADDINGS)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        check_signals(signals, model.domain)
        dims = _dims(signals)
        shortest = min(signals.shape[dim] for dim in dims)
        if maximum >= shortest:
            raise MetameryError(f"maximum is {maximum}, expected less than the signals' length, {shortest}")
        moves = torch.randint(
            -maximum, maximum + 1, (len(dims), len(signals)), generator=generator, device=generator.device
        )
        return shifted(signals.detach(), moves, model.domain, padding)

    return perturb


def shifted(signals: torch.Tensor, by: torch.Tensor, domain: Bounds, padding: str) -> torch.Tensor:
    """Signals ``(B, …)``, each moved along its axes by integers ``(axes, B)`` below the signals' lengths."""
    result = signals.clone()
    for dim, steps in zip(_dims(signals), by.to(signals.device), strict=True):
        size = signals.shape[dim]
        source = torch.arange(size, device=signals.device) - steps[:, None]  # (B, size)
        known = (source >= 0) & (source < size)
        source = (size - 1) - ((size - 1) - source.abs()).abs()  # mirrored at both ends
        view = [len(signals), *[1] * (signals.ndim - 1)]
        view[dim] = size
        result = result.gather(dim, source.reshape(view).expand_as(result))
        if padding == "zero":
            result = result.where(known.reshape(view), domain.empty)
    return result


def blur(sigma: float = 1.0) -> Perturbation:
    """Convolve with a Gaussian of standard deviation `sigma`, in pixels or samples, along each axis.

    The Gaussian is truncated at 4 sigma and normalised; the signal is mirrored at its edges.
    """
    number("sigma", sigma, 0)
    radius = math.ceil(4 * sigma)

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        check_signals(signals, model.domain)
        dims = _dims(signals)
        shortest = min(signals.shape[dim] for dim in dims)
        if radius >= shortest:
            raise MetameryError(
                f"sigma is {sigma:g}, expected at most a quarter of the signals' length, {(shortest - 1) / 4:g}"
            )
        if not radius:
            return signals.detach().clone()
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64, device="cpu")
        weights = torch.softmax(-((offsets / sigma) ** 2) / 2, dim=0).to(signals)
        result = signals.detach()
        for dim in dims:
            result = _convolve(result, weights, dim)
        return result.clamp(model.domain.low, model.domain.high).contiguous()

    return perturb


def _dims(signals: torch.Tensor) -> tuple[int, ...]:
    """The dimensions of space in images ``(B, C, H, W)``, or of time in waveforms ``(B, T)``."""
    return (2, 3) if signals.ndim == 4 else (1,)


def _convolve(signals: torch.Tensor, weights: torch.Tensor, dim: int) -> torch.Tensor:
    lines = signals.movedim(dim, -1)
    radius = len(weights) // 2
    padded = pad(lines.reshape(-1, 1, lines.shape[-1]), (radius, radius), mode="reflect")  # (lines, 1, size + 2 radius)
    blurred = torch.nn.functional.conv1d(padded, weights[None, None])
    return blurred.reshape(lines.shape).movedim(-1, dim)
