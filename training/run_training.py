"""Conducting a run: from what is asked, through the loop, to a folder; resumed where it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from ..framework import claims, stopping
from ..framework.checks import one_of, whole
from ..framework.devices import PRECISIONS, check_precision, resolve_device
from ..framework.domains import ImageDomain
from ..framework.errors import MetameryError, unknown
from ..framework.folders import check_output
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.progress import Progress
from ..framework.recipes import Recipe
from ..framework.running import channels_last, float32_by_default
from ..framework.study import Use, load_stimuli
from .data import Augment, Examples, categories, classes_of, examples
from .keeping import Keeper, check
from .loop import train
from .processes import together
from .runs import Run, build, is_perturbation, tools
from .state import LAST, History

MOST_PROCESSES = 1024
"""On one machine, of either kind."""

_COMPUTED = {"cpu": ("float32", "bfloat16"), "cuda": PRECISIONS, "mps": ("float32",)}
"""What Lightning Fabric's mixed precision computes in, by kind of device; elsewhere it takes another without a word."""

_FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


@dataclass(frozen=True)
class Machine:
    """Where a run is computed, which is no part of what is asked.

    Parameters
    ----------
    device
        ``cpu``, ``cuda``, ``mps`` or ``auto``.
    devices
        Processes, each on a device of its own; on the CPU they share its cores.
    precision
        Of `PRECISIONS`: of the passes through the network; weights stay float32.
    workers
        Processes that decode signals.
    """

    device: str = "cpu"
    devices: int = 1
    precision: str = "float32"
    workers: int = 0

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        whole("devices", self.devices, 1, MOST_PROCESSES)
        whole("workers", self.workers, 0, MOST_PROCESSES)

    def kind(self) -> str:
        """``cpu``, ``cuda`` or ``mps``.

        Raises
        ------
        MetameryError
            There is no such device here, or it does not compute in this precision.
        """
        device = resolve_device(self.device)
        kind = device.type
        if kind not in ("cpu", "cuda", "mps"):
            raise unknown("device", self.device, ("cpu", "cuda", "mps", "auto"))
        check_precision(self.precision, device)
        if self.precision not in _COMPUTED[kind]:
            raise MetameryError(
                f"precision is {self.precision}, which training does not compute in on device '{kind}': "
                f"expected {' or '.join(_COMPUTED[kind])}"
            )
        return kind

    def fabric(self) -> Fabric:
        """Make what runs a training on these devices, or raise `MetameryError` as `kind` does."""
        kind = self.kind()
        try:
            return Fabric(accelerator=kind, devices=self.devices, precision=_FABRIC[self.precision])  # type: ignore[arg-type]
        except (ValueError, RuntimeError) as error:
            raise MetameryError(f"no {self.devices} devices '{self.device}' here: {error}") from None


def prepare(
    model: Use,
    stimuli: Use,
    validation: Use | None,
    recipe: Recipe,
    plugins: Plugins,
    *,
    seed: int = 0,
    start: str = "",
    freeze: Sequence[str] = (),
) -> Run:
    """Say what a run depends on: the classes are those of its stimuli.

    Raises
    ------
    MetameryError
        A name is unknown, or the validation stimuli have other categories.
    """
    classes = classes_of(load_stimuli(plugins, stimuli))
    if validation is not None:
        for category in sorted(set(categories(load_stimuli(plugins, validation)))):
            if category not in classes:
                raise unknown("category of the validation stimuli", category, classes)
    return Run(model, stimuli, validation, tuple(classes), recipe, seed, start, tuple(freeze))


