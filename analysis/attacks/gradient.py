"""Attacks of bounded norm: FGSM, PGD and APGD, for any model, range of values and loss.

An attack searches for signals that are near the given ones and raise a loss ``(logits, labels) -> (B,)``. The model is
in eval mode with its weights frozen; its state is restored afterwards, even after an error. Gradients of weights are
not changed, randomness comes from the generator, and nothing in a loop waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import nn

from ...framework.checks import MANY, flag, number, one_of, whole
from ...framework.errors import MetameryError
from ...framework.protocols import Perturbable
from ...framework.running import frozen
from .balls import Ball, Randomness, Size, ball, check_norm, check_one_each, class_indices

LogitLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def fgsm(
    model: Perturbable,
    signals: torch.Tensor,
    labels: torch.Tensor,
    generator: Randomness = None,
    *,
    epsilon: Size,
    step_size: Size | None = None,
    random_start: bool = False,
    loss: str | LogitLoss = "cross_entropy",
) -> torch.Tensor:
    """Fast gradient sign method: one step of ``epsilon * sign(gradient)`` (Goodfellow et al. 2015, section 4).

    With a random start and steps of 1.25 epsilon it is the attack of fast adversarial training (Wong et al. 2020,
    algorithm 3). Parameters and result are those of `pgd`.
    """
    return pgd(
        model,
        signals,
        labels,
        generator,
        epsilon=epsilon,
        steps=1,
        step_size=epsilon if step_size is None else step_size,
        random_start=random_start,
        loss=loss,
    )


def pgd(
    model: Perturbable,
    signals: torch.Tensor,
    labels: torch.Tensor,
    generator: Randomness = None,
    *,
    epsilon: Size,
    norm: str = "linf",
    steps: int = 10,
    step_size: Size | None = None,
    random_start: bool = True,
    restarts: int = 1,
    loss: str | LogitLoss = "cross_entropy",
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Projected gradient descent, ``x ← P(x + step_size * direction)`` (Madry et al. 2018, section 2.1).

    The direction is the sign of the loss's gradient (Linf), or the gradient at length 1 (L2).

    Parameters
    ----------
    model
        Model to attack; its module and its domain's range are used.
    signals
        ``(B, …)``, floating point, inside the domain's range.
    labels
        ``(B,)``, class indices (or what a custom `loss` takes).
    generator
        Generator of the random starts; not needed where there are none. A list has one for each signal, whose result
        then does not depend on the rest of the batch.
    epsilon
        Radius in the signals' units, one number or ``(B,)``.
    norm
        ``linf`` or ``l2``.
    step_size
        Size of a step in the signals' units, one number or ``(B,)``; 2.5 epsilon / steps by default (Madry et al. 2018,
        section 5).
    random_start
        Start uniformly within the ball instead of at the signal.
    restarts
        Number of starts. With more than one, each signal's best result is kept: one that the model gets wrong before
        one that it gets right, then the one of higher loss. Each start then takes one more forward pass.
    loss
        Loss to raise: ``cross_entropy``, ``margin``, ``dlr``, or a function of logits ``(B, classes)`` and labels
        with a value ``(B,)`` for each signal.
    start
        Points to start from (the first time), ``(B, …)``.

    Returns
    -------
    torch.Tensor
        ``(B, …)``, of the signals' type, detached, within `epsilon` of them and inside the domain's range.

    Raises
    ------
    MetameryError
        A setting or the signals are out of bounds, or the labels are not a class index of the model for each.
    """
    check_settings(norm=norm, steps=steps, step_size=step_size, restarts=restarts, random_start=random_start, loss=loss)
    with _attacked(model, signals, labels, epsilon, norm, loss) as (around, network):
        size = _each(2.5 * epsilon / steps if step_size is None else step_size, around.centre)

        def descend(points: torch.Tensor) -> torch.Tensor:
            for _ in range(steps):
                points = around.step(points, network.gradient(points), size)
            return points

        begin = partial(around.inside, generator) if random_start else (lambda: around.centre)
        ends = map(descend, _starts(around, start, begin, restarts))
        return next(ends) if restarts == 1 else reduce(_better, map(network.evaluate, ends)).points


