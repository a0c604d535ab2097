"""The state of a training: weights, optimizer, counts and history, saved after each epoch and loaded again."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.errors import MetameryError
from ..framework.manager import short
from ..framework.models import Model
from ..framework.recipes import Recipe
from . import checkpoints
from .fingerprints import Fingerprint, probe, same_network

History = list[dict[str, float]]

LAST, BEST = "last.safetensors", "best.safetensors"


def of_epoch(epoch: int | str) -> str:
    """Return the name of the file with the weights of an epoch, counted from 1, or a pattern of such names."""
    return f"epoch-{epoch}.safetensors"


_COUNTS = ("epoch", "batch", "checked", "has_fallen", "history")
_HELP = "A lower learning_rate or clip_norm may help"


@dataclass(eq=False)
class State:
    """The state of a training, and the losses since it last waited for the device.

    Parameters
    ----------
    model, optimizer
        The unwrapped network, and the optimizer as wrapped by Fabric.
    updates
        Number of updates in an epoch.
    data
        Fingerprints of the signals, by their role.
    epoch, batch
        Number of epochs done, and of batches done in this epoch.
    checked
        Highest accuracy under the recipe's check.
    has_fallen
        Whether that accuracy has fallen as far as the recipe allows.
    history
        Measurements of each epoch.
    averaged
        The network with the average of the weights, if the recipe has one.
    moved
        Change of a batch's signals by replays, ``(B, …)``.
    sums
        Sums of the losses and accuracies over this epoch's batches, the mean over processes of each.
    noted
        Losses, accuracies and norms of the gradients of the batches since the last `look`, on the device.
    passes
        The network as perturbations run it; compiled where that is asked for.
    kept
        Numbers of epochs and batches of the last checkpoint; None before the first.
    """

    model: Model
    optimizer: Any
    recipe: Recipe
    updates: int
    data: Mapping[str, Fingerprint] = field(default_factory=dict)
    epoch: int = 0
    batch: int = 0
    history: History = field(default_factory=list)
    averaged: nn.Module | None = None
    moved: torch.Tensor | None = None
    checked: float = -1.0
    has_fallen: bool = False
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    noted: list[torch.Tensor] = field(default_factory=list)
    passes: nn.Module | None = None
    kept: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.module = self.model.module
        if self.recipe.ema:
            try:
                self.averaged = copy.deepcopy(self.module).requires_grad_(False)
            except (RuntimeError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise MetameryError(f"ema needs a copy of the network, which cannot be made: {reason}") from None
        self._boundless = {name for name, tensor in self._weights().items() if not _is_finite(tensor)}

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are used, counted from 1, the best or the last; 0 before the first."""
        if self.recipe.keep == "last":
            return len(self.history)
        reached = [_reached(row) for row in self.history]
        return reached.index(max(reached)) + 1 if reached else 0

    def move(self, module: nn.Module, fabric: Fabric) -> torch.Tensor:
        """Update the weights by their gradients; return the gradients' norm, before they are clipped.

        `module` is the network as wrapped by Fabric.
        """
        if self.recipe.clip_norm:
            norm = fabric.clip_gradients(
                module, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
            )
            assert norm is not None
        else:
            fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
            gradients = [weight.grad for weight in self.module.parameters() if weight.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        if self.averaged is not None:
            _average(self.averaged, self.module, self.recipe.ema)
        return norm.detach().float()

    def note(self, seen: torch.Tensor) -> None:
        """Record the loss, the accuracy and the norm of the gradient of a batch that the weights were updated by."""
        if not self.epoch and not self.batch:
            checkpoints.flattened(self.optimizer.state_dict())  # refuses now what could not be saved after an epoch
        self.noted.append(seen)
        self.batch += 1

    def look(self, fabric: Fabric) -> torch.Tensor:
        """Wait for the device, and raise, in all processes, where a loss is not finite: nothing after it is saved.

        Return what was noted since the last time, the mean over all processes, ``(batches, 3)``.
        """
        if not self.noted:
            return torch.empty(0, 3, device="cpu")
        noted = (summed(torch.stack(self.noted), fabric) / fabric.world_size).cpu()
        if not (finite := noted[:, 0].isfinite()).all():
            update = self.epoch * self.updates + self.batch - len(noted) + int(finite.int().argmin()) + 1
            raise MetameryError(
                f"the loss is not finite in update {update} (epoch {self.epoch + 1}); {self._what_is_kept()}. {_HELP}"
            )
        for loss, accuracy, _ in noted.tolist():  # one by one: sums of parts are rounded otherwise
            self.sums = [self.sums[0] + loss, self.sums[1] + accuracy]
        self.noted.clear()
        return noted

    def row(self) -> dict[str, float]:
        loss, accuracy = (torch.tensor(self.sums, dtype=torch.float32, device="cpu") / self.batch).tolist()
        return {"loss": loss, "accuracy": accuracy}

    def guard(self, accuracy: float, fabric: Fabric) -> None:
        """Detect catastrophic overfitting: from one epoch to the next the network learns to fool a weak attack."""
        self.checked = max(self.checked, accuracy)
        if self.has_fallen or not 0 < self.recipe.check_drop <= self.checked - accuracy:
            return
        self.has_fallen = True
        if fabric.is_global_zero:
            warnings.warn(
                f"catastrophic overfitting in epoch {self.epoch + 1}: accuracy under '{short(self.recipe.check)}' is "
                f"{accuracy:.3f}, was {self.checked:.3f}; the training continues with '{short(self.recipe.check)}'",
                stacklevel=3,
            )

    def close_epoch(self, row: dict[str, float]) -> None:
        """Record an epoch, and go to the next."""
        self.history.append(row)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, [0.0, 0.0]

    def save(self, folder: Path, fabric: Fabric) -> None:
        """Save all that the training continues from, and then the best weights, if the last epoch's are.

        Raises
        ------
        MetameryError
            The weights are not finite, or cannot be written.
        """
        moved = None if self.moved is None else _gathered(self.moved, fabric)
        if not fabric.is_global_zero:
            return
        moments, numbers = checkpoints.flattened(self.optimizer.state_dict())
        weights, extra = checkpoints.packed(self.module.state_dict())
        parts = {"weights": weights, "optimizer": moments, "buffers": _unsaved_buffers(self.module)}
        others = {"weights": extra}
        if self.averaged is not None:
            parts["averaged"], others["averaged"] = checkpoints.packed(self.averaged.state_dict())
        self._stay_finite({f"{part}/{name}": tensor for part, own in parts.items() for name, tensor in own.items()})
        if moved is not None:
            parts["moved"] = {"signals": moved}
        if (outputs := probe(self.model)) is not None:
            parts["probe"] = {"outputs": outputs}
        parts["data"] = {what: seen.marks for what, seen in self.data.items()}
        counts = {name: getattr(self, name) for name in _COUNTS}
        data = {what: seen.table() for what, seen in self.data.items()}
        scaler = getattr(fabric.strategy.precision, "scaler", None)
        state = {**counts, "sums": self.sums, "optimizer": numbers, "others": others, "data": data}
        tensors = {f"{part}/{name}": tensor for part, own in parts.items() for name, tensor in own.items()}
        checkpoints.save(folder / LAST, tensors, state | ({"scaler": scaler.state_dict()} if scaler else {}))
        self.kept = (self.epoch, self.batch)
        if self.batch == 0 and self.best_epoch == self.epoch:
            self._save_weights(folder / BEST)
        if self.batch == 0 and self.recipe.keep == "all":
            self._save_weights(folder / of_epoch(self.epoch))

    def resume(self, folder: Path, fabric: Fabric) -> None:
        """Load what an earlier call saved, if it saved anything.

        Raises
        ------
        MetameryError
            The checkpoint is damaged, or of another network or other signals.
        """
        path = folder / LAST
        if not path.exists():
            return
        tensors, state = checkpoints.load(path)
        self._check(path, state)
        for what, seen in self.data.items():
            table, marks = state.get("data", {}).get(what), tensors.get(f"data/{what}")
            if table is not None and marks is not None:
                seen.compare(table, marks, what)
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor
        try:
            self._take_over(parts, state, fabric)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MetameryError(f"'{path}' is of another network or recipe: {reason}") from None
        if "probe" in parts and not same_network(self.model, parts["probe"]["outputs"]):
            raise MetameryError(
                f"with the weights in '{path}' the network's outputs are not those it had when they were saved: its "
                "code has changed. Restore the code, or train into another folder"
            )
        self.kept = (self.epoch, self.batch)
        if fabric.is_global_zero:
            self._settle_best(folder)
            keeps_all = self.batch == 0 and self.epoch and self.recipe.keep == "all"
            if keeps_all and not (folder / of_epoch(self.epoch)).exists():
                self._save_weights(folder / of_epoch(self.epoch))  # a writer may have been killed just before

    def _take_over(self, parts: Mapping[str, Any], state: Mapping[str, Any], fabric: Fabric) -> None:
        others = state.get("others", {})
        checkpoints.fill(self.module, checkpoints.unpacked(parts.get("weights", {}), others.get("weights", {})))
        for name, tensor in parts.get("buffers", {}).items():
            with torch.no_grad():
                self.module.get_buffer(name).copy_(tensor)
        if self.averaged is not None:
            checkpoints.fill(self.averaged, checkpoints.unpacked(parts["averaged"], others.get("averaged", {})))
        self.optimizer.load_state_dict(checkpoints.joined(parts.get("optimizer", {}), state["optimizer"]))
        if "moved" in parts:
            moved = parts["moved"]["signals"]
            if len(moved) != fabric.world_size:
                raise ValueError(f"its replays are of {len(moved)} processes, and there are {fabric.world_size}")
            self.moved = moved[fabric.global_rank].to(fabric.device)
        if "scaler" in state and (scaler := getattr(fabric.strategy.precision, "scaler", None)):
            scaler.load_state_dict(state["scaler"])
        for name in _COUNTS:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.sums = [float(value) for value in state["sums"]]

    def _check(self, path: Path, state: Mapping[str, Any]) -> None:
        """Check that the numbers of a checkpoint are consistent."""
        epoch, batch, history = (state.get(name) for name in ("epoch", "batch", "history"))
        if (
            not (isinstance(epoch, int) and 0 <= epoch <= self.recipe.epochs)
            or not (isinstance(batch, int) and 0 <= batch < max(self.updates, 1))
            or not (isinstance(history, list) and len(history) == epoch)
            or not all(isinstance(row, dict) and isinstance(row.get("accuracy"), float) for row in history)
            or not isinstance(state.get("data", {}), dict)
        ):
            rows = len(history) if isinstance(history, list) else "no"
            raise MetameryError(
                f"'{path}' is inconsistent: epoch {epoch} of {self.recipe.epochs}, batch {batch} of "
                f"{self.updates}, a history of {rows} epochs. Put a copy of it back, or choose another folder"
            )

    def _settle_best(self, folder: Path) -> None:
        """Make sure that the best weights exist: a writer may have been killed just before."""
        if not self.best_epoch:
            return
        try:
            saved, reason = checkpoints.load(folder / BEST)[1].get("epoch"), ""
        except MetameryError as error:
            saved, reason = None, str(error)
        if saved == self.best_epoch or (isinstance(saved, int) and saved > self.epoch):  # killed in an older version
            return
        if self.best_epoch == self.epoch and self.batch == 0:
            self._save_weights(folder / BEST)
            return
        reason = reason or f"it is of epoch {saved}"
        raise MetameryError(
            f"'{folder / BEST}' should hold the weights of epoch {self.best_epoch}, the best: {reason}. "
            "Put a copy of it back, or train into another folder"
        )

    def _save_weights(self, path: Path) -> None:
        weights, extra = checkpoints.packed((self.averaged or self.module).state_dict())
        facts = {"epoch": self.epoch, "accuracy": _reached(self.history[-1])}
        checkpoints.save(path, weights, facts | ({"others": extra} if extra else {}))

    def _weights(self) -> dict[str, torch.Tensor]:
        """Return all tensors of the network, by their names in checkpoints."""
        networks = {"weights": self.module} | ({"averaged": self.averaged} if self.averaged is not None else {})
        found = {
            f"{part}/{name}": tensor
            for part, network in networks.items()
            for name, tensor in checkpoints.packed(network.state_dict())[0].items()
        }
        return found | {f"buffers/{name}": tensor for name, tensor in _unsaved_buffers(self.module).items()}

    def _stay_finite(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Stop where a tensor that was finite is not: a finite loss may have a gradient that is not."""
        for name, tensor in tensors.items():
            if name not in self._boundless and not _is_finite(tensor):
                update = self.epoch * self.updates + self.batch
                raise MetameryError(
                    f"'{name}' is not finite after update {update} (epoch {-(-update // self.updates)}); "
                    f"{self._what_is_kept()}. {_HELP}"
                )

    def _what_is_kept(self) -> str:
        if self.kept is None:
            return "nothing was saved yet"
        epoch, batch = self.kept
        when = f"update {epoch * self.updates + batch} (epoch {epoch + 1})" if batch else f"epoch {epoch}"
        return f"{LAST} holds the weights after {when}"


def refuse_unkept(module: nn.Module) -> None:
    """Refuse a network that could not be saved and loaded again, before anything is computed.

    Raises
    ------
    MetameryError
        A tensor is of a kind that checkpoints cannot hold, or ``get_extra_state`` returns something that is not plain
        data.
    """
    tensors, extra = checkpoints.packed(module.state_dict())
    checkpoints.refuse(tensors | _unsaved_buffers(module))
    if not extra:
        return
    try:
        read = checkpoints.unpacked(tensors, json.loads(json.dumps(extra)))
        checkpoints.fill(module, read)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetameryError(f"the network's state cannot be loaded again: {' '.join(str(error).split())}") from None


def summed(values: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Sum over all processes."""
    total = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total


@torch.no_grad()
def _average(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move an average of weights towards them; entries that are not floating point are copied."""
    (own, own_extra), (new, extra) = (checkpoints.packed(each.state_dict()) for each in (averaged, module))
    own, new = own | _unsaved_buffers(averaged), new | _unsaved_buffers(module)
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(new[name], 1 - decay)
        else:
            tensor.copy_(new[name])
    if own_extra:
        entries = module.state_dict()
        averaged.load_state_dict({name: entries[name] for name in extra}, strict=False)


def _unsaved_buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the buffers that a module does not include in its state, which may change nevertheless."""
    saved = module.state_dict().keys()
    return {name: buffer for name, buffer in module.named_buffers() if name not in saved}


def _reached(row: Mapping[str, float]) -> float:
    """Return the accuracy by which epochs are compared."""
    return row.get("checked_accuracy", row.get("validation_accuracy", row["accuracy"]))


def _is_finite(tensor: torch.Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool((tensor.float() if tensor.itemsize == 1 else tensor).isfinite().all())


def _gathered(tensor: torch.Tensor, fabric: Fabric) -> torch.Tensor:
    """Return the tensors of all processes, ``(processes, …)``."""
    gathered = fabric.all_gather(tensor)
    assert isinstance(gathered, torch.Tensor)
    return gathered.reshape(fabric.world_size, *tensor.shape)
