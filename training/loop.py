"""The training loop, top to bottom.

One epoch: for each batch, perturb the signals, lower the loss, move the weights; then measure, write down, keep. What
an update does depends on the seed, the epoch and the batch alone, so an interrupted training goes on as if it had
not been.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.errors import MetameryError
from ..framework.models import Model
from ..framework.modes import frozen
from ..framework.progress import Progress
from ..framework.recipes import Recipe
from . import checkpoints
from .data import Examples, Order, batches, key
from .schedules import epsilon_share, learning_rate

Loss = Callable[[Model, torch.Tensor, torch.Tensor], torch.Tensor]
Perturb = Callable[[Model, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
History = list[dict[str, float]]

LAST, BEST = "last.safetensors", "best.safetensors"

LOOK_EVERY = 50
"""Updates between two looks at the losses: each look waits for the device."""


@dataclass(frozen=True)
class Tools:
    """What the names in a recipe stand for.

    Parameters
    ----------
    loss
        ``loss(model, signals, labels) -> ()``.
    optimizer
        ``make(parameters) -> torch.optim.Optimizer``.
    perturbation
        Builds the perturbation for a share of its full ``epsilon``; None trains on the signals as they are.
    """

    loss: Loss
    optimizer: Callable[[Any], torch.optim.Optimizer]
    perturbation: Callable[[float], Perturb] | None = None


def train(
    model: Model,
    examples: Examples,
    validation: Examples | None,
    recipe: Recipe,
    tools: Tools,
    folder: Path,
    *,
    fabric: Fabric,
    seed: int = 0,
    workers: int = 0,
    checkpoint_every: int | None = None,
    progress: Progress | None = None,
    after_epoch: Callable[[History], None] = lambda _history: None,
) -> History:
    """Train a network, and keep its last and its best weights in a folder.

    Parameters
    ----------
    model
        The network; parameters that do not require a gradient stay as they are. It is trained in place.
    examples, validation
        What it learns from, and what it is measured on after each epoch.
    recipe, tools
        How.
    folder
        Gets ``last.safetensors``, from which the same call goes on, and ``best.safetensors``, the weights with the
        highest accuracy on the validation examples (on the training examples where there are none).
    fabric
        Devices, precision and processes; launched.
    seed
        Where all randomness starts.
    workers
        Processes that decode signals, unless all are in memory.
    checkpoint_every
        Updates after which a checkpoint is written within an epoch, besides the one at its end.
    after_epoch
        Told the history so far, once the epoch is kept.

    Returns
    -------
    list of dict
        Of each epoch: ``loss``, ``accuracy`` (of the signals as they were perturbed), ``learning_rate``, ``seconds``,
        and ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    MetameryError
        The loss is not finite, the disk is full, or `folder` holds a checkpoint of another network.
    """
    progress = progress or Progress()
    updates = len(Order(len(examples), recipe.batch_size, 0, seed))  # per epoch
    module, optimizer = fabric.setup(model.module, tools.optimizer(_learning(model.module)))
    _train_mode(model.module)
    state = _State(model.module, optimizer, recipe)
    state.resume(folder / LAST)
    learner, kept = replace(model, module=module), replace(model, module=state.averaged or model.module)
    progress.start(recipe.epochs * updates, "training")
    progress.advance(state.epoch * updates + state.batch)
    while state.epoch < recipe.epochs:
        began = time.perf_counter()
        share = fabric.global_rank, fabric.world_size
        order = Order(len(examples), recipe.batch_size, state.epoch, seed, *share, first=state.batch)
        progress.describe(f"epoch {state.epoch + 1} of {recipe.epochs}")
        for batch in batches(examples, order, workers):
            update = state.epoch * updates + state.batch
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, update, updates)
            size = epsilon_share(recipe, update, updates)
            randomness = key(seed, "update", update, fabric.global_rank)
            signals, labels = fabric.to_device(batch)
            state.note(*_update(learner, signals, labels, recipe, tools, fabric, optimizer, randomness, size))
            progress.advance()
            if state.batch % LOOK_EVERY == 0 or state.batch == updates:
                state.look(updates)
            if checkpoint_every and state.batch % checkpoint_every == 0 and state.batch < updates:
                state.look(updates)
                state.save(folder / LAST, fabric)
        row = state.row(fabric) | {"learning_rate": optimizer.param_groups[0]["lr"]}
        if validation is not None:
            row |= evaluate(kept, validation, recipe.batch_size, fabric, workers)
        state.close_epoch(row | {"seconds": time.perf_counter() - began}, folder / BEST, fabric)
        state.save(folder / LAST, fabric)
        if fabric.is_global_zero:
            after_epoch(state.history)
    if state.averaged is not None:
        model.module.load_state_dict(state.averaged.state_dict())
    return state.history


def evaluate(model: Model, examples: Examples, batch_size: int, fabric: Fabric, workers: int = 0) -> dict[str, float]:
    """Mean cross-entropy, in nats, and accuracy on examples as they are, over all processes."""
    totals = torch.zeros(3, device=fabric.device)
    order = Order(len(examples), batch_size, 0, None, fabric.global_rank, fabric.world_size)
    with frozen(model.module), torch.no_grad(), fabric.autocast():
        for batch in batches(examples, order, workers):
            signals, labels = fabric.to_device(batch)
            logits = model.module(signals).float()
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            totals += torch.stack([loss, (logits.argmax(dim=1) == labels).sum(), loss.new_tensor(len(labels))])
    loss_sum, right, count = _summed(totals, fabric).tolist()
    return {"validation_loss": loss_sum / count, "validation_accuracy": right / count}


def _update(
    model: Model,
    signals: torch.Tensor,
    labels: torch.Tensor,
    recipe: Recipe,
    tools: Tools,
    fabric: Fabric,
    optimizer: Any,
    randomness: int,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one update; return the mean loss, and how many signals got the right class as they were perturbed."""
    generator = torch.Generator().manual_seed(randomness)
    perturb = tools.perturbation(epsilon) if tools.perturbation else None
    bare = replace(model, module=_bare(model.module))
    loss, seen = torch.zeros((), device=signals.device), []
    optimizer.zero_grad()
    parts = list(zip(signals.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True))
    for number, (natural, wanted) in enumerate(parts):
        part = natural
        if perturb is not None:
            with fabric.autocast():
                part = perturb(bare, natural, wanted, generator)
        with (
            fabric.no_backward_sync(model.module, enabled=number + 1 < len(parts)),  # type: ignore[arg-type]
            _Logits(bare.module) as logits,
            _seeded(randomness, signals.device),
        ):
            own = tools.loss(model, part, wanted) * (len(part) / len(signals))
            fabric.backward(own)
        loss += own.detach()
        seen.append((logits.last.argmax(dim=1) == wanted).sum())
    if recipe.clip_norm:
        fabric.clip_gradients(model.module, optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    return loss, torch.stack(seen).sum() / len(signals)


@dataclass(eq=False)
class _State:
    """What a training goes on from, and what it has noted since it last looked."""

    module: nn.Module
    optimizer: Any
    recipe: Recipe
    epoch: int = 0
    batch: int = 0
    best: float = -1.0
    history: History = field(default_factory=list)
    averaged: nn.Module | None = None
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(2))  # of losses and accuracies, this epoch
    noted: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.recipe.ema:
            self.averaged = copy.deepcopy(self.module).requires_grad_(False)

    def note(self, loss: torch.Tensor, accuracy: torch.Tensor) -> None:
        """Count an update whose weights are moved."""
        self.noted.append(torch.stack([loss, accuracy]))
        self.batch += 1
        if self.averaged is not None:
            _average(self.averaged, self.module, self.recipe.ema)

    def look(self, updates: int) -> None:
        """Wait for the device, and stop where a loss is not finite: nothing that came of it is kept."""
        if not self.noted:
            return
        noted = torch.stack(self.noted).cpu()
        if not (finite := noted[:, 0].isfinite()).all():
            update = self.epoch * updates + self.batch - len(noted) + int(finite.int().argmin()) + 1
            raise MetameryError(
                f"the loss is not finite in update {update} (epoch {self.epoch + 1}); "
                f"{LAST} holds the last good weights. A lower learning_rate or clip_norm may help"
            )
        self.sums = self.sums + noted.sum(dim=0)
        self.noted.clear()

    def row(self, fabric: Fabric) -> dict[str, float]:
        loss, accuracy = (_summed(self.sums.to(fabric.device), fabric) / self.batch / fabric.world_size).tolist()
        return {"loss": loss, "accuracy": accuracy}

    def close_epoch(self, row: dict[str, float], best: Path, fabric: Fabric) -> None:
        """Go to the next epoch; keep the weights if they are the best so far."""
        self.history.append(row)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, torch.zeros(2)
        if (reached := row.get("validation_accuracy", row["accuracy"])) > self.best:
            self.best = reached
            if fabric.is_global_zero:
                weights = (self.averaged or self.module).state_dict()
                checkpoints.save(best, weights, {"epoch": self.epoch, "accuracy": reached})

    def save(self, place: Path, fabric: Fabric) -> None:
        if not fabric.is_global_zero:
            return
        moments, numbers = checkpoints.flattened(self.optimizer.state_dict())
        parts = {"weights": self.module.state_dict(), "optimizer": moments}
        if self.averaged is not None:
            parts["averaged"] = self.averaged.state_dict()
        tensors = {f"{part}/{name}": tensor for part, own in parts.items() for name, tensor in own.items()}
        counts = {"epoch": self.epoch, "batch": self.batch, "best": self.best, "history": self.history}
        checkpoints.save(place, tensors, {**counts, "sums": self.sums.tolist(), "optimizer": numbers})

    def resume(self, place: Path) -> None:
        """Take over what an earlier call left, if it left anything.

        Raises
        ------
        MetameryError
            It is of another network.
        """
        if not place.exists():
            return
        tensors, state = checkpoints.load(place)
        parts: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "optimizer": {}, "averaged": {}}
        for key_, tensor in tensors.items():
            part, _, name = key_.partition("/")
            parts[part][name] = tensor
        try:
            self.module.load_state_dict(parts["weights"])
            if self.averaged is not None:
                self.averaged.load_state_dict(parts["averaged"])
            self.optimizer.load_state_dict(checkpoints.joined(parts["optimizer"], state["optimizer"]))
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise MetameryError(f"'{place}' is of another network or recipe: {reason}") from None
        self.epoch, self.batch, self.best = state["epoch"], state["batch"], state["best"]
        self.history, self.sums = state["history"], torch.tensor(state["sums"])


class _Logits:
    """Sees what a network returned in its last forward pass."""

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
    """Have the global generators, which dropout draws from, begin at a seed; afterwards they are where they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _learning(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def _train_mode(module: nn.Module) -> None:
    """Put a network into training mode, except the parts whose weights are all frozen: their statistics stay too."""
    module.train()
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not any(weight.requires_grad for weight in own):
            part.eval()


def _bare(module: nn.Module) -> nn.Module:
    """The network itself, without what Fabric and DDP put around it."""
    while isinstance(inner := getattr(module, "module", None), nn.Module):
        module = inner
    return module


@torch.no_grad()
def _average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move an average of weights towards them; what is no weight is taken over."""
    own, new = averaged.state_dict(), module.state_dict()
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(new[name], 1 - decay)
        else:
            tensor.copy_(new[name])


def _summed(values: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    total = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total
