"""The core of metamer synthesis: a batch of signals whose activations at one layer approach given targets.

`match_layer` is a function from arrays to a `Record`. Every signal of the batch is optimised by itself, with
its own loss, gradient and parameter of the optimizer; one that has finished or failed leaves the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from ...framework.domains import Domain
from ...framework.layers import Tap, before_relu
from ...framework.schema import STATES
from .priors import bounds, total_variation
from .procedure import Procedure
from .settings import Settings

SYNC_EVERY = 10
"""Number of updates between two checks of the losses, each of which waits for the device."""


@dataclass(frozen=True, eq=False)
class Record:
    """Result of a batch of B signals.

    Parameters
    ----------
    signals
        ``(B, …)``, the last iterates.
    losses
        ``(B, steps + 1)``, before each update and after the last; NaN after a signal has left.
    steps
        ``(B,)``, number of updates made.
    states
        ``(B,)``, done (1) or failed (2), as in `STATES`.
    reasons
        Why each failed; empty where it did not.
    """

    signals: torch.Tensor
    losses: torch.Tensor
    steps: torch.Tensor
    states: torch.Tensor
    reasons: Sequence[str]


def match_layer(
    tap: Tap,
    targets: torch.Tensor,
    start: torch.Tensor,
    procedure: Procedure,
    domain: Domain,
    advance: Callable[[int], None] = lambda _updates: None,
) -> Record:
    """Move signals until their activations at a layer match the targets.

    Parameters
    ----------
    tap
        Open on one layer of a network in eval mode with frozen weights.
    targets
        Activations to match, ``(B, …)``.
    start
        Signals to start from, ``(B, …)``; they are not changed.
    procedure
        Settings, distance and optimizer.
    domain
        Domain of the signals; every iterate is clamped to its range.
    advance
        Called with the number of updates of single signals since the last call.

    Returns
    -------
    Record
        A signal whose target is silent (all 0) or not finite, whose loss becomes NaN, or which no gradient reaches
        is marked as failed, with the reason; the others continue.

    Examples
    --------
    >>> from metamery.analysis.synthesis.procedure import Procedure
    >>> from metamery.analysis.synthesis.settings import resolve_settings
    >>> from metamery.framework import Plugins
    >>> from metamery.framework.testing import example_model
    >>> model = example_model()
    >>> procedure = Procedure.load(resolve_settings({"steps": 20}), Plugins())
    >>> natural, start = torch.rand(2, 1, *model.domain.shape)
    >>> with torch.no_grad(), model.tap(["1"]) as tap:
    ...     target = tap(natural)["1"]
    >>> with model.tap(["1"]) as tap:
    ...     record = match_layer(tap, target, start, procedure, model.domain)
    >>> tuple(record.losses.shape), bool(record.losses[0, -1] < record.losses[0, 0])
    ((1, 21), True)
    """
    settings = procedure.settings
    batch = len(start)
    targets = targets.to(torch.promote_types(targets.dtype, torch.float32))
    losses = start.new_full((batch, settings.steps + 1), torch.nan, dtype=targets.dtype)
    steps = torch.zeros(batch, dtype=torch.int32, device="cpu")
    states = torch.full((batch,), STATES["done"], dtype=torch.int8, device="cpu")
    reasons = [_unfit(target) for target in targets]
    finished = start.clone()

    rows = [row for row, reason in enumerate(reasons) if not reason]
    advance((batch - len(rows)) * settings.steps)
    pool = _Pool(finished, targets, rows)
    optimizer = procedure.optimizer(pool.parameters) if rows else None
    on_cpu = torch.get_default_device().type == "cpu"
    for update in range(settings.steps + 1):
        if not pool.rows:
            break
        assert optimizer is not None
        last = update == settings.steps
        distances, gradient = _pull(tap, pool, procedure, domain, differentiate=not last)
        losses[pool.index, update] = distances
        if update % SYNC_EVERY == 0 or last:
            leaving = _leaving(distances, gradient, settings, update)
            for index, reason in leaving.items():
                row = pool.rows[index]
                reasons[row], steps[row] = reason, update
                finished[row] = pool.signals[index]
                advance(settings.steps - update)
            if leaving:
                kept = [index for index in range(len(pool.rows)) if index not in leaving]
                gradient = None if gradient is None else gradient[kept]
                pool.keep(kept)
                optimizer.param_groups[0]["params"] = pool.parameters
        if not pool.rows or gradient is None:
            break
        for parameter, own in zip(pool.parameters, gradient, strict=True):
            parameter.grad = own
        optimizer.param_groups[0]["lr"] = settings.rate(update)
        with nullcontext() if on_cpu else torch.device("cpu"):  # optimizers count steps there
            optimizer.step()
        pool.signals.clamp_(domain.low, domain.high)
        advance(len(pool.rows))
    for row, reason in enumerate(reasons):
        if reason:
            states[row] = STATES["failed"]
    return Record(finished, losses.cpu(), steps, states, reasons)


class _Pool:
    """The signals still being worked on: one tensor, and each signal as a parameter that shares its memory."""

    def __init__(self, signals: torch.Tensor, targets: torch.Tensor, rows: list[int]) -> None:
        self.rows = rows
        self.signals = signals[rows].clone()
        self.targets = targets[rows]
        self.parameters = list(self.signals.unbind())
        self._reindex()

    def keep(self, indices: list[int]) -> None:
        """Keep only these signals."""
        self.rows = [self.rows[index] for index in indices]
        self.signals = self.signals[indices].clone()
        self.targets = self.targets[indices]
        self.parameters = [self.parameters[index] for index in indices]
        for parameter, signal in zip(self.parameters, self.signals, strict=True):
            parameter.data = signal
        self._reindex()

    def _reindex(self) -> None:
        self.index = torch.tensor(self.rows, dtype=torch.long, device=self.signals.device)


def _pull(
    tap: Tap, pool: _Pool, procedure: Procedure, domain: Domain, *, differentiate: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return each signal's distance ``(B,)``, and the gradient of its own objective ``(B, …)``.

    The gradient is None where the activation does not depend on the signals, or `differentiate` is False.
    """
    settings, distance = procedure.settings, procedure.distance
    signals = pool.signals.detach().requires_grad_(differentiate)
    reduced = None if settings.precision == "float32" else getattr(torch, settings.precision)
    with (
        torch.set_grad_enabled(differentiate),
        torch.autocast(signals.device.type, reduced, enabled=reduced is not None),
    ):
        (activations,) = tap(signals).values()
    if not differentiate:
        return distance(activations.to(pool.targets.dtype), pool.targets), None
    leaf = activations.detach().to(pool.targets.dtype).requires_grad_()
    with torch.enable_grad():
        distances = distance(leaf, pool.targets)
        (pull,) = torch.autograd.grad(distances.sum(), leaf)
        if not activations.requires_grad:
            return distances.detach(), None
        point = before_relu(activations) if settings.modified_relu else activations
        if activations.dtype == torch.float16:  # its smallest numbers are larger than many gradients
            scale = pull.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(pull.dtype).tiny)
            per_signal = scale.reshape(-1, *[1] * (signals.ndim - 1))
            pull = pull / scale.reshape(-1, *[1] * (pull.ndim - 1))
        else:
            per_signal = None
        (gradient,) = torch.autograd.grad(point, signals, pull.to(activations.dtype), allow_unused=True)
        if gradient is None:  # something in between passes no gradient on, such as a quantised layer
            return distances.detach(), None
        if per_signal is not None:
            gradient = gradient * per_signal
        for prior, weight in ((total_variation, settings.total_variation), (bounds, settings.bounds)):
            if weight:
                penalty = prior(signals, domain.low, domain.high).sum()
                gradient = gradient + weight * torch.autograd.grad(penalty, signals)[0]
    return distances.detach(), gradient


def _unfit(target: torch.Tensor) -> str:
    if not target.isfinite().all():
        return "the stimulus's own activations are not finite here"
    return "" if target.any() else "the layer is silent for this stimulus: all of its activations are 0"


def _leaving(losses: torch.Tensor, gradient: torch.Tensor | None, settings: Settings, update: int) -> dict[int, str]:
    """Return the indices of the signals that leave the batch now, each with the reason if it failed."""
    leaving = {}
    reached = [True] * len(losses)
    if update == 0:
        reached = [False] * len(losses) if gradient is None else gradient.flatten(1).any(dim=1).tolist()
    for index, loss in enumerate(losses.tolist()):
        if math.isnan(loss):
            leaving[index] = f"the loss became NaN after {update} updates"
        elif update == settings.steps:
            leaving[index] = ""
        elif gradient is None:
            leaving[index] = "the layer does not depend on the signal"
        elif settings.tolerance and loss <= settings.tolerance:
            leaving[index] = ""
        elif loss > 0 and not reached[index]:
            leaving[index] = "no gradient reaches the starting signal"
    return leaving
