"""The folder of a run: it states what was trained and how, and holds the weights. A run can be used as a model.

``run.toml`` holds the `Run`, ``results.zarr`` the history, ``last.safetensors`` what the training continues from,
and ``best.safetensors`` the weights with the highest accuracy on the validation signals.
"""

from __future__ import annotations

import fnmatch
import inspect
from dataclasses import replace
from pathlib import Path

from ..framework.contract import examine, require_logits
from ..framework.errors import MetameryError, unknown
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.registry import is_run
from ..framework.run import Run
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
        load_weights(model, Path(run.start))
    names = [name for name, _ in model.module.named_parameters()]
    for pattern in run.freeze:
        if not (frozen := fnmatch.filter(names, pattern)):
            raise unknown("pattern of weights", pattern, names)
        for name in frozen:
            model.module.get_parameter(name).requires_grad_(False)
    return model


def trained(path: str | Path, *, plugins: Plugins, weights: str = "best") -> Model:
    """Build the network of a run with its trained weights.

    Parameters
    ----------
    path
        The run's folder.
    plugins
        Plugins in which its names are looked up.
    weights
        ``best``: those with the highest accuracy on the validation signals; or ``last``.

    Raises
    ------
    MetameryError
        The folder does not hold a run, or has no weights yet.
    """
    if weights not in ("best", "last"):
        raise unknown("weights of a run:", weights, ("best", "last"))
    model = _of_classes(Run.read(Path(path)).qualified(plugins), plugins)
    load_weights(model, Path(path), BEST if weights == "best" else LAST)
    model.module.eval()
    return model


def _of_classes(run: Run, plugins: Plugins) -> Model:
    innermost = run.model.name
    while (lookup := plugins.find("model", innermost)).wants_plugins and not is_run(Path(innermost)):
        innermost = lookup.member.partition("/")[2]  # a family that operates on another model
    accepted = inspect.signature(lookup.entry.factory()).parameters
    own = {"num_classes": len(run.classes), "labels": list(run.classes)}
    options = {name: value for name, value in own.items() if name in accepted} | dict(run.model.options)
    model: Model = plugins.load("model", run.model.name, **options)
    require_logits(run.model.name, model)
    if (outputs := examine(model).classes) != len(run.classes):
        raise MetameryError(f"model '{run.model.name}' has {outputs} outputs, and there are {len(run.classes)} classes")
    return replace(model, labels=tuple(run.classes), label_space="category")


def load_weights(model: Model, path: Path, name: str = BEST) -> None:
    """Load weights into a network from a run's folder or a file.

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
    try:
        model.module.load_state_dict(checkpoints.unpacked(tensors, others))
    except (RuntimeError, KeyError) as error:
        raise MetameryError(f"'{file}' holds the weights of another network: {str(error).splitlines()[-1]}") from None
