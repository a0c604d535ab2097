"""What a training goes on from: weights, optimizer, counts and history, kept after each epoch and taken up again."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.errors import MetameryError
from ..framework.recipes import Recipe
from . import checkpoints

History = list[dict[str, float]]

LAST, BEST = "last.safetensors", "best.safetensors"

_COUNTS = ("epoch", "batch", "best", "checked", "has_fallen", "history")


@dataclass(eq=False)
class State:
    """What a training goes on from, and what it has noted since it last looked.

    Parameters
    ----------
    module, optimizer
        Bare, and as Fabric has it.
    epoch, batch
        How many are done, in all and of this epoch.
    best
        The highest accuracy after an epoch.
    checked
        The highest accuracy under the recipe's check.
    has_fallen
        Whether that accuracy has fallen as far as the recipe allows.
    history
        Of each epoch, what was measured.
    averaged
        The network with the average of the weights, where the recipe wants one.
    moved
        How far replays have moved a batch's signals, ``(B, …)``.
    sums
        Of the losses and accuracies of this epoch's batches.
    noted
        Those of the batches since the last look, still on the device.
    """

    module: nn.Module
    optimizer: Any
    recipe: Recipe
    epoch: int = 0
    batch: int = 0
    best: float = -1.0
    history: History = field(default_factory=list)
    averaged: nn.Module | None = None
    moved: torch.Tensor | None = None
    checked: float = -1.0
    has_fallen: bool = False
    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float32, device="cpu"))
    noted: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.recipe.ema:
            self.averaged = copy.deepcopy(self.module).requires_grad_(False)

    def move(self, module: nn.Module, fabric: Fabric) -> None:
        """Move the weights by their gradients; `module` is the network as Fabric has it."""
        if self.recipe.clip_norm:
            fabric.clip_gradients(module, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        if self.averaged is not None:
            _average(self.averaged, self.module, self.recipe.ema)

    def note(self, seen: torch.Tensor) -> None:
        """Count a batch that the weights were moved by."""
        self.noted.append(seen)
        self.batch += 1

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
        loss, accuracy = (summed(self.sums.to(fabric.device), fabric) / self.batch / fabric.world_size).tolist()
        return {"loss": loss, "accuracy": accuracy}

    def guard(self, accuracy: float, fabric: Fabric) -> None:
        """Notice catastrophic overfitting: from one epoch to another the network learns to fool a weak attack."""
        self.checked = max(self.checked, accuracy)
        if self.has_fallen or not 0 < self.recipe.check_drop <= self.checked - accuracy:
            return
        self.has_fallen = True
        if fabric.is_global_zero:
            warnings.warn(
                f"catastrophic overfitting in epoch {self.epoch + 1}: accuracy under '{self.recipe.check}' is "
                f"{accuracy:.3f}, was {self.checked:.3f}; the training goes on with '{self.recipe.check}'",
                stacklevel=3,
            )

    def close_epoch(self, row: dict[str, float], best: Path, fabric: Fabric) -> None:
        """Go to the next epoch; keep the weights if they are the best so far."""
        self.history.append(row)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, torch.zeros(2, dtype=torch.float32, device="cpu")
        reached = row.get("checked_accuracy", row.get("validation_accuracy", row["accuracy"]))
        if reached > self.best:
            self.best = reached
            if fabric.is_global_zero:
                weights = (self.averaged or self.module).state_dict()
                checkpoints.save(best, weights, {"epoch": self.epoch, "accuracy": reached})

    def save(self, place: Path, fabric: Fabric) -> None:
        moved = None if self.moved is None else _gathered(self.moved, fabric)
        if not fabric.is_global_zero:
            return
        moments, numbers = checkpoints.flattened(self.optimizer.state_dict())
        parts = {"weights": self.module.state_dict(), "optimizer": moments}
        if self.averaged is not None:
            parts["averaged"] = self.averaged.state_dict()
        if moved is not None:
            parts["moved"] = {"signals": moved}
        tensors = {f"{part}/{name}": tensor for part, own in parts.items() for name, tensor in own.items()}
        counts = {name: getattr(self, name) for name in _COUNTS}
        checkpoints.save(place, tensors, {**counts, "sums": self.sums.tolist(), "optimizer": numbers})

    def resume(self, place: Path, fabric: Fabric) -> None:
        """Take over what an earlier call left, if it left anything.

        Raises
        ------
        MetameryError
            It is of another network.
        """
        if not place.exists():
            return
        tensors, state = checkpoints.load(place)
        parts: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "optimizer": {}, "averaged": {}, "moved": {}}
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
        if parts["moved"]:
            self.moved = parts["moved"]["signals"][fabric.global_rank].to(fabric.device)
        for name in _COUNTS:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.sums = torch.tensor(state["sums"], dtype=torch.float32, device="cpu")


def summed(values: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Sum over all processes."""
    total = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total


@torch.no_grad()
def _average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move an average of weights towards them; what is no weight is taken over."""
    own, new = averaged.state_dict(), module.state_dict()
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(new[name], 1 - decay)
        else:
            tensor.copy_(new[name])


def _gathered(tensor: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Every process's tensor, ``(processes, …)``."""
    gathered = fabric.all_gather(tensor)
    assert isinstance(gathered, torch.Tensor)
    return gathered.reshape(fabric.world_size, *tensor.shape)
