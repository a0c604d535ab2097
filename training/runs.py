"""The folder of a run: it states what was trained and how, and holds the weights. A run can be used as a model.

``run.toml`` holds the `Run`, ``results.zarr`` the history, ``last.safetensors`` what the training continues from,
and ``best.safetensors`` the weights with the highest accuracy on the validation signals.
"""

from __future__ import annotations

import fnmatch
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..framework.class_labels import check_number
from ..framework.contract import examine, require_logits
from ..framework.errors import MetameryError, unknown
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.registry import is_run
from ..framework.run import Run
from ..framework.seeding import seeded
from ..framework.suppliers import naming_missing
from . import checkpoints
from .state import BEST, LAST


def build(run: Run, plugins: Plugins) -> Model:
    """Build a run's network as it is before the first update.

    Raises
    ------
    MetameryError
        It does not have one output for each class, a pattern to freeze matches no weight, or the weights to start from
        are another network's.
    """
    model = _of_classes(run, plugins)
    if run.start:
        load_weights(model, Path(run.start), fits=False)
    names = [name for name, _ in model.module.named_parameters()]
    for pattern in run.freeze:
        if not (frozen := fnmatch.filter(names, pattern)):
            raise unknown("pattern of weights", pattern, names)
        for name in frozen:
            model.module.get_parameter(name).requires_grad_(False)
    return model


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
        ``best``: those with the highest accuracy on the validation signals; or ``last``.
    num_classes
        Number of logits; by default the run's. Any other number gives a new, random last layer.
    seed
        Seed of the global generator that a new last layer is drawn from, unless the network's factory has its own.

    Raises
    ------
    MetameryError
        The folder does not hold a run, or has no weights yet.
    """
    if weights not in ("best", "last"):
        raise unknown("weights of a run:", weights, ("best", "last"))
    run, file = Run.read(Path(path)).qualified(plugins), BEST if weights == "best" else LAST
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
            load_weights(model, Path(path), file, fits=False)
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


def load_weights(model: Model, path: Path, name: str = BEST, *, fits: bool = True) -> None:
    """Load weights into a network from a run's folder or a safetensors file.

    Parameters
    ----------
    fits
        Whether all of the network must be there. Otherwise its last layer keeps its own weights, with a warning, where
        those of the file have another shape, as for other classes; and so do buffers that the file does not hold, such
        as those of the normalisation.

    Raises
    ------
    MetameryError
        There are no weights, or they are another network's.
    """
    file = path / name if path.is_dir() else path
    tensors, state = checkpoints.load(file)
    others = state.get("others", {})
    if file.name == LAST:
        part = "averaged" if any(key.startswith("averaged/") for key in tensors) else "weights"
        tensors = {key.removeprefix(f"{part}/"): value for key, value in tensors.items() if key.startswith(f"{part}/")}
        others = others.get(part, {})
    if not fits:
        tensors = _completed(model, tensors, file)
    entries = checkpoints.unpacked(tensors, others)
    try:
        model.module.load_state_dict(entries)
    except (RuntimeError, KeyError) as error:
        reason = _misfit(model.module.state_dict(), entries) or str(error).splitlines()[-1]
        raise MetameryError(f"'{file}' holds the weights of another network: {reason}") from None


def _misfit(own: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return in one line which entries of a file are missing, not the network's, or of another shape; perhaps none."""

    def shape(value: Any) -> tuple[int, ...]:
        return tuple(getattr(value, "shape", ()))

    other = [name for name in own if name in found and shape(found[name]) != shape(own[name])]
    kinds = {
        "missing": [f"'{name}'" for name in own if name not in found],
        "unexpected": [f"'{name}'" for name in found if name not in own],
        "of another shape": [f"'{name}' {shape(found[name])}, expected {shape(own[name])}" for name in other],
    }
    return "; ".join(
        f"{len(names)} {'entry' if len(names) == 1 else 'entries'} {kind}, the first {names[0]}"
        for kind, names in kinds.items()
        if names
    )


def _completed(model: Model, tensors: Mapping[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """Return a file's weights, with the network's own where only it has a buffer, or its last layer does not fit."""
    own, weights = model.module.state_dict(), dict(model.module.named_parameters())
    prefix = next((each for each in _PREFIXES if tensors and all(name.startswith(each) for name in tensors)), "")
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    others = [name for name, tensor in found.items() if name in own and tensor.shape != own[name].shape]
    ran = [layer.name.partition("@")[0] for layer in examine(model).outline]
    learned = {name.rpartition(".")[0] for name in weights}
    last = next((name for name in reversed(ran) if name in learned), "")
    if others and {name.rpartition(".")[0] for name in others} == {last}:
        warnings.warn(
            f"the last layer '{last}' starts from its own weights, since those in '{file}' have other shapes: "
            f"{', '.join(others)}",
            stacklevel=4,
        )
        found |= {name: own[name] for name in others}
    return {name: own[name] for name in own if name not in weights and _may_lack(name)} | found


def _may_lack(buffer: str) -> bool:
    return not buffer.endswith(("running_mean", "running_var"))


_PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, `torch.compile` and Lightning give to all names."""
