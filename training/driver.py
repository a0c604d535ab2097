"""Training a run: from its settings, through the loop, to its folder; continued where it was interrupted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger

from ..framework import claims, stopping
from ..framework.errors import MetameryError, unknown
from ..framework.folders import check_output
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.progress import Progress
from ..framework.provenance import provenance
from ..framework.recipes import Recipe
from ..framework.run import Run
from ..framework.running import fast_on_cpu
from ..framework.stimuli import Stimuli
from ..framework.study import Reference, load_stimuli
from ..framework.suppliers import naming_missing, suppliers
from .augmentation import augmentation
from .data import Augmentation, Examples, categories, classes_of, examples
from .findings import add_findings
from .hardware import Hardware
from .keeping import Keeper, check, epochs_done
from .loop import train
from .processes import together
from .runs import build
from .state import LAST, History
from .synchronisation import synchronise_batch_norm
from .tools import TrainingTools, load_tools, own_augmentations


@dataclass(frozen=True)
class TrainingStimuli:
    """The stimuli of a run, loaded.

    Parameters
    ----------
    training
        Stimuli that the network learns from.
    validation
        Stimuli that it is measured on after each epoch; None where the run names none.
    """

    training: Stimuli
    validation: Stimuli | None = None

    @classmethod
    def load(cls, plugins: Plugins, training: Reference, validation: Reference | None) -> TrainingStimuli:
        """Load them by name or from folders, or raise `MetameryError`."""
        return cls(load_stimuli(plugins, training), None if validation is None else load_stimuli(plugins, validation))


def prepare(
    model: Reference,
    stimuli: Reference,
    validation: Reference | None,
    recipe: Recipe,
    plugins: Plugins,
    *,
    seed: int = 0,
    start: str = "",
    freeze: Sequence[str] = (),
) -> tuple[Run, TrainingStimuli]:
    """Make a run, and load its stimuli, whose categories are its classes.

    Raises
    ------
    MetameryError
        A name is unknown, or the validation stimuli have other categories.

    Warns
    -----
    UserWarning
        There are no validation stimuli of a class.
    """
    loaded = TrainingStimuli.load(plugins, stimuli, validation)
    classes = classes_of(loaded.training)
    if loaded.validation is not None:
        _check_validation(set(categories(loaded.validation)), classes)
    return Run(model, stimuli, validation, tuple(classes), recipe, seed, start, tuple(freeze)), loaded


def _check_validation(found: set[str], classes: Sequence[str]) -> None:
    """Raise `MetameryError` for categories that are no classes, and warn of classes that are not among them."""
    for category in sorted(found.difference(classes)):
        raise unknown("category of the validation stimuli:", category, classes)
    if missing := [name for name in classes if name not in found]:
        more = f" and {len(missing) - 3} other classes" if len(missing) > 3 else ""
        warnings.warn(
            f"the validation stimuli have none of {', '.join(missing[:3])}{more}: the accuracy measured on them is "
            f"that of the other {len(found)} of {len(classes)} classes",
            stacklevel=3,
        )


@dataclass(frozen=True)
class Setup:
    """What a run's names stand for, loaded, and the devices: what a training has before its first step."""

    model: Model
    tools: TrainingTools
    augment: Augmentation | None
    fabric: Fabric


def set_up(
    run: Run, plugins: Plugins, hardware: Hardware, loggers: Sequence[Logger] = (), *, alone: bool = False
) -> Setup:
    """Load the network of a run and what its recipe names, for all processes or for this one `alone`.

    Raises
    ------
    MetameryError
        A name or an option is unknown, the network does not fit the run, or a device is not available.
    """
    with plugins.trust.named_in(run.source):
        tools = load_tools(run.recipe, plugins)
    with torch.random.fork_rng(devices=[]):
        model = build(run, plugins)
    augment = augmentation(own_augmentations(run.recipe, plugins), model)
    fabric = hardware.fabric(loggers, alone=alone)
    if hardware.sync_batch_norm and fabric.world_size > 1:
        synchronise_batch_norm(model.module, fabric.device.type)
    return Setup(model, tools, augment, fabric)


