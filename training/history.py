"""A training's history as a dataset, and in the results of its run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..framework.folders import RESULTS
from ..framework.schema import Variable
from ..framework.store import Group, StudyStore
from .state import History

_UNITS = {"loss": "nat", "validation_loss": "nat", "seconds": "s"}
_MEANING = {
    "loss": "loss of the recipe, mean over the epoch",
    "accuracy": "accuracy on the training signals, as they were perturbed",
    "validation_loss": "cross-entropy on the validation signals",
    "validation_accuracy": "accuracy on the validation signals",
    "checked_accuracy": "accuracy on validation signals, under the recipe's check",
    "learning_rate": "learning rate of the last update",
    "seconds": "time that the epoch took",
}


def history_dataset(history: History, epochs: int | None = None) -> xr.Dataset:
    """Return a training's history over ``epoch``, counted from 1; NaN for epochs that are not trained yet."""
    names = list(dict.fromkeys(name for row in history for name in row))
    epochs = epochs or len(history)
    columns = np.full((len(names), epochs), np.nan)
    for index, row in enumerate(history):
        columns[:, index] = [row.get(name, np.nan) for name in names]
    variables = _history_variables(names)
    return xr.Dataset(
        {name: ("epoch", column, variables[name].attributes()) for name, column in zip(names, columns, strict=True)},
        {"epoch": np.arange(1, epochs + 1)},
        _about(names),
    )


def write_history(folder: Path, history: History, attributes: Mapping[str, Any], epochs: int | None = None) -> None:
    """Write a training's history to its results, ``/history``.

    All epochs exist from the start, NaN until they are trained, so that no array changes its size while it is
    read.
    """
    dataset = history_dataset(history, epochs)
    values = {str(name): column.values for name, column in dataset.data_vars.items()}
    if not (folder / RESULTS).exists():
        epochs_of = {"epoch": dataset["epoch"].values.tolist()}
        group = Group(_history_variables(list(values)), epochs_of, attributes=dataset.attrs)
        StudyStore.create(folder, {"history": group}, attributes, {"history": values})
        return
    store = StudyStore.reopen(folder)
    try:
        stored = {name: store.read("history", name) for name in ("epoch", *values)}
    except (KeyError, ValueError, OSError, RuntimeError):  # none yet, or damaged
        stored = {}
    if stored and all(len(column) == dataset.sizes["epoch"] for column in stored.values()):
        changed = {name: v for name, v in values.items() if not np.array_equal(v, stored[name], equal_nan=True)}
        store.write("history", {}, changed)
    else:
        store.add("history", dataset)


def _about(names: Sequence[str]) -> dict[str, Any]:
    """Attributes that tell how a history is read."""
    first = ("checked_accuracy", "validation_accuracy", "accuracy", "validation_loss", "loss")
    return {
        "title": "Training by epoch",
        "reading_order": [name for name in first if name in names],
        "read_first": "The weights that are used are those of the epoch with the highest accuracy in the first figure, "
        "unless the recipe keeps the last.",
    }


def _history_variables(names: Sequence[str]) -> dict[str, Variable]:
    return {
        name: Variable(("epoch",), "float64", np.nan, _MEANING.get(name, name), _UNITS.get(name, "1")) for name in names
    }