def apgd(
    model: Perturbable,
    signals: torch.Tensor,
    labels: torch.Tensor,
    generator: Randomness = None,
    *,
    epsilon: Size,
    norm: str = "linf",
    steps: int = 100,
    restarts: int = 1,
    loss: str | LogitLoss = "cross_entropy",
    rho: float = 0.75,
    momentum: float = 0.75,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Auto-PGD: PGD with momentum and step sizes that adapt to each signal (Croce & Hein 2020, algorithm 1).

    The step size begins at 2 epsilon. At each checkpoint (section 3.1) a signal's step size is halved, and it continues
    from its best point, if the loss rose in no more than `rho` of the steps since the last checkpoint (condition 1), or
    if neither step size nor best loss has changed since (condition 2). As in the authors' program, the start is random
    and reaches the ball's surface.

    Parameters are those of `pgd`, and:

    Parameters
    ----------
    rho
        Share of the steps in condition 1.
    momentum
        Weight of the gradient's step; the rest continues the previous step (the paper's alpha).

    Returns
    -------
    torch.Tensor
        As that of `pgd`; each signal's best point of all that were evaluated, in all restarts.
    """
    check_settings(norm=norm, steps=steps, restarts=restarts, loss=loss)
    with _attacked(model, signals, labels, epsilon, norm, loss) as (around, network):
        starts = _starts(around, start, partial(around.surface, generator), restarts)
        return reduce(_better, (_climb(around, network, points, steps, rho, momentum) for points in starts)).points


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Minus the log probability of the label, ``(B,)``, in nats."""
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """By how much the best other logit exceeds the label's, ``(B,)`` (Carlini & Wagner 2017, f6 without its floor)."""
    own, other, _ = _ranked(logits, labels, 2)
    return other - own


