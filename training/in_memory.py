"""`train`: a network trained on objects, without a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xarray as xr

from ..framework.checks import one_of
from ..framework.contract import examine, require_logits
from ..framework.errors import MetameryError
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.progress import Progress
from ..framework.provenance import provenance
from ..framework.recipes import Recipe
from ..framework.stimuli import Stimuli, Stimulus
from .augmentation import augmentation
from .data import classes_of
from .driver import TrainingStimuli, fit
from .hardware import Hardware
from .history import history_dataset
from .runs import load_weights
from .tools import load_tools, own_augmentations


def train(
    model: Model,
    stimuli: Stimuli | Sequence[Stimulus],
    recipe: str | Recipe = "standard",
    validation: Stimuli | Sequence[Stimulus] | None = None,
    *,
    seed: int = 0,
    weights: str = "best",
    plugins: Plugins | None = None,
    device: str = "cpu",
    precision: str = "float32",
    progress: Progress | None = None,
    **changes: Any,
) -> xr.Dataset:
    """Train a network in place, by the same loop as the command ``metamery train``.

    Checkpoints are written to a temporary folder, so the training cannot be continued after an interruption;
    `run_training` trains into a folder that can be.

    Parameters
    ----------
    model
        The network. Its labels are the classes, in the order of its logits; without labels the classes are the
        stimuli's categories, sorted. Weights that do not require a gradient stay as they are.
    stimuli
        Natural signals with a category each.
    recipe
        Name of a recipe, or a `Recipe`.
    validation
        Signals that the network is evaluated on after each epoch.
    seed
        Seed of all random choices except the network's initial weights, which it already has.
    weights
        Weights that the network is left with: ``best``, those of the epoch with the highest accuracy on the validation
        signals (on the training signals where there are none), as when a run is used as a model; or ``last``.
    plugins
        Plugins in which the recipe's names are looked up; all that are installed by default.
    device, precision
        Device to train on, and precision of the passes through the network.
    progress
        Display of the progress, for example a `ProgressBar`.
    **changes
        Entries of the recipe to be changed, such as ``epochs=3``.

    Returns
    -------
    xarray.Dataset
        The history over ``epoch``, from 1: ``loss`` (nats for cross-entropy), ``accuracy`` in [0, 1],
        ``learning_rate``, ``seconds``, and ``validation_loss``, ``validation_accuracy``, ``checked_accuracy`` where
        they are measured. The model is in eval mode, on the device, with its trained weights.

    Raises
    ------
    MetameryError
        A name is unknown, a category is not among the classes, the network does not have one
        output for each class, or the loss is not finite.

    Examples
    --------
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> from metamery.training import train
    >>> model = example_model()
    >>> history = train(model, example_stimuli(model, 12), epochs=3, batch_size=4, learning_rate=0.01)
    >>> history.epoch.values.tolist(), sorted(history.data_vars)
    ([1, 2, 3], ['accuracy', 'learning_rate', 'loss', 'seconds'])
    """
    one_of("weights", weights, ("best", "last"))
    plugins, hardware = plugins or Plugins(), Hardware(device, precision=precision)
    resolved: Recipe = plugins.load("recipe", recipe) if isinstance(recipe, str) else recipe
    resolved = resolved.changed(changes)
    tools = load_tools(resolved, plugins)
    augment = augmentation(own_augmentations(resolved, plugins), model)
    classes = _classes(model, stimuli)
    with TemporaryDirectory(prefix="metamery-") as name:
        folder = Path(name)
        fabric = hardware.fabric()
        fabric.launch()
        history = fit(
            model,
            classes,
            resolved,
            TrainingStimuli(stimuli, validation),
            tools,
            augment,
            folder,
            fabric=fabric,
            seed=seed,
            progress=progress,
        )
        if weights == "best":
            load_weights(model, folder)
    model.module.eval()
    about = {
        "recipe": resolved.qualified(plugins).to_toml(),
        "seed": seed,
        "device": str(fabric.device),
        "title": "Training",
    }
    return history_dataset(history).assign_attrs(**about, weights_sha256=model.weights_sha256(), **provenance())


def _classes(model: Model, stimuli: Any) -> list[str]:
    """Return the names of the model's outputs, or raise `MetameryError` if their numbers differ."""
    require_logits("model", model)
    classes = list(model.labels) if model.labels is not None else classes_of(stimuli)
    if (outputs := examine(model).classes) != len(classes):
        raise MetameryError(f"the model has {outputs} outputs, and there are {len(classes)} classes")
    return classes
