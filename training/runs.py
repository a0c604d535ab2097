"""Runs: a folder that says what was trained and how, and holds what came of it. A run is a model again.

``run.toml`` is what was asked, ``results.zarr`` the history, ``last.safetensors`` what the training goes on from, and
``best.safetensors`` the weights that were best on the validation signals.
"""

from __future__ import annotations

import fnmatch
import inspect
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tomli_w
import torch
import xarray as xr

from ..framework.contract import examine, require_logits
from ..framework.errors import MetameryError, UnknownNameError, unknown
from ..framework.folders import RESULTS
from ..framework.limits import text_of
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.protocols import Perturbation
from ..framework.recipes import Recipe
from ..framework.registry import is_run
from ..framework.schema import Variable
from ..framework.store import Group, StudyStore
from ..framework.study import Use, located
from . import checkpoints
from .loop import Tools
from .state import BEST, LAST, History

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RUN_FILE = "run.toml"

HELD_OUT = ("validation", "val", "valid")
"""What data sets call the split that trainings are validated on, the first that there is."""

_UNITS = {"loss": "nat", "validation_loss": "nat", "seconds": "s"}
_MEANING = {
    "loss": "loss of the recipe, mean over the epoch",
    "accuracy": "accuracy on the training signals, as they were perturbed",
    "validation_loss": "cross-entropy on the validation signals",
    "validation_accuracy": "accuracy on the validation signals",
    "checked_accuracy": "accuracy on validation signals, perturbed as the recipe's check says",
    "learning_rate": "learning rate of the last update",
    "seconds": "time that the epoch took",
}


