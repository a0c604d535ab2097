"""The core of metamer synthesis: a batch of signals whose activations at a layer, or a joint one, approach targets.

`match_layer` is a function from arrays to a `Record`. Every signal of the batch is optimised by itself, with
its own loss, gradient and state of the optimizer; one that has finished or failed leaves the batch.

On CUDA the pass forward and back is captured as a graph, whose kernels start together: launched one by one by Python,
those of a small batch take longer to start than to run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.layers import Tap
from ...framework.schema import STATES
from . import passes
from .passes import Compiled, Pass, Pull, Targets, relative_weights
from .procedure import Procedure
from .settings import Settings

if TYPE_CHECKING:
    from ...framework.protocols import OptimizerFactory

Settled = Callable[[int, torch.Tensor, torch.Tensor, Sequence[int]], Sequence[bool]]
"""``settled(update, signals, distances, rows)`` returns for each signal whether it is done."""

SYNC_EVERY = 10
"""Number of updates between two checks of the losses, each of which waits for the device."""

ELEMENTWISE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop)
"""Optimizers that treat every number by itself, so that a batch of signals can be one parameter."""

CAPTURE_FOR = 50
"""Smallest number of updates for which a pass is captured or compiled, which takes about as long as some of them."""


@dataclass(frozen=True, eq=False)
class Record:
    """Result of a batch of B signals.

    Parameters
    ----------
    signals
        ``(B, …)``, the last iterates.
    losses
        ``(B, steps + 1)``, before each update and after the last; NaN after a signal has left. With several terms, the
        weighted mean of their distances, where a term that pushes counts as negative.
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
    targets: torch.Tensor | Sequence[torch.Tensor],
    start: torch.Tensor,
    procedure: Procedure,
    domain: Domain,
    advance: Callable[[int], None] = lambda _updates: None,
    *,
    capture: bool = False,
    settled: Settled | None = None,
    compiled: Compiled | None = None,
    weights: Sequence[float] = (1.0,),
) -> Record:
    """Move signals until their activations at a layer match the targets.

    Parameters
    ----------
    tap
        Open on one layer of a network in eval mode with frozen weights, or on several, the terms of the objective.
    targets
        Activations to match, ``(B, …)``; with several terms, those of each.
    start
        Signals to start from, ``(B, …)``; they are not changed.
    procedure
        Settings, distance and optimizer.
    domain
        Domain of the signals; every iterate is clamped to its range.
    advance
        Called with the number of updates of single signals since the last call.
    capture
        Whether the pass may be captured as a CUDA graph, where the signals are on CUDA: the network must do the same
        in every pass. Where it cannot be captured, or gives something else then, it runs as it is.
    settled
        Called every `SYNC_EVERY` updates with their number, and with the signals that are still worked on, their
        distances and their rows in the batch; those for which it returns True leave the batch. By default none does.
    compiled
        Compiles the pass, which then is used until the first signal leaves; by default it runs as it is.
    weights
        Weight of each term, see `passes`; one that pushes has a negative one, and at least one is positive.

    Returns
    -------
    Record
        A signal whose target is silent (all 0) or not finite, whose loss becomes NaN, or which no gradient reaches
        is marked as failed, with the reason; the others continue.

    Raises
    ------
    MetameryError
        No weight is positive.

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
    if not (pulling := [index for index, weight in enumerate(weights) if weight > 0]):
        raise MetameryError(f"weights is {list(weights)}, expected at least one above 0")
    settings = procedure.settings
    batch = len(start)
    every = [targets] if isinstance(targets, torch.Tensor) else targets
    every = [each.to(torch.promote_types(each.dtype, torch.float32)) for each in every]
    losses = start.new_full((batch, settings.steps + 1), torch.nan, dtype=every[0].dtype)
    steps = torch.zeros(batch, dtype=torch.int32, device="cpu")
    states = torch.full((batch,), STATES["done"], dtype=torch.int8, device="cpu")
    reasons = [next(filter(None, map(_unfit, own)), "") for own in zip(*every, strict=True)]
    finished = start.clone()

    rows = [row for row, reason in enumerate(reasons) if not reason]
    advance((batch - len(rows)) * settings.steps)
    pool = _Pool(finished, every, weights, rows, procedure.optimizer)
    capture &= start.device.type == "cuda"
    captured: Callable[[], Pull] | None = None
    plain = partial(passes.pull, tap=tap, procedure=procedure, domain=domain)
    run: Pass = plain
    shares = torch.tensor(weights, dtype=losses.dtype, device=losses.device)
    shares = (shares / shares.abs().sum())[:, None]
    unchanged = 0  # updates since the last signal left
    for update in range(settings.steps + 1):
        if not pool.rows:
            break
        last = update == settings.steps
        if last:
            found, gradient = plain(pool.signals, *pool.aims, differentiate=False)
        elif update == 0 and len(every) > 1:
            relative = partial(relative_weights, weights)
            found, gradient = plain(pool.signals, pool.targets, relative)
            pool.weights = relative(found)
        elif captured is not None:
            found, gradient = captured()
        else:
            found, gradient = run(pool.signals, *pool.aims)
        distances = found[0] if len(every) == 1 else (shares * found).sum(dim=0)
        losses[pool.index, update] = distances
        if update % SYNC_EVERY == 0 or last:
            largest = found[pulling].amax(dim=0)
            leaving = _leaving(distances, largest, gradient, settings, update)
            if settled is not None and not last:
                done = settled(update, pool.signals, distances, pool.rows)
                leaving = {index: "" for index, is_done in enumerate(done) if is_done} | leaving
            for index, reason in leaving.items():
                row = pool.rows[index]
                reasons[row], steps[row] = reason, update
                finished[row] = pool.signals[index]
                advance(settings.steps - update)
            if leaving:
                kept = [index for index in range(len(pool.rows)) if index not in leaving]
                gradient = None if gradient is None else gradient[kept]
                pool.keep(kept)
                captured, compiled, run, unchanged = None, None, plain, 0
        if not pool.rows or gradient is None:
            break
        if unchanged == SYNC_EVERY and settings.steps - update >= CAPTURE_FOR:
            if compiled is not None:
                run = compiled(plain, pool.signals, *pool.aims, found)
            if capture:
                captured = passes.capture(partial(run, pool.signals, *pool.aims), found)
        pool.step(gradient, settings.rate(update))
        pool.signals.clamp_(domain.low, domain.high)
        advance(len(pool.rows))
        unchanged += 1
    for row, reason in enumerate(reasons):
        if reason:
            states[row] = STATES["failed"]
    return Record(finished, losses.cpu(), steps, states, reasons)


class _Pool:
    """The signals still being worked on: one tensor, with the optimizer of all, or of each as a parameter of its own.

    Parameters
    ----------
    signals, targets
        All signals of the batch, and the activations to match at each term.
    weights
        Weight of each term.
    rows
        Indices of those to be worked on.
    make
        Factory of the optimizer.
    """

    def __init__(
        self,
        signals: torch.Tensor,
        targets: Sequence[torch.Tensor],
        weights: Sequence[float],
        rows: list[int],
        make: OptimizerFactory,
    ) -> None:
        self.rows = rows
        self.signals = signals[rows].clone()
        self.targets = tuple(each[rows] for each in targets)
        shared = torch.tensor(weights, dtype=targets[0].dtype, device=signals.device)
        self.weights = shared[:, None].expand(-1, len(rows))
        self.index = torch.tensor(rows, dtype=torch.long, device=signals.device)
        self._whole = False
        if rows:
            self._optimizer = make([self.signals])
            self._whole = type(self._optimizer) in ELEMENTWISE
            if not self._whole:
                self._optimizer = make(list(self.signals.unbind()))

    @property
    def aims(self) -> tuple[Targets, torch.Tensor]:
        """The targets, and the weights of each term and signal."""
        return self.targets, self.weights

    def step(self, gradient: torch.Tensor, rate: float) -> None:
        """Make one update."""
        (group,) = self._optimizer.param_groups
        group["lr"] = rate
        gradients = [gradient] if self._whole else gradient.unbind()
        for parameter, own in zip(group["params"], gradients, strict=True):
            parameter.grad = own
        on_cpu = torch.get_default_device().type == "cpu"
        with nullcontext() if on_cpu else torch.device("cpu"):  # optimizers count steps there
            self._optimizer.step()

    def keep(self, indices: list[int]) -> None:
        """Keep only these signals."""
        self.rows = [self.rows[index] for index in indices]
        self.targets = tuple(each[indices] for each in self.targets)
        self.weights, self.index = self.weights[:, indices], self.index[indices]
        (group,) = self._optimizer.param_groups
        if self._whole:
            state = self._optimizer.state[self.signals]
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == self.signals.shape:
                    state[name] = value[indices]
            self.signals.grad = None
            self.signals.data = self.signals[indices]
        else:
            self.signals = self.signals[indices]
            group["params"] = [group["params"][index] for index in indices]
            for parameter, signal in zip(group["params"], self.signals, strict=True):
                parameter.grad, parameter.data = None, signal


def _unfit(target: torch.Tensor) -> str:
    if not target.isfinite().all():
        return "the stimulus's own activations are not finite here"
    return "" if target.any() else "the layer is silent for this stimulus: all of its activations are 0"


def _leaving(
    losses: torch.Tensor, largest: torch.Tensor, gradient: torch.Tensor | None, settings: Settings, update: int
) -> dict[int, str]:
    """Return the indices of the signals that leave the batch now, each with the reason if it failed.

    `largest` is each signal's largest distance at a term that pulls.
    """
    leaving = {}
    reached = [True] * len(losses)
    if update == 0:
        reached = [False] * len(losses) if gradient is None else gradient.flatten(1).any(dim=1).tolist()
    for index, (loss, farthest) in enumerate(zip(losses.tolist(), largest.tolist(), strict=True)):
        if math.isnan(loss):
            leaving[index] = f"the loss became NaN after {update} updates"
        elif update == settings.steps:
            leaving[index] = ""
        elif gradient is None:
            leaving[index] = "the layer does not depend on the signal"
        elif settings.tolerance and farthest <= settings.tolerance:
            leaving[index] = ""
        elif farthest > 0 and not reached[index]:
            leaving[index] = "no gradient reaches the starting signal"
    return leaving
