"""One update: the signals are perturbed, the loss computed, and the weights changed by its gradient."""

from __future__ import annotations

from collections.abc import Iterator
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


@dataclass(frozen=True)
class Batch:
    """Signals ``(B, …)`` and their classes ``(B,)``.

    Where signals are mixed, `targets` are the shares of the classes, ``(B, classes)``, and the labels those with the
    largest.
    """

    signals: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor | None = None

    def parts(self, count: int) -> list[Batch]:
        """Divide it into parts, fewer where there are fewer signals."""
        shares = [None] * count if self.targets is None else self.targets.chunk(count)
        divided = zip(self.signals.chunk(count), self.labels.chunk(count), shares, strict=False)
        return [Batch(*part) for part in divided]


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
    bare = replace(model, module=state.module)
    device = batch.signals.device
    seen = torch.zeros(2, dtype=torch.float32, device=device)
    state.optimizer.zero_grad()
    parts = batch.parts(state.recipe.accumulate)
    for number, part in enumerate(parts):
        shown = part.signals
        learner: Model | LayerModel = model
        if perturb is not None:
            with fabric.autocast():
                taking, shown = perturbed(bare, state.recipe.layer, perturb, part.signals, part.labels, generator)
            if isinstance(taking, LayerModel):
                learner = replace(taking, module=taking.module.around(model.module))
        more = {"natural": part.signals} if tools.compares else {}
        more |= {} if part.targets is None else {"targets": part.targets}
        with (
            fabric.no_backward_sync(model.module, enabled=number + 1 < len(parts)),  # type: ignore[arg-type]
            _Logits(bare.module) as logits,
            _seeded(randomness, device),
        ):
            share = len(shown) / len(batch.signals)
            loss = tools.loss(learner, shown, part.labels, **more) * share
            if not loss.requires_grad:
                raise MetameryError(
                    "the loss has no gradient with respect to the weights: the network runs under no_grad or "
                    "inference_mode, or all of its weights are frozen"
                )
            fabric.backward(loss)
        right = (logits.last.argmax(dim=1) == part.labels).float().mean()
        seen += torch.stack([loss.detach(), right * share])
    return torch.cat([seen, state.move(model.module, fabric)[None]])


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
