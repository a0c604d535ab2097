"""The training loop, top to bottom.

One epoch: for each batch, perturb the signals, compute the loss, update the weights; then evaluate, record, save. An
update depends on the seed, the epoch and the batch alone, so an interrupted training continues as if it had not been
interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.devices import same_algorithms
from ..framework.errors import MetameryError
from ..framework.models import Model
from ..framework.optimizers import make_optimizer
from ..framework.progress import Progress
from ..framework.protocols import Perturbation
from ..framework.randomness import derived_seed
from ..framework.recipes import Recipe
from ..framework.running import frozen
from . import updates as updating
from .activations import perturbed
from .compiling import compile_network
from .data import Examples, Loader, Order, batches, in_domain
from .fingerprints import Fingerprint
from .mixing import mixing
from .schedules import epsilon_share, learning_rate
from .state import BEST, LAST, History, State, refuse_unkept, summed  # noqa: F401
from .synchronisation import agree, share_buffers
from .tools import TrainingTools
from .update_log import COLUMNS, UpdateLog
from .updates import Batch

SYNC_EVERY = 50
"""Number of updates between two checks of the losses: each check waits for the device."""

CHECKED = 512
"""Number of signals, rounded up to whole batches, on which a recipe's check measures the network after each epoch."""


@same_algorithms()
def train(
    model: Model,
    examples: Examples,
    validation: Examples | None,
    recipe: Recipe,
    tools: TrainingTools,
    folder: Path,
    *,
    fabric: Fabric,
    seed: int = 0,
    workers: int = 0,
    checkpoint_every: int | None = None,
    checkpoint_minutes: float | None = None,
    compiled: bool = False,
    progress: Progress | None = None,
    before_keeping: Callable[[], None] = lambda: None,
    after_epoch: Callable[[History], None] = lambda _history: None,
) -> History:
    """Train a network, and keep its last and its best weights in a folder.

    Parameters
    ----------
    model
        The network; parameters that do not require a gradient stay as they are. It is trained in place.
    examples, validation
        Examples that it learns from, and those that it is evaluated on after each epoch.
    recipe, tools
        The recipe, and what its names stand for.
    folder
        Folder for ``last.safetensors``, from which the same call continues, and ``best.safetensors``, the weights with
        the highest accuracy on the validation examples (on the training examples where there are none), under the
        recipe's check where it has one.
    fabric
        Devices, precision and processes; already launched.
    seed
        Seed of all random choices.
    workers
        Number of processes that decode and augment signals, unless all are in memory and stay as they are.
    checkpoint_every
        Number of updates after which a checkpoint is written within an epoch, besides the one at its end.
    checkpoint_minutes
        Minutes after which one is written; over several processes at the next update at which the losses are checked.
    compiled
        Whether the passes of the updates, and of their perturbations, are compiled.
    before_keeping
        Function called before each checkpoint is written; it may raise where the folder must not be written to.
    after_epoch
        Function called with the history so far after each saved epoch, and at the start where there is one.

    Returns
    -------
    list of dict
        For each epoch: ``loss``, ``accuracy`` (of the signals as they were perturbed), ``learning_rate``, ``seconds``,
        and ``validation_loss``, ``validation_accuracy``, ``checked_accuracy`` where these are measured.

    Raises
    ------
    MetameryError
        The loss or a weight is not finite, the disk is full, the network or the optimizer holds what cannot be saved,
        the network cannot be compiled, or `folder` holds a checkpoint that is damaged, or of another network or other
        signals.
    """
    progress = progress or Progress()
    updates = len(Order(len(examples), recipe.batch_size, 0, seed))  # per epoch
    whole = min(recipe.batch_size, len(examples))
    mix = mixing(recipe.augmentations, model.domain, fabric.world_size, whole)
    _check_processes(recipe, examples, whole, folder, fabric)
    refuse_unkept(model.module)
    optimizer = _optimizer(model.module, tools, recipe)
    _train_mode(model.module)
    network = model.module
    if compiled:
        own = len(range(fabric.global_rank, whole, fabric.world_size))
        network = compile_network(model, recipe, -(-own // recipe.accumulate), fabric)
    module, optimizer = fabric.setup(network, optimizer, _reapply_compile=False)
    data = {"training stimuli": examples} | ({"validation stimuli": validation} if validation else {})
    seen_by = {what: Fingerprint.of(each) for what, each in data.items()} if fabric.is_global_zero else {}
    state = State(model, optimizer, recipe, updates, seen_by, passes=network)
    state.resume(folder, fabric)
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        if state.history:
            after_epoch(state.history)  # a writer may have been killed just before
    log = UpdateLog(folder, updates, whole)
    if fabric.is_global_zero:
        log.resume(state.epoch * updates + state.batch)
    learner, kept = replace(model, module=module), replace(model, module=state.averaged or model.module)

    def keep() -> None:
        if fabric.is_global_zero:
            before_keeping()
            _log(log.write(), fabric)
        state.save(folder, fabric)

    def tell() -> None:
        if fabric.is_global_zero and (folder / LAST).exists():
            before_keeping()
            _log(log.write(), fabric)

    read = Loader(examples, workers, pinned=fabric.device.type == "cuda")
    saved = time.monotonic()
    progress.start(recipe.epochs * updates, "training")
    progress.advance(state.epoch * updates + state.batch)
    while state.epoch < recipe.epochs:
        began = time.perf_counter()
        share = fabric.global_rank, fabric.world_size
        order = Order(len(examples), recipe.batch_size, state.epoch, seed, *share, first=state.batch)
        progress.describe(f"epoch {state.epoch + 1} of {recipe.epochs}")
        log.start()
        for given in log.timed(read(order)):
            update = state.epoch * updates + state.batch
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, update, updates)
            size = epsilon_share(recipe, update, updates)
            perturb = tools.check if state.has_fallen else tools.perturbation and tools.perturbation(size)
            randomness = derived_seed(seed, "update", update, fabric.global_rank)
            signals, labels = fabric.to_device(given)
            signals = in_domain(signals, model.domain)
            if tools.augment:
                generator = torch.Generator().manual_seed(derived_seed(randomness, "augment"))
                for augment in tools.augment:
                    signals = augment(model, signals, labels, generator)
            batch = Batch(signals, labels, whole / fabric.world_size)
            if mix is not None:
                shares = torch.nn.functional.one_hot(labels, examples.classes).to(signals)
                signals, targets = mix(signals, shares, derived_seed(seed, "mix", update))
                batch = replace(batch, signals=signals, labels=targets.argmax(dim=1), targets=targets)
            if recipe.replays and not state.has_fallen:
                epsilon = size * recipe.replay_epsilon
                seen = updating.replay(learner, state, batch, epsilon, tools, fabric, randomness)
            else:
                seen = updating.update(learner, state, batch, perturb, tools, fabric, randomness)
            state.note(seen)
            log.note(optimizer.param_groups[0]["lr"])
            progress.advance()
            is_checked = state.batch % SYNC_EVERY == 0 or state.batch == updates
            keeps = checkpoint_every is not None and state.batch % checkpoint_every == 0
            if checkpoint_minutes and (is_checked or fabric.world_size == 1):
                keeps |= bool(fabric.broadcast(time.monotonic() - saved > 60 * checkpoint_minutes))
            keeps &= state.batch < updates
            if keeps or is_checked:
                log.add(state.look(fabric), update + 1)
                if log.is_due:
                    tell()
            if keeps:
                keep()
                saved = time.monotonic()
                log.start()
        row = state.row() | {"learning_rate": optimizer.param_groups[0]["lr"]}
        for network in (model.module, *([state.averaged] if state.averaged is not None else [])):
            share_buffers(network, fabric)
        if validation is not None:
            row |= evaluate(kept, validation, recipe.batch_size, fabric, workers)
        if tools.check is not None:
            row["checked_accuracy"] = checked(kept, validation or examples, tools.check, recipe, fabric, seed)
            state.guard(row["checked_accuracy"], fabric)
        row["seconds"] = time.perf_counter() - began
        state.close_epoch(row)
        keep()
        saved = time.monotonic()
        fabric.log_dict({f"epoch/{name}": value for name, value in row.items()}, step=state.epoch * updates)
        if fabric.is_global_zero:
            after_epoch(state.history)
    if state.averaged is not None:
        model.module.load_state_dict(state.averaged.state_dict())
    return state.history


def _check_processes(recipe: Recipe, examples: Examples, whole: int, folder: Path, fabric: Fabric) -> None:
    """Raise `MetameryError` where the processes could not train together."""
    if fabric.world_size == 1:
        return
    if whole < fabric.world_size:
        raise MetameryError(
            f"a batch has {whole} signals, expected at least one for each of {fabric.world_size} processes"
        )
    if recipe.replays and whole % fabric.world_size:
        raise MetameryError(
            f"replays carry changes over from batch to batch: a batch has {whole} signals, expected a multiple of the "
            f"number of processes, {fabric.world_size}"
        )
    agree("other training stimuli", f"{examples.names} {examples.targets}", "the same on every machine", fabric)
    last = folder / LAST
    seen = str(last.stat().st_size) if last.exists() else ""
    agree(f"another '{last}'", seen, "a folder that every machine shares", fabric)


def _log(rows: list[dict[str, float]], fabric: Fabric) -> None:
    """Give rows of the log to Fabric's loggers."""
    for row in rows:
        fabric.log_dict({f"update/{name}": row[name] for name in COLUMNS[2:]}, step=int(row["update"]))


def evaluate(model: Model, examples: Examples, batch_size: int, fabric: Fabric, workers: int = 0) -> dict[str, float]:
    """Return the mean cross-entropy, in nats, and the accuracy on unperturbed examples, over all processes."""
    given = batches(examples, Order(len(examples), batch_size, 0, None, fabric.global_rank, fabric.world_size), workers)
    loss, accuracy = _measured(model, lambda signals, _labels: model.module(signals), given, fabric)
    return {"validation_loss": loss, "validation_accuracy": accuracy}


def checked(
    model: Model, examples: Examples, perturb: Perturbation, recipe: Recipe, fabric: Fabric, seed: int
) -> float:
    """Return the accuracy on some examples under a perturbation, the same examples each time."""
    order = Order(len(examples), recipe.batch_size, 0, seed, fabric.global_rank, fabric.world_size)
    some = islice(batches(examples, order), -(-CHECKED // recipe.batch_size))
    generator = torch.Generator().manual_seed(derived_seed(seed, "check"))

    def logits_of(signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        taking, shown = perturbed(model, recipe.layer, perturb, signals, labels, generator)
        logits: torch.Tensor = taking.module(shown)
        return logits

    return _measured(model, logits_of, some, fabric)[1]


def _measured(
    model: Model,
    logits_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    given: Iterable[tuple[torch.Tensor, torch.Tensor]],
    fabric: Fabric,
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy over batches and processes; `logits_of` returns ``(B, classes)``."""
    totals = torch.zeros(3, dtype=torch.float32, device=fabric.device)
    with frozen(model.module), torch.no_grad(), fabric.autocast():
        for batch in given:
            signals, labels = fabric.to_device(batch)
            signals = in_domain(signals, model.domain)
            logits = logits_of(signals, labels).float()
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            totals += torch.stack([loss, (logits.argmax(dim=1) == labels).sum(), loss.new_tensor(len(labels))])
    loss_sum, right, count = summed(totals, fabric).tolist()
    return loss_sum / count, right / count


def _optimizer(module: nn.Module, tools: TrainingTools, recipe: Recipe) -> torch.optim.Optimizer:
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    if not learning:
        raise MetameryError("there is nothing to train: every weight of the network is frozen, or it has none")
    return make_optimizer(tools.optimizer, learning, recipe.optimizer)


def _train_mode(module: nn.Module) -> None:
    """Put a network into training mode, except the parts whose weights are all frozen: their statistics stay too."""
    module.train()
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not any(weight.requires_grad for weight in own):
            part.eval()