def run_training(
    run: Run,
    folder: Path,
    plugins: Plugins,
    hardware: Hardware | None = None,
    *,
    stimuli: TrainingStimuli | None = None,
    checkpoint_every: int | None = None,
    checkpoint_minutes: float | None = None,
    loggers: Sequence[Logger] = (),
    progress: Progress | None = None,
) -> History:
    """Train a run, or continue it, and return its history.

    Parameters
    ----------
    run
        Model, stimuli, recipe and seed.
    folder
        Folder of the run; created if it is missing.
    plugins
        Plugins in which the run's names are looked up.
    hardware
        Device, precision and processes; one process on the CPU by default.
    stimuli
        The run's stimuli where they are loaded already, as by `prepare`.
    checkpoint_every
        Number of updates between checkpoints within an epoch; by default there is one after each epoch.
    checkpoint_minutes
        Number of minutes between them.
    loggers
        Loggers of Lightning Fabric, such as `TensorBoardLogger`: they are given each row of ``updates.csv`` and of the
        history.
    progress
        Display of the progress; none by default.

    Raises
    ------
    MetameryError
        A name is unknown, a signal cannot be read, the loss is not finite, or the folder holds another run.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from metamery.framework import Plugins, Recipe, Reference
    >>> from metamery.training import prepare, run_training, trained
    >>> plugins = Plugins()
    >>> names = Reference("small-cnn"), Reference("natural"), None
    >>> run, stimuli = prepare(*names, Recipe(epochs=1, batch_size=5), plugins)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = run_training(run, Path(folder), plugins, stimuli=stimuli)
    ...     model = trained(folder, plugins=plugins)
    >>> len(history), model.labels == run.classes
    (1, True)
    """
    hardware = hardware or Hardware()
    if (folder / LAST).exists():
        run = run.qualified(plugins)
    with naming_missing(folder, plugins):
        setup = set_up(run, plugins, hardware, loggers)
    fabric = setup.fabric
    with (
        _report_if_stopped(folder),
        together(fabric),
        _kept(run.qualified(plugins), folder, plugins, hardware, fabric) as keeper,
    ):
        with plugins.trust.named_in(run.source):
            loaded = stimuli or TrainingStimuli.load(plugins, run.stimuli, run.validation)
        history = fit(
            setup.model,
            run.classes,
            run.recipe,
            loaded,
            setup.tools,
            setup.augment,
            folder,
            fabric=fabric,
            seed=run.seed,
            workers=hardware.workers,
            checkpoint_every=checkpoint_every,
            checkpoint_minutes=checkpoint_minutes,
            compiled=hardware.compiled,
            progress=progress if fabric.is_global_zero else None,
            before_keeping=keeper.before if keeper else lambda: None,
            after_epoch=keeper.after if keeper else lambda _history: None,
        )
        if keeper is not None:
            keeper.before()
            stimuli_of = loaded.validation or loaded.training
            add_findings(
                setup.model, folder, run.classes, stimuli_of, run.recipe, setup.tools, fabric, run.seed,
                hardware.workers,
            )  # fmt: skip
        return history


def fit(
    model: Model,
    classes: Sequence[str],
    recipe: Recipe,
    stimuli: TrainingStimuli,
    tools: TrainingTools,
    augment: Augmentation | None,
    folder: Path,
    *,
    fabric: Fabric,
    seed: int,
    progress: Progress | None = None,
    **how: Any,
) -> History:
    """Prepare the examples of a training, and train the network in place; see `metamery.training.loop.train`.

    Parameters
    ----------
    classes
        Names of the network's outputs, in order.
    augment
        Random change of single signals.
    folder
        Folder of the checkpoints.
    **how
        Further keywords of the loop.
    """

    def prepared(stimuli: Stimuli, augment: Augmentation | None = None) -> Examples:
        return examples(stimuli, classes, model.domain, augment, seed, progress, is_read=is_read)

    is_read = epochs_done(folder) < recipe.epochs
    with fast_on_cpu(model.module, model.domain) if fabric.device.type == "cpu" else nullcontext():
        return train(
            model,
            prepared(stimuli.training, augment),
            None if stimuli.validation is None else prepared(stimuli.validation),
            recipe,
            tools,
            folder,
            fabric=fabric,
            seed=seed,
            progress=progress,
            **how,
        )


@contextmanager
def _kept(run: Run, folder: Path, plugins: Plugins, hardware: Hardware, fabric: Fabric) -> Iterator[Keeper | None]:
    """Claim the run's folder, in the first of several processes, which tells the others whether it may."""
    if not fabric.is_global_zero:
        if refused := fabric.broadcast(""):
            raise MetameryError(refused)
        yield None
        return
    attributes = {
        **provenance(),
        "device": str(fabric.device),
        "processes": fabric.world_size,
        "precision": hardware.precision,
        "sync_batch_norm": int(hardware.sync_batch_norm),
        "compiled": int(hardware.compiled),
        "threads": torch.get_num_threads(),
        "run": run.to_toml(),
        "plugins": suppliers(run.names(), plugins),
        "folder": str(folder.resolve()),
    }
    others_wait = True
    try:
        check_output(folder, "run")
        with claims.work(folder) as claim:
            check(run, folder, plugins)
            others_wait = bool(fabric.broadcast(""))
            yield Keeper(run, folder, claim, attributes)
    except MetameryError as error:
        if others_wait:
            fabric.broadcast(str(error))
        raise


@contextmanager
def _report_if_stopped(folder: Path) -> Iterator[None]:
    """Report after an interrupt whether anything was saved."""
    try:
        yield
    except KeyboardInterrupt:
        kept = (folder / LAST).exists()
        stopping.say(stopping.RESUMES if kept else f"nothing was saved yet: {stopping.STARTS_AGAIN}")
        raise
