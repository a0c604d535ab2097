"""Norm balls about signals, clipped to the domain's range: the points that an attack may reach, and its steps.

Everything works on batches ``(B, …)`` and per signal; a radius or a step is a number, or a tensor ``(B, 1, …)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ...framework.checks import number
from ...framework.domains import Bounds
from ...framework.errors import MetameryError, unknown

Size = float | torch.Tensor

Randomness = torch.Generator | Sequence[torch.Generator] | None
"""One generator for a batch, or one for each signal, whose draws then do not depend on the rest of the batch."""


@dataclass(frozen=True, eq=False)
class Ball(ABC):
    """The points no further than `radius` from `centre`, with values in [low, high]; `centre` is in that range."""

    centre: torch.Tensor  # (B, …)
    radius: Size
    low: float
    high: float

    @abstractmethod
    def project(self, points: torch.Tensor) -> torch.Tensor:
        """Project points ``(B, …)`` onto the ball, then clip them to the range, which keeps them in the ball."""

    @abstractmethod
    def step(self, points: torch.Tensor, gradients: torch.Tensor, size: Size) -> torch.Tensor:
        """Take the step of this size that raises a linear function most, and project; a zero gradient has no effect."""

    @abstractmethod
    def inside(self, generator: Randomness) -> torch.Tensor:
        """Draw points uniformly from the ball (before it is clipped to the range)."""

    @abstractmethod
    def surface(self, generator: Randomness) -> torch.Tensor:
        """Draw points that reach the radius (before it is clipped to the range)."""


class LinfBall(Ball):
    """Every sample may move by `radius`."""

    @cached_property
    def _lower(self) -> torch.Tensor:
        return (self.centre - self.radius).clamp(self.low, self.high)

    @cached_property
    def _upper(self) -> torch.Tensor:
        return (self.centre + self.radius).clamp(self.low, self.high)

    def project(self, points: torch.Tensor) -> torch.Tensor:
        return points.clamp(self._lower, self._upper)

    def step(self, points: torch.Tensor, gradients: torch.Tensor, size: Size) -> torch.Tensor:
        return gradients.sign().mul_(size).add_(points).clamp_(self._lower, self._upper)

    def inside(self, generator: Randomness) -> torch.Tensor:
        return self.project(self.centre + self.radius * (2 * draw(torch.rand, self.centre, generator) - 1))

    def surface(self, generator: Randomness) -> torch.Tensor:
        drawn = 2 * draw(torch.rand, self.centre, generator) - 1
        largest = drawn.abs().amax(dim=_signal_dims(drawn), keepdim=True)
        return self.project(self.centre + self.radius * (drawn / largest))


class L2Ball(Ball):
    """The whole signal may move by `radius`, in Euclidean length."""

    def project(self, points: torch.Tensor) -> torch.Tensor:
        moved = points - self.centre
        share = (self.radius / length(moved).clamp_min_(torch.finfo(moved.dtype).tiny)).clamp_max_(1)
        return moved.mul_(share).add_(self.centre).clamp_(self.low, self.high)

    def step(self, points: torch.Tensor, gradients: torch.Tensor, size: Size) -> torch.Tensor:
        return self.project(unit(gradients).mul_(size).add_(points))

    def inside(self, generator: Randomness) -> torch.Tensor:
        direction = unit(draw(torch.randn, self.centre, generator))
        one_each = self.centre.new_empty(len(self.centre), *[1] * (self.centre.ndim - 1))  # (B, 1, …)
        share = draw(torch.rand, one_each, generator) ** (1 / self.centre.shape[1:].numel())
        return self.project(self.centre + self.radius * share * direction)

    def surface(self, generator: Randomness) -> torch.Tensor:
        return self.project(self.centre + self.radius * unit(draw(torch.randn, self.centre, generator)))


BALLS: dict[str, type[Ball]] = {"linf": LinfBall, "l2": L2Ball}
"""Each norm by name."""


def ball(signals: torch.Tensor, epsilon: Size, norm: str, domain: Bounds) -> Ball:
    """The ball of radius `epsilon`, a number or ``(B,)``, about signals ``(B, …)`` of a domain.

    Raises
    ------
    MetameryError
        The signals are outside the domain's range, or `epsilon` is negative or larger than that range.
    """
    check_signals(signals, domain)
    check_epsilon(epsilon, norm, signals, domain)
    if isinstance(epsilon, torch.Tensor):
        epsilon = epsilon.to(signals).reshape(-1, *[1] * (signals.ndim - 1))
    return BALLS[norm](signals, epsilon, domain.low, domain.high)


def length(signals: torch.Tensor) -> torch.Tensor:
    """The Euclidean length of each signal, ``(B, 1, …)``."""
    norm: torch.Tensor = torch.linalg.vector_norm(signals, dim=_signal_dims(signals), keepdim=True)
    return norm


def unit(signals: torch.Tensor) -> torch.Tensor:
    """Each signal scaled to length 1; a signal of zeros stays zero.

    The largest value is scaled to 1 first: the squares of a well-trained network's gradients underflow in float32.
    """
    tiny = torch.finfo(signals.dtype).tiny
    scaled = signals / signals.abs().amax(dim=_signal_dims(signals), keepdim=True).clamp_min_(tiny)
    return scaled.div_(length(scaled).clamp_min_(tiny))


def draw(source: Callable[..., torch.Tensor], like: torch.Tensor, generator: Randomness) -> torch.Tensor:
    """Draw on the generator's device, so that the numbers do not depend on where the signals are."""
    if generator is None:
        raise MetameryError("a random draw needs a generator, such as torch.Generator().manual_seed(0)")
    if isinstance(generator, Sequence):
        return torch.cat([draw(source, one[None], own) for one, own in zip(like, generator, strict=True)])
    drawn = source(like.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return drawn.to(like.device, like.dtype)


def check_norm(norm: str) -> None:
    """Raise `UnknownNameError` for an unknown norm."""
    if norm not in BALLS:
        raise unknown("norm", norm, BALLS)


def check_signals(signals: torch.Tensor, domain: Bounds) -> None:
    """Raise `MetameryError` unless signals are floating point and inside the domain's range."""
    if not signals.is_floating_point():
        raise MetameryError(f"the signals are {signals.dtype}, expected floating point")
    if signals.numel():
        lowest, highest = torch.stack(signals.detach().aminmax()).tolist()
        if not (domain.low <= lowest and highest <= domain.high):  # NaN too
            raise MetameryError(
                f"the signals are in [{lowest:g}, {highest:g}], outside the model's range "
                f"[{domain.low:g}, {domain.high:g}]"
            )


def class_indices(labels: torch.Tensor, signals: torch.Tensor) -> torch.Tensor:
    """Class indices ``(B,)``, int64, on the signals' device and detached.

    Raises
    ------
    MetameryError
        The labels are of another type or shape, not one for each signal, or negative.
    """
    check_one_each(labels, signals)
    if labels.ndim != 1:
        raise MetameryError(
            f"labels have shape {tuple(labels.shape)}, expected ({len(signals)},), a class index for each signal"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise MetameryError(f"labels are {labels.dtype}, expected whole numbers: class indices")
    if len(labels) and int(labels.min()) < 0:
        raise MetameryError(f"label {int(labels.min())}, expected class indices from 0")
    return labels.detach().to(signals.device, torch.long, copy=True)


def check_one_each(labels: object, signals: torch.Tensor) -> None:
    """Raise `MetameryError` unless labels are a tensor with an entry for each signal."""
    if not isinstance(labels, torch.Tensor):
        raise MetameryError(f"labels are a {type(labels).__name__}, expected a tensor ({len(signals)},)")
    if labels.ndim == 0 or len(labels) != len(signals):
        raise MetameryError(f"labels have shape {tuple(labels.shape)}, expected one for each of {len(signals)} signals")


def check_epsilon(epsilon: Size, norm: str, signals: torch.Tensor, domain: Bounds) -> None:
    """Raise `MetameryError` for an epsilon that is negative, or larger than any change within the domain's range.

    The largest is the range itself, and in the L2 norm the range times the root of the number of samples.
    """
    check_norm(norm)
    if isinstance(epsilon, torch.Tensor):
        if epsilon.shape != (len(signals),):
            raise MetameryError(
                f"epsilon has shape {tuple(epsilon.shape)}, expected ({len(signals)},), one for each signal"
            )
        for value in epsilon.aminmax() if len(epsilon) else ():
            check_epsilon(float(value), norm, signals, domain)
        return
    number("epsilon", epsilon, 0)
    most = domain.high - domain.low
    if norm == "l2":
        most *= math.sqrt(signals.shape[1:].numel())
    if epsilon > most:
        raise MetameryError(
            f"epsilon is {epsilon:g}, larger than the model's range [{domain.low:g}, {domain.high:g}]: "
            f"expected at most {most:g} ({norm})"
        )


def _signal_dims(signals: torch.Tensor) -> tuple[int, ...]:
    return tuple(range(1, signals.ndim))
