"""Estimate of the time, memory and disk that a training takes, before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from lightning_fabric import Fabric

from ..framework.devices import synchronize
from ..framework.folders import check_output
from ..framework.manager import Plugins
from ..framework.progress import Progress
from ..framework.run import Run
from ..framework.stimuli import Selection, Stimuli, Stimulus
from .data import MAX_CACHED_BYTES, Examples, Order, examples
from .driver import Setup, TrainingStimuli, fit, set_up
from .hardware import Hardware
from .keeping import compare
from .loop import CHECKED, checked, evaluate
from .state import BEST, LAST

UPDATES = 3
"""Number of updates that are made; the first is the warm-up."""

READ = 16
"""Number of signals that are read to measure how long that takes."""

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
    epoch_seconds
        Time of an epoch: of its updates, or of reading its signals where that takes longer, and of the evaluation.
    trained, read
        Signals a second that the network is trained on, and that are read by all processes together; `read` is
        infinite where all signals are in memory as they are used.
    """

    updates: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    epoch_seconds: float = 0.0
    trained: float = 0.0
    read: float = math.inf

    @property
    def binds(self) -> str:
        """What the speed of the training depends on: ``network`` or ``data``."""
        return "data" if self.read < self.trained else "network"


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
    setup = set_up(run, plugins, hardware, alone=True)
    processes = hardware.started().devices * hardware.started().nodes
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
            model, run.classes, trial, some, setup.tools, None, Path(name),
            fabric=fabric, seed=run.seed, progress=clock, compiled=hardware.compiled,
        )  # fmt: skip
        last, best = ((Path(name) / file).stat().st_size for file in (LAST, BEST))
    updates = len(Order(len(stimuli.training), recipe.batch_size, 0, run.seed))
    batch = min(recipe.batch_size, len(stimuli.training))
    shared = processes if fabric.device.type != "cpu" else 1
    trained = size / clock.step() * shared
    held_out = stimuli.validation or stimuli.training
    given = examples(some.validation or _some(stimuli.training, size), run.classes, model.domain)
    checking = 0.0
    if stimuli.validation is not None:
        taken = _seconds(lambda: evaluate(model, given, size, fabric), fabric)
        checking += taken * len(held_out) / len(given) / shared
    if (check := setup.tools.check) is not None:
        taken = _seconds(lambda: checked(model, given, check, trial, fabric, run.seed), fabric)
        checking += taken * min(CHECKED, len(held_out)) / len(given) / shared
    counts = [len(stimuli.training), len(stimuli.validation or ())]
    signal = 4 * signals[0].numel()
    fits = [count * signal <= MAX_CACHED_BYTES for count in counts]
    is_original = setup.augment is not None and setup.augment.original is not None
    held = [
        count * signal if fit else 0 for count, fit in zip(counts, (fits[0] and not is_original, fits[1]), strict=True)
    ]
    speed = _reading(stimuli.training, run, setup, bool(held[0])) * max(hardware.workers, 1) * processes
    once = sum(count * reading for count, kept in zip(counts, held, strict=True) if kept) / max(hardware.workers, 1)
    again = 0.0 if held[1] else counts[1] * reading / max(hardware.workers, 1)
    training, input_ = updates * batch / trained, updates * batch / speed
    epoch = (max(training, input_) if hardware.workers else training + input_) + checking + again
    weights = sum(weight.numel() * weight.element_size() for weight in model.module.parameters())
    passing = _kept_bytes(setup.model.module, given, size, fabric) * -(-batch // recipe.accumulate)
    return Estimate(
        recipe.epochs * updates * max(recipe.replays, 1),
        recipe.epochs * epoch + once,
        2 * last + weights + sum(held) + passing,
        last + best + (recipe.epochs * best if recipe.keep == "all" else 0),
        epoch,
        trained,
        speed,
    )


def _reading(stimuli: Stimuli, run: Run, setup: Setup, is_held: bool) -> float:
    """Return how many signals a second one process reads and augments, once they are held in memory if they are."""
    if is_held and setup.augment is None:
        return math.inf
    indices = [index * len(stimuli) // READ for index in range(READ)]
    kept = torch.stack([setup.model.domain.fit(stimuli[index]) for index in indices]) if is_held else None
    given = Examples(_Some(stimuli, indices), [0] * READ, setup.model.domain, setup.augment, run.seed, kept)
    began = time.perf_counter()
    for index in range(READ):
        given[0, index]
    return READ / (time.perf_counter() - began)


class _Some(Selection):
    """Some stimuli, in 8 bits where the others are."""

    def eight_bit(self, index: int) -> Stimulus | None:
        read: Callable[[int], Stimulus | None] | None = getattr(self.stimuli, "eight_bit", None)
        return None if read is None else read(self.positions[index])


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