@dataclass(frozen=True)
class Run:
    """Everything a training depends on.

    Parameters
    ----------
    model, stimuli, validation
        By name, with their options; `validation` may be None.
    classes
        Names of the network's outputs, in order.
    recipe
        Resolved: every number that the training takes.
    seed
        Where all randomness starts.
    start
        Weights to start from: another run's folder, or a safetensors file; the model's own where empty.
    freeze
        Patterns of the names of weights that are not trained, such as ``features.*``.
    """

    model: Use
    stimuli: Use
    validation: Use | None
    classes: Sequence[str]
    recipe: Recipe
    seed: int = 0
    start: str = ""
    freeze: Sequence[str] = field(default_factory=tuple)

    def to_toml(self) -> str:
        table: dict[str, Any] = {"seed": self.seed, "classes": list(self.classes), "stimuli": self.stimuli.table()}
        if self.validation is not None:
            table["validation"] = self.validation.table()
        table |= {"start": self.start} if self.start else {}
        table |= {"freeze": list(self.freeze)} if self.freeze else {}
        table["model"] = self.model.table()
        return tomli_w.dumps(table) + "\n[recipe]\n" + self.recipe.to_toml().replace("\n[", "\n[recipe.")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a run's file.

        Raises
        ------
        MetameryError
            There is none, or it says something else.
        """
        text = text_of(folder / RUN_FILE, "no run in")
        try:
            return cls._parsed(tomllib.loads(text))
        except KeyError as error:
            raise MetameryError(f"no run in '{folder}': {RUN_FILE} has no {error}") from None
        except (ValueError, RecursionError, MetameryError) as error:
            raise MetameryError(f"no run in '{folder}': {error}") from None

    @classmethod
    def _parsed(cls, table: Mapping[str, Any]) -> Run:
        validation, recipe = table.get("validation"), table["recipe"]
        if not isinstance(recipe, Mapping):
            raise MetameryError(f"recipe = {recipe!r}: expected a table")
        return cls(
            Use.parse(table["model"], "model"),
            Use.parse(table["stimuli"], "stimuli"),
            None if validation is None else Use.parse(validation, "validation"),
            _texts(table["classes"], "classes"),
            Recipe().changed(recipe),
            _of_type(table["seed"], int, "seed", "a whole number"),
            _of_type(table.get("start", ""), str, "start", "text"),
            _texts(table.get("freeze", []), "freeze"),
        )


def _of_type(value: Any, kind: type[T], name: str, expected: str) -> T:
    if type(value) is not kind:
        raise MetameryError(f"{name} = {value!r:.60}: expected {expected}")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise MetameryError(f"{name} = {value!r:.60}: expected a list of names")
    return tuple(value)


def splits(folder: Path) -> tuple[Use, Use | None]:
    """The training and the validation stimuli of a folder: ``train`` and ``val`` or ``test`` in it, or itself alone."""
    parts = {name: folder / name for name in ("train", "val", "validation", "test") if (folder / name).is_dir()}
    if "train" not in parts:
        return located(Use(f"{folder}/")), None
    held_out = next((path for name, path in parts.items() if name != "train"), None)
    return located(Use(f"{parts['train']}/")), None if held_out is None else located(Use(f"{held_out}/"))


def splits_of_name(plugins: Plugins, use: Use) -> tuple[Use, Use | None]:
    """The training and the validation stimuli of a registered name: its splits, where it has several.

    A name that has a ``split`` is learnt from ``train``, and validated on ``validation`` (or ``val``, ``valid``) where
    it has such a split, otherwise on its default. Nothing is downloaded to find out.
    """
    try:
        found = plugins.find("stimuli", use.name)
    except UnknownNameError:
        return use, None  # it is refused where it is loaded
    options = inspect.signature(found.entry.factory()).parameters
    if "split" not in options or "/" in found.member:
        return use, None
    held_out = use
    if "split" not in use.options and "download" in options:
        named = (Use(use.name, {**use.options, "split": name}) for name in HELD_OUT)
        held_out = next((split for split in named if _exists(plugins, split)), use)
    return Use(use.name, {**use.options, "split": "train"}), held_out


def _exists(plugins: Plugins, use: Use) -> bool:
    """Whether a data set has the split that is asked for; it says so before it looks for its files."""
    try:
        plugins.load("stimuli", use.name, **{**use.options, "download": False})
    except UnknownNameError:
        return False
    except MetameryError:
        return True  # its files are not there yet
    return True


def build(run: Run, plugins: Plugins) -> Model:
    """Build a run's network as it is before the first update.

    Raises
    ------
    MetameryError
        It has fewer outputs than there are classes, a pattern to freeze fits no weight, or the weights to start from
        are another network's.
    """
    model = _of_classes(run, plugins)
    if run.start:
        _load(model, Path(run.start))
    names = [name for name, _ in model.module.named_parameters()]
    for pattern in run.freeze:
        if not (frozen := fnmatch.filter(names, pattern)):
            raise unknown("pattern of weights", pattern, names)
        for name in frozen:
            model.module.get_parameter(name).requires_grad_(False)
    return model


def trained(path: str | Path, *, plugins: Plugins, weights: str = "best") -> Model:
    """Build the network of a run with the weights it came to.

    Parameters
    ----------
    path
        The run's folder.
    plugins
        Where its names are looked up.
    weights
        ``best`` on the validation signals, or the ``last``.

    Raises
    ------
    MetameryError
        There is no such run, or it has no weights yet.
    """
    if weights not in ("best", "last"):
        raise unknown("weights of a run:", weights, ("best", "last"))
    model = _of_classes(Run.read(Path(path)), plugins)
    _load(model, Path(path), BEST if weights == "best" else LAST)
    model.module.eval()
    return model


def tools(recipe: Recipe, plugins: Plugins) -> Tools:
    """What the names in a recipe stand for.

    Raises
    ------
    MetameryError
        A name or an option is unknown.
    """
    if recipe.epsilon_warmup and not recipe.replays and "epsilon" not in recipe.perturbation_options:
        raise MetameryError("epsilon_warmup needs perturbation_options.epsilon, to which it grows")
    if recipe.replays and recipe.perturbation:
        raise MetameryError(
            f"replays move the signals by themselves: expected no perturbation, not '{recipe.perturbation}'"
        )
    if recipe.check_drop and not recipe.check:
        raise MetameryError("check_drop needs check, the perturbation under which the network is measured")

    @cache
    def perturbation(share: float) -> Perturbation:
        options = dict(recipe.perturbation_options)
        if share < 1:
            options["epsilon"] = share * float(options["epsilon"])
        built: Perturbation = plugins.load("perturbation", recipe.perturbation, **options)
        return built

    if recipe.perturbation:
        perturbation(1.0)
    loss: Any = plugins.load("loss", recipe.loss, **recipe.loss_options)
    optimizer: Callable[[Any], torch.optim.Optimizer] = plugins.load(
        "optimizer", recipe.optimizer, lr=recipe.learning_rate, **recipe.optimizer_options
    )
    check: Perturbation | None = (
        plugins.load("perturbation", recipe.check, **recipe.check_options) if recipe.check else None
    )
    return Tools(loss, optimizer, perturbation if recipe.perturbation else None, check, _augmentations(recipe, plugins))


def _augmentations(recipe: Recipe, plugins: Plugins) -> tuple[Perturbation, ...]:
    """The perturbations among a recipe's augmentations; the others are of pictures, one by one."""
    names = [name for name in recipe.augment if is_perturbation(plugins, name)]
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in recipe.augment_options.items():
        name, _, option = key.rpartition(".")
        if name not in options:
            raise unknown("augmentation with options:", name or key, names)
        options[name][option] = value
    return tuple(plugins.load("perturbation", name, **options[name]) for name in names)


