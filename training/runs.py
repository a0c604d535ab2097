"""The folder of a run: it states what was trained and how, and holds the weights. A run can be used as a model.

``run.toml`` holds the `Run`, ``results.zarr`` the history, ``last.safetensors`` what the training continues from,
and ``best.safetensors`` the weights with the highest accuracy on the validation signals.
"""

from __future__ import annotations

import fnmatch
import inspect
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..framework.class_labels import check_number
from ..framework.contract import examine, require_logits
from ..framework.errors import MetameryError, unknown
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.registry import is_run
from ..framework.run import Run
from ..framework.seeding import seeded
from ..framework.suppliers import naming_missing
from ..framework.weight_files import WeightFile, read_weights
from ..framework.weights import fit, misfit
from . import checkpoints
from .state import BEST, LAST, of_epoch


def build(run: Run, plugins: Plugins) -> Model:
    """Build a run's network as it is before the first update.

    Raises
    ------
    MetameryError
        It does not have one output for each class, a pattern to freeze matches none of its weights, or the weights to
        start from are another network's.
    """
    model = _of_classes(run, plugins)
    if run.start:
        adopt_weights(model, Path(run.start))
    for pattern in run.freeze:
        _freeze(model.module, pattern)
    return model


def _freeze(network: nn.Module, pattern: str) -> None:
    """Keep the weights whose names match as they are, and all those in modules whose names do."""
    names = [name for name, _ in network.named_parameters()]
    frozen = {*fnmatch.filter(names, pattern), *fnmatch.filter(names, f"{pattern}.*")}
    if not frozen:
        modules = [name for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
        raise unknown("layer or weights to freeze:", pattern, [*modules, *names])
    for name in frozen:
        network.get_parameter(name).requires_grad_(False)


def trained(
    path: str | Path, *, plugins: Plugins, weights: str = "best", num_classes: int | None = None, seed: int = 0
) -> Model:
    """Build the network of a run with its trained weights.

    Parameters
    ----------
    path
        The run's folder.
    plugins
        Plugins in which its names are looked up.
    weights
        ``best``: those that the recipe's ``keep`` asks for; ``last``; or ``epoch-N`` where it keeps all.
    num_classes
        Number of logits; by default the run's. Any other number gives a new, random last layer.
    seed
        Seed of the global generator that a new last layer is drawn from, unless the network's factory has its own.

    Raises
    ------
    MetameryError
        The folder does not hold a run, or has no weights yet.
    """
    epochs = sorted(each.stem for each in Path(path).glob(of_epoch("*")))
    if weights not in ("best", "last", *epochs):
        raise unknown("weights of a run:", weights, ("best", "last", *epochs))
    run, file = Run.read(Path(path)).qualified(plugins), f"{weights}.safetensors"
    with naming_missing(Path(path), plugins):
        if num_classes in (None, len(run.classes)):
            with warnings.catch_warnings():  # every layer gets the run's weights
                warnings.filterwarnings("ignore", "the last layer ")
                model = _of_classes(run, plugins)
            load_weights(model, Path(path), file)
        else:
            check_number(f"run '{path}'", "num_classes", num_classes)
            with seeded(seed):
                model = _of_classes(replace(run, classes=[str(index) for index in range(num_classes)]), plugins)
            adopt_weights(model, Path(path), file)
            model = replace(model, labels=None)
    model.module.eval()
    return model


def _of_classes(run: Run, plugins: Plugins) -> Model:
    with plugins.trust.named_in(run.source):
        model = _load(run, plugins)
    require_logits(run.model.name, model)
    if (outputs := examine(model).classes) != len(run.classes):
        raise MetameryError(f"model '{run.model.name}' has {outputs} outputs, and there are {len(run.classes)} classes")
    return replace(model, labels=tuple(run.classes), label_space="category")


def _load(run: Run, plugins: Plugins) -> Model:
    innermost = run.model.name
    while (lookup := plugins.find("model", innermost)).wants_plugins and not is_run(Path(innermost)):
        innermost = lookup.member.partition("/")[2]  # a family that operates on another model
    accepted = inspect.signature(lookup.entry.factory()).parameters
    own = {"num_classes": len(run.classes), "labels": list(run.classes)}
    options = {name: value for name, value in own.items() if name in accepted} | dict(run.model.options)
    model: Model = plugins.load("model", run.model.name, **options)
    return model


def load_weights(model: Model, path: Path, name: str = BEST) -> None:
    """Load the weights of a run's folder into its network.

    Raises
    ------
    MetameryError
        There are no weights, or they are another network's.
    """
    entries = _stored(path / name)
    try:
        checkpoints.fill(model.module, entries)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise MetameryError(f"'{path / name}' holds the weights of another network: {reason}") from None


def adopt_weights(model: Model, path: Path, name: str = BEST) -> None:
    """Load the weights of a run's folder, or of a file in any format, as far as they are this network's.

    The last layer keeps its own weights, with a warning, where the file has none, or one for other classes.

    Raises
    ------
    MetameryError
        There are no weights, or they are another network's.
    """
    if not path.exists():
        raise MetameryError(f"'{path}' does not exist, expected a run's folder or a file of weights")
    if path.is_dir() or path.name in (BEST, LAST):
        path = path / name if path.is_dir() else path
        entries = _stored(path)
        others = {name: value for name, value in entries.items() if not isinstance(value, torch.Tensor)}
        weights = WeightFile(path, "", {name: value for name, value in entries.items() if name not in others})
    else:
        weights, others = read_weights(path), {}
    found = fit(model.module, weights)
    last = _last_layer(model)
    unfit = {name.rpartition(".")[0] for name in (*found.missing, *found.reshaped, *found.unexpected)}
    if unfit - {last}:
        raise MetameryError(f"'{path}' holds the weights of another network: {misfit(model.module, found)}")
    if unfit:
        reason = "those in the file have other shapes" if found.reshaped else "the file has none for it"
        warnings.warn(f"the last layer '{last}' starts from its own weights: {reason} ('{path}')", stacklevel=3)
    checkpoints.fill(model.module, {**model.module.state_dict(), **found.tensors, **others})


def _stored(file: Path) -> dict[str, Any]:
    """Return the weights of a run's file, the averaged ones of its last checkpoint if there are any."""
    tensors, state = checkpoints.load(file)
    others = state.get("others", {})
    if file.name == LAST:
        part = "averaged" if any(key.startswith("averaged/") for key in tensors) else "weights"
        tensors = {key.removeprefix(f"{part}/"): value for key, value in tensors.items() if key.startswith(f"{part}/")}
        others = others.get(part, {})
    return checkpoints.unpacked(tensors, others)


def _last_layer(model: Model) -> str:
    """Return the last module of a forward pass that has weights."""
    ran = [layer.name.partition("@")[0] for layer in examine(model).outline]
    learned = {name.rpartition(".")[0] for name, _ in model.module.named_parameters()}
    return next((name for name in reversed(ran) if name in learned), "")
