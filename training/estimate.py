"""Estimate of the time, memory and disk that a training takes, before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from lightning_fabric import Fabric

from ..framework.devices import synchronize
from ..framework.folders import check_output
from ..framework.manager import Plugins
from ..framework.progress import Progress
from ..framework.run import Run
from ..framework.stimuli import Stimuli, Stimulus
from .data import MAX_CACHED_BYTES, Examples, Order, examples
from .driver import TrainingStimuli, fit, set_up
from .hardware import Hardware
from .keeping import compare
from .loop import CHECKED, checked, evaluate
from .state import BEST, LAST

UPDATES = 3
"""Number of updates that are made; the first is the warm-up."""

SIGNALS = 8
"""Number of signals in such an update on the CPU, which takes a time in proportion to it."""


@dataclass(frozen=True)
class Estimate:
    """What a training would take, as far as it is known beforehand: a lower bound.

    Parameters
    ----------
    updates
        Number of updates of the whole training.
    seconds
        Time of the updates, of reading the signals and of the evaluation after each epoch.
    memory_bytes
        Weights, their gradients, the optimizer's state and its copy while it is saved, signals that are held in
        memory, and what autograd keeps of a batch.
    disk_bytes
        Size of the run's folder; while a checkpoint is written, its last one is there twice.
    """

    updates: int
    seconds: float
    memory_bytes: int
    disk_bytes: int


def estimate(run: Run, folder: Path, plugins: Plugins, hardware: Hardware, stimuli: TrainingStimuli) -> Estimate:
    """Check all that a training checks before its first step, and measure a few updates, at a learning rate of 0.

    Raises
    ------
    MetameryError
        The training would be refused.
    """
    check_output(folder, "run")
    compare(run, folder, plugins)
    hardware.fabric()
    setup = set_up(run, plugins, replace(hardware, devices=1, workers=0))
    model, fabric, recipe = setup.model, setup.fabric, run.recipe
    fabric.launch()
    size = recipe.batch_size
    if fabric.device.type == "cpu":
        size = min(size, max(SIGNALS, 2 * recipe.accumulate))
    began = time.perf_counter()
    some = TrainingStimuli(
        _some(stimuli.training, UPDATES * size), stimuli.validation and _some(stimuli.validation, size)
    )
    signals = [model.domain.fit(each) for each in some.training]
    reading = (time.perf_counter() - began) / (len(signals) + len(some.validation or ()))
    trial = recipe.changed({"epochs": 1, "batch_size": size, "learning_rate": 0.0})
    clock = _Clock(fabric.device)
    with TemporaryDirectory(prefix="metamery-") as name:
        fit(
            model, run.classes, trial, some, setup.tools, setup.augment, Path(name),
            fabric=fabric, seed=run.seed, progress=clock,
        )  # fmt: skip
        last, best = ((Path(name) / file).stat().st_size for file in (LAST, BEST))
    updates = len(Order(len(stimuli.training), recipe.batch_size, 0, run.seed))
    batch = min(recipe.batch_size, len(stimuli.training))
    shared = hardware.devices if fabric.device.type != "cpu" else 1
    epoch = updates * clock.step() * batch / size / shared
    held_out = stimuli.validation or stimuli.training
    given = examples(some.validation or _some(stimuli.training, size), run.classes, model.domain)
    if stimuli.validation is not None:
        taken = _seconds(lambda: evaluate(model, given, size, fabric), fabric)
        epoch += taken * len(held_out) / len(given) / shared
    if (check := setup.tools.check) is not None:
        taken = _seconds(lambda: checked(model, given, check, trial, fabric, run.seed), fabric)
        epoch += taken * min(CHECKED, len(held_out)) / len(given) / shared
    counts = [len(stimuli.training), len(stimuli.validation or ())]
    signal = 4 * signals[0].numel()
    held = [count * signal if count * signal <= MAX_CACHED_BYTES else 0 for count in counts]
    read = sum(count * (1 if kept else recipe.epochs) for count, kept in zip(counts, held, strict=True))
    weights = sum(weight.numel() * weight.element_size() for weight in model.module.parameters())
    passing = _kept_bytes(setup.model.module, given, size, fabric) * -(-batch // recipe.accumulate)
    return Estimate(
        recipe.epochs * updates * max(recipe.replays, 1),
        recipe.epochs * epoch + read * reading / max(hardware.workers, 1),
        2 * last + weights + sum(held) + passing,
        last + best,
    )


class _Clock(Progress):
    """Times at which the loop's updates were done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def start(self, total: int, description: str = "") -> None:
        self.times = []

    def advance(self, steps: int = 1) -> None:
        synchronize(self.device)
        self.times.append(time.perf_counter())

    def step(self) -> float:
        """The mean time of an update after the first, in seconds."""
        _, warm, *_, last = self.times  # the first is that of the start
        return (last - warm) / (UPDATES - 1)


def _some(stimuli: Stimuli, count: int) -> list[Stimulus]:
    """Read stimuli from all over a data set, some of them twice where it has fewer."""
    return [stimuli[index * len(stimuli) // count if count < len(stimuli) else index % len(stimuli)]
            for index in range(count)]  # fmt: skip


def _seconds(work: Callable[[], object], fabric: Fabric) -> float:
    began = time.perf_counter()
    work()
    synchronize(fabric.device)
    return time.perf_counter() - began


def _kept_bytes(module: torch.nn.Module, given: Examples, size: int, fabric: Fabric) -> int:
    """Return the bytes that autograd keeps for a backward pass, for each signal of a batch, besides the weights."""
    assert given.kept is not None
    signals = given.kept[:size].to(fabric.device)
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*module.parameters(), *module.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), fabric.autocast():
        module(signals)
    return sum(storage.nbytes() for storage in kept.values()) // len(signals)
