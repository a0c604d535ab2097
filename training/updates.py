"""One update: the signals are perturbed, the loss computed, and the weights changed by its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.errors import MetameryError
from ..framework.models import Model
from ..framework.protocols import Perturbation
from ..framework.randomness import derived_seed
from .activations import LayerModel, perturbed
from .state import State
from .tools import TrainingTools
from .weight_perturbation import raised, unchanged_buffers


@dataclass(frozen=True)
class Batch:
    """Signals ``(B, …)`` and their classes ``(B,)``, of which a process has `mean` on average.

    Where signals are mixed, `targets` are the shares of the classes, ``(B, classes)``, and the labels those with the
    largest.
    """

    signals: torch.Tensor
    labels: torch.Tensor
    mean: float
    targets: torch.Tensor | None = None

    def parts(self, count: int) -> list[Batch]:
        """Divide it into parts, in all processes equally many, fewer where there are fewer signals."""
        count = min(count, int(self.mean))
        shares = [None] * count if self.targets is None else self.targets.tensor_split(count)
        divided = zip(self.signals.tensor_split(count), self.labels.tensor_split(count), shares, strict=True)
        return [Batch(signals, labels, self.mean, targets) for signals, labels, targets in divided]


def update(
    model: Model,
    state: State,
    batch: Batch,
    perturb: Perturbation | None,
    tools: TrainingTools,
    fabric: Fabric,
    randomness: int,
) -> torch.Tensor:
    """Make one update.

    Return the mean loss and accuracy on the signals as they were perturbed, and the norm of the gradient, ``(3,)``.
    """
    generator = torch.Generator().manual_seed(randomness)
    parts = [
        _perturbed(model, state, part, perturb, fabric, generator) for part in batch.parts(state.recipe.accumulate)
    ]

    def take_gradient() -> torch.Tensor:
        state.optimizer.zero_grad()
        return _sum_of_parts(model, state, parts, tools, fabric, randomness)

    if state.recipe.awp:
        with unchanged_buffers(state.module):
            take_gradient()
        with raised(state.module, state.recipe.awp):
            seen = take_gradient()
    else:
        seen = take_gradient()
    return torch.cat([seen, state.move(model.module, fabric)[None]])


@dataclass(frozen=True)
class _Part:
    """A part of a batch, its signals as they were perturbed, and the model that takes them."""

    learner: Model | LayerModel
    shown: torch.Tensor
    batch: Batch


def _perturbed(
    model: Model,
    state: State,
    part: Batch,
    perturb: Perturbation | None,
    fabric: Fabric,
    generator: torch.Generator,
) -> _Part:
    if perturb is None:
        return _Part(model, part.signals, part)
    bare = replace(model, module=state.passes or state.module)
    with fabric.autocast():
        taking, shown = perturbed(bare, state.recipe.layer, perturb, part.signals, part.labels, generator)
    if isinstance(taking, LayerModel):
        return _Part(replace(taking, module=taking.module.around(model.module)), shown, part)
    return _Part(model, shown, part)


def _sum_of_parts(
    model: Model, state: State, parts: Sequence[_Part], tools: TrainingTools, fabric: Fabric, randomness: int
) -> torch.Tensor:
    """Add up the gradients of a batch's parts, and over processes at the last.

    Return loss and accuracy, ``(2,)``, whose mean over processes is that of the batch.
    """
    device = parts[0].shown.device
    seen = torch.zeros(2, dtype=torch.float32, device=device)
    for number, part in enumerate(parts):
        more = {"natural": part.batch.signals} if tools.compares else {}
        more |= {} if part.batch.targets is None else {"targets": part.batch.targets}
        with (
            fabric.no_backward_sync(model.module, enabled=number + 1 < len(parts)),  # type: ignore[arg-type]
            _Logits(part.learner.module) as logits,
            _seeded(randomness, device),
        ):
            share = len(part.shown) / part.batch.mean  # the gradients of the processes are averaged
            loss = tools.loss(part.learner, part.shown, part.batch.labels, **more) * share
            if not loss.requires_grad:
                raise MetameryError(
                    "the loss has no gradient with respect to the weights: the network runs under no_grad or "
                    "inference_mode, or all of its weights are frozen"
                )
            fabric.backward(loss)
        right = (logits.last.argmax(dim=1) == part.batch.labels).float().mean()
        seen += torch.stack([loss.detach(), right * share])
    return seen


def replay(
    model: Model,
    state: State,
    batch: Batch,
    epsilon: float,
    tools: TrainingTools,
    fabric: Fabric,
    randomness: int,
) -> torch.Tensor:
    """Make updates on one batch whose gradients also move the signals (Shafahi et al. 2019, algorithm 1).

    The change of the signals is carried over from batch to batch. Return the mean of the results of `update`.
    """
    if state.moved is None:
        state.moved = torch.zeros_like(batch.signals)
    seen = torch.zeros(3, dtype=torch.float32, device=batch.signals.device)
    for turn in range(state.recipe.replays):
        moved = state.moved.requires_grad_()
        shown = replace(batch, signals=(batch.signals + moved).clamp(model.domain.low, model.domain.high))
        seen += update(model, state, shown, None, tools, fabric, derived_seed(randomness, turn))
        assert moved.grad is not None
        direction = moved.grad.nan_to_num().sign()  # float16 may overflow
        state.moved = (moved.detach() + epsilon * direction).clamp_(-epsilon, epsilon)
    return seen / state.recipe.replays


class _Logits:
    """Records what a network returned in its last forward pass."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> _Logits:
        self._handle = self.module.register_forward_hook(self._see)
        return self

    def __exit__(self, *_raised: object) -> None:
        self._handle.remove()

    def _see(self, _module: nn.Module, _arguments: Any, output: torch.Tensor) -> None:
        self.last = output.detach()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which dropout draws from; afterwards their states are restored."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