def dlr(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Difference of logits ratio (Croce & Hein 2020, equation 6), ``(B,)``: `margin` over first minus third logit.

    Unlike `cross_entropy` it does not change when all logits are scaled, so its gradient does not vanish where a
    network is confident.
    """
    own, other, top = _ranked(logits, labels, 3)
    return (other - own) / (top[:, 0] - top[:, 2] + 1e-12)


LOSSES: dict[str, LogitLoss] = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
"""Losses that an attack may raise, by name."""


def check_settings(
    *,
    epsilon: object = 0.0,
    norm: str = "linf",
    steps: object = 1,
    step_size: object = None,
    restarts: object = 1,
    random_start: object = True,
    loss: str | LogitLoss = "cross_entropy",
) -> None:
    """Raise `MetameryError` for a setting that no attack takes, whatever the signals; names the nearest valid one."""
    check_norm(norm)
    for name, size in (("epsilon", epsilon), ("step_size", step_size)):
        if size is not None and not isinstance(size, torch.Tensor):
            number(name, size, 0)
    for name, count in (("steps", steps), ("restarts", restarts)):
        whole(name, count, 1, MANY)
    flag("random_start", random_start)
    if restarts != 1 and not random_start:
        raise MetameryError(f"restarts is {restarts}, but without a random start all are the same: expected 1")
    if not callable(loss):
        one_of("loss of an attack:", loss, LOSSES)


@dataclass(frozen=True, eq=False)
class _Points:
    """Points ``(B, …)`` with the network's loss there, and whether it missed the label, ``(B,)``."""

    points: torch.Tensor
    values: torch.Tensor
    missed: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Network:
    """The module, labels and loss that are attacked."""

    module: nn.Module
    labels: torch.Tensor
    loss: LogitLoss
    highest: int = -1  # of the labels, where they are class indices

    def gradient(self, points: torch.Tensor) -> torch.Tensor:
        """The loss's gradient, ``(B, …)``; each signal's own, as the losses are added up."""
        leaf = points.detach().requires_grad_()
        return _gradient(self._values(self.module(leaf)), leaf)

    def evaluate(self, points: torch.Tensor) -> _Points:
        with torch.no_grad():
            logits = self.module(points)
            return _Points(points, self._values(logits), self._missed(logits))

    def evaluate_with_gradient(self, points: torch.Tensor) -> tuple[_Points, torch.Tensor]:
        """Both from one pass."""
        leaf = points.detach().requires_grad_()
        logits = self.module(leaf)
        values = self._values(logits)
        return _Points(points, values.detach(), self._missed(logits.detach())), _gradient(values, leaf)

    def _values(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.ndim == 2 and self.highest >= logits.shape[1]:
            raise MetameryError(f"label {self.highest}, expected at most {logits.shape[1] - 1}: the model's last class")
        values = self.loss(logits.float() if logits.dtype in (torch.half, torch.bfloat16) else logits, self.labels)
        if values.shape != logits.shape[:1]:
            raise MetameryError(
                f"the loss of an attack has shape {tuple(values.shape)}, expected ({len(logits)},), one for each signal"
            )
        return values

    def _missed(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.argmax(dim=1) != (self.labels if self.labels.ndim == 1 else self.labels.argmax(dim=1))


def _gradient(values: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    reason = "it detaches them, or runs under no_grad or inference_mode"
    try:
        gradient = torch.autograd.grad(values.sum(), leaf, allow_unused=True)[0] if values.requires_grad else None
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # such as that of reentrant checkpointing
        gradient, reason = None, str(error).splitlines()[0]
    if gradient is None:
        raise MetameryError(f"the network gives the signals no gradient, which attacks need: {reason}")
    return gradient


@contextmanager
def _attacked(
    model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, epsilon: Size, norm: str, loss: str | LogitLoss
) -> Iterator[tuple[Ball, _Network]]:
    # Gradients are needed whatever mode the caller is in; tensors made in inference mode have none until copied.
    with torch.inference_mode(False), torch.enable_grad(), frozen(model.module):
        around = ball(signals.detach().clone(), epsilon, norm, model.domain)
        if callable(loss):
            check_one_each(labels, signals)
            yield around, _Network(model.module, labels.detach().clone(), loss)
        else:
            indices = class_indices(labels, signals)
            highest = int(indices.max()) if len(indices) else -1
            yield around, _Network(model.module, indices, LOSSES[loss], highest)


def _starts(
    around: Ball, first: torch.Tensor | None, begin: Callable[[], torch.Tensor], restarts: int
) -> Iterator[torch.Tensor]:
    if first is not None:
        yield around.project(first.detach().to(around.centre))
    for _ in range(restarts if first is None else restarts - 1):
        yield begin()


def _climb(around: Ball, network: _Network, points: torch.Tensor, steps: int, rho: float, momentum: float) -> _Points:
    """One run of APGD; all bookkeeping is per signal, ``(B,)``."""
    current, gradient = network.evaluate_with_gradient(points)
    highest, steepest = current, gradient  # where the loss was highest, and its gradient: a halved step resumes there
    best, before = current, points
    size = 2 * around.radius * points.new_ones(len(points), *[1] * (points.ndim - 1))  # (B, 1, …)
    rises, checked = torch.zeros_like(current.values), 0
    highest_at_check, halved_at_check = highest.values, torch.ones_like(current.missed)
    checkpoints = _checkpoints(steps)
    for step in range(1, steps + 1):
        share = momentum if step > 1 else 1.0
        ahead = around.step(points, gradient, size)
        moved = around.project(points + share * (ahead - points) + (1 - share) * (points - before))
        before, points = points, moved
        if step == steps:
            break
        value_before = current.values
        current, gradient = network.evaluate_with_gradient(points)
        best = _better(best, current)
        rises = rises + (current.values > value_before)
        higher = current.values > highest.values
        highest, steepest = _choose(higher, current, highest), _where(higher, gradient, steepest)
        if step in checkpoints:
            stuck = rises <= rho * (step - checked)
            idle = ~halved_at_check & (highest_at_check >= highest.values)
            halved = stuck | idle
            size = _where(halved, size / 2, size)
            points, gradient = _where(halved, highest.points, points), _where(halved, steepest, gradient)
            rises, checked = torch.zeros_like(rises), step
            highest_at_check, halved_at_check = highest.values, halved
    return _better(best, network.evaluate(points))


def _checkpoints(steps: int) -> set[int]:
    """The steps after which step sizes are checked: .22 of all, then .03 fewer each time, no fewer than .06."""
    period, shrink, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    checkpoints, step = set(), 0
    while (step := step + period) <= steps:
        checkpoints.add(step)
        period = max(period - shrink, shortest)
    return checkpoints


def _ranked(logits: torch.Tensor, labels: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The label's logit and the best other one, each ``(B,)``, and the `count` highest, ``(B, count)``."""
    if logits.shape[1] < count:
        raise MetameryError(f"this loss of an attack needs {count} classes or more, the model has {logits.shape[1]}")
    top, where = logits.topk(count, dim=1)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own, torch.where(where[:, 0] == labels, top[:, 1], top[:, 0]), top


def _better(one: _Points, other: _Points) -> _Points:
    """Each signal's better one; where the label was missed is better than where it was not, then the higher loss."""
    higher = (one.missed == other.missed) & (other.values > one.values)
    return _choose(higher | (other.missed & ~one.missed), other, one)


def _choose(mask: torch.Tensor, one: _Points, other: _Points) -> _Points:
    pairs = zip((one.points, one.values, one.missed), (other.points, other.values, other.missed), strict=True)
    return _Points(*[_where(mask, *pair) for pair in pairs])


def _where(mask: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.where(mask.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _each(size: Size, like: torch.Tensor) -> Size:
    """A size of ``(B,)`` as ``(B, 1, …)``; a number stays one."""
    return size.to(like).reshape(-1, *[1] * (like.ndim - 1)) if isinstance(size, torch.Tensor) else size