def conduct(
    run: Run,
    folder: Path,
    plugins: Plugins,
    machine: Machine | None = None,
    *,
    checkpoint_every: int | None = None,
    progress: Progress | None = None,
) -> History:
    """Train what a run asks for, or go on with it, and return its history.

    Raises
    ------
    MetameryError
        A name is unknown, a signal cannot be read, the loss is not finite, or the folder holds another run.
    """
    machine = machine or Machine()
    made = tools(run.recipe, plugins)
    with torch.random.fork_rng(devices=[]):
        model = build(run, plugins)
    augment = augmentation([name for name in run.recipe.augment if not is_perturbation(plugins, name)], model)
    fabric = machine.fabric()

    def data(use: Use, augment: Augment | None = None) -> Examples:
        seen_by = progress if fabric.is_global_zero else None
        return examples(load_stimuli(plugins, use), run.classes, model.domain, augment, run.seed, seen_by)

    with _said_when_stopped(folder), together(fabric, machine.devices), _kept(run, folder, machine, fabric) as keeper:
        layout = channels_last(model.module, model.domain) if fabric.device.type == "cpu" else nullcontext()
        with layout:
            return train(
                model,
                data(run.stimuli, augment),
                None if run.validation is None else data(run.validation),
                run.recipe,
                made,
                folder,
                fabric=fabric,
                seed=run.seed,
                workers=machine.workers,
                checkpoint_every=checkpoint_every,
                progress=progress if fabric.is_global_zero else None,
                before_keeping=keeper.before if keeper else lambda: None,
                after_epoch=keeper.after if keeper else lambda _history: None,
            )


@contextmanager
def _kept(run: Run, folder: Path, machine: Machine, fabric: Fabric) -> Iterator[Keeper | None]:
    """Hold the run's folder; of several processes only the first does."""
    if not fabric.is_global_zero:
        fabric.barrier()
        yield None
        return
    check_output(folder, "run")
    attributes = {
        "metamery_version": version("metamery"),
        "torch_version": torch.__version__,
        "device": str(fabric.device),
        "processes": fabric.world_size,
        "precision": machine.precision,
        "threads": torch.get_num_threads(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": run.to_toml(),
    }
    with claims.work(folder) as claim:
        check(run, folder)
        fabric.barrier()
        yield Keeper(run, folder, claim, attributes)


@contextmanager
def _said_when_stopped(folder: Path) -> Iterator[None]:
    """Let the program say after an interrupt whether anything was kept."""
    try:
        yield
    except KeyboardInterrupt:
        kept = (folder / LAST).exists()
        stopping.say(stopping.GOES_ON if kept else f"nothing was kept yet: {stopping.ANEW}")
        raise


def augmentation(names: Sequence[str], model: Model) -> Augment | None:
    """Build augmentations by name, to be applied in order.

    ``flip``: left and right change places with even chance. ``crop``: a random crop after padding by an eighth on
    each side, reflected. Any other name is a class of `torchvision.transforms.v2`, made without arguments.

    Raises
    ------
    UnknownNameError
        There is no such augmentation.
    """
    from torchvision.transforms import v2

    if not names:
        return None
    if not isinstance(model.domain, ImageDomain):
        raise MetameryError(f"augment = {list(names)}: augmentations are of images, and the model takes sounds")
    height, width = model.domain.height, model.domain.width
    known: dict[str, Callable[[], Any]] = {
        "flip": v2.RandomHorizontalFlip,
        "crop": lambda: v2.RandomCrop((height, width), padding=(width // 8, height // 8), padding_mode="reflect"),
    }
    others = {name: getattr(v2, name) for name in dir(v2) if isinstance(getattr(v2, name), type)}
    made = []
    for name in names:
        if name not in known and name not in others:
            raise unknown("augmentation", name, [*known, *others])
        try:
            made.append(known[name]() if name in known else others[name]())
        except TypeError as error:
            raise MetameryError(f"augmentation '{name}': {error}") from None
    low, high = model.domain.low, model.domain.high
    composed = v2.Compose(made)

    def augment(signal: torch.Tensor) -> torch.Tensor:
        with torch.device("cpu"), float32_by_default():
            return composed(signal).clamp(low, high)  # type: ignore[no-any-return]

    return augment