def is_perturbation(plugins: Plugins, name: str) -> bool:
    try:
        plugins.find("perturbation", name)
    except UnknownNameError:
        return False
    return True


def history_dataset(history: History, epochs: int | None = None) -> xr.Dataset:
    """A training's history over ``epoch``, counted from 1; NaN where an epoch is still to come."""
    names = list(dict.fromkeys(name for row in history for name in row))
    epochs = epochs or len(history)
    columns = np.full((len(names), epochs), np.nan)
    for place, row in enumerate(history):
        columns[:, place] = [row.get(name, np.nan) for name in names]
    variables = _history_variables(names)
    return xr.Dataset(
        {name: ("epoch", column, variables[name].attributes()) for name, column in zip(names, columns, strict=True)},
        {"epoch": np.arange(1, epochs + 1)},
    )


def write_history(folder: Path, history: History, attributes: Mapping[str, Any], epochs: int | None = None) -> None:
    """Put a training's history into its results, ``/history``.

    All epochs are there from the start, NaN where they are still to come: nothing changes its size under a reader.
    """
    dataset = history_dataset(history, epochs)
    values = {str(name): column.values for name, column in dataset.data_vars.items()}
    if not (folder / RESULTS).exists():
        group = Group(_history_variables(list(values)), {"epoch": dataset["epoch"].values.tolist()})
        StudyStore.create(folder, {"history": group}, attributes, {"history": values})
        return
    store = StudyStore.reopen(folder)
    try:
        there = {name: store.read("history", name) for name in ("epoch", *values)}
    except (KeyError, ValueError, OSError, RuntimeError):  # none yet, or damaged
        there = {}
    if there and all(len(column) == dataset.sizes["epoch"] for column in there.values()):
        changed = {name: v for name, v in values.items() if not np.array_equal(v, there[name], equal_nan=True)}
        store.write("history", {}, changed)
    else:
        store.add("history", dataset)


def _history_variables(names: Sequence[str]) -> dict[str, Variable]:
    return {
        name: Variable(("epoch",), "float64", np.nan, _MEANING.get(name, name), _UNITS.get(name, "1")) for name in names
    }


def _of_classes(run: Run, plugins: Plugins) -> Model:
    innermost = run.model.name
    while (found := plugins.find("model", innermost)).wants_plugins and not is_run(Path(innermost)):
        innermost = found.member.partition("/")[2]  # a family that operates on another model
    accepted = inspect.signature(found.entry.factory()).parameters
    own = {"num_classes": len(run.classes), "labels": list(run.classes)}
    options = {name: value for name, value in own.items() if name in accepted} | dict(run.model.options)
    model: Model = plugins.load("model", run.model.name, **options)
    require_logits(run.model.name, model)
    if (outputs := examine(model).classes) != len(run.classes):
        raise MetameryError(f"model '{run.model.name}' has {outputs} outputs, and there are {len(run.classes)} classes")
    return replace(model, labels=tuple(run.classes), label_space="category")


def _load(model: Model, place: Path, name: str = BEST) -> None:
    """Load weights from a run's folder or a file."""
    file = place / name if place.is_dir() else place
    tensors, state = checkpoints.load(file)
    others = state.get("others", {})
    if file.name == LAST:
        part = "averaged" if any(key.startswith("averaged/") for key in tensors) else "weights"
        tensors = {key.removeprefix(f"{part}/"): value for key, value in tensors.items() if key.startswith(f"{part}/")}
        others = others.get(part, {})
    try:
        model.module.load_state_dict(checkpoints.unpacked(tensors, others))
    except (RuntimeError, KeyError) as error:
        raise MetameryError(f"'{file}' holds the weights of another network: {str(error).splitlines()[-1]}") from None
