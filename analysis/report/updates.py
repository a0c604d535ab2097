"""Curves of a training's updates, from the log in its run's folder, to be drawn beside those of its epochs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from ...framework.errors import MetameryError
from ...framework.folders import UPDATES_FILE
from ...framework.remote import Folder
from .charts import Axis, Chart, linear
from .curves import loss_axis
from .numbers import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRETCHES = 250
_SHOWN = {
    "loss": "loss, on the signals as they were perturbed",
    "accuracy": "accuracy, on the signals as they were perturbed",
    "gradient_norm": "L2 norm of the gradient, before it is clipped",
    "learning_rate": "learning rate",
    "signals_per_second": "signals a second",
    "waiting": "share of the time spent waiting for signals",
}


@dataclass(frozen=True)
class Updates:
    """Charts of a training's updates: for each the column's name, what it is, and the drawing.

    Parameters
    ----------
    count
        Number of updates in the log.
    stretch
        Number of updates that a point of the lines is the mean of; the last may be of fewer.
    charts
        Names, titles and drawings.
    """

    count: int
    stretch: int
    charts: Sequence[tuple[str, str, str]]


def updates(folder: Folder) -> Updates | None:
    """Draw the log of a run; None in a folder without one, or where it has fewer than two updates.

    Raises
    ------
    MetameryError
        The log cannot be read.
    """
    file = folder / UPDATES_FILE
    if not file.exists():
        return None
    columns, rows = _read(file)
    if len(rows) < 2:
        return None
    stretch = -(-len(rows) // _STRETCHES)
    first = np.arange(0, len(rows), stretch)
    counts = np.diff([*first, len(rows)])
    at = rows[first + counts - 1, columns.index("update")]
    across = linear("update", float(rows[0, 0]), float(rows[-1, 0]), 3, whole=True)
    charts = []
    for name, title in _SHOWN.items():
        values = rows[:, columns.index(name)]
        mean = np.add.reduceat(values, first) / counts
        chart = Chart(across, _axis(name, values), 310, 160)
        if stretch > 1:
            chart.area(at, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first), "range")
        chart.line(at, mean, "median")
        charts.append((name, title, chart.svg(f"{title}, by update; it ends at {number(float(mean[-1]))}")))
    return Updates(len(rows), stretch, charts)


def _read(file: Folder) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the columns, and the rows; one that is being written is left out."""
    head, _, text = file.read_text(encoding="utf-8").partition("\n")
    columns = head.split(",")
    if missing := [name for name in ("update", *_SHOWN) if name not in columns]:
        raise MetameryError(f"'{file}' is damaged: it has no column '{missing[0]}'")
    text = text[: text.rfind("\n") + 1]
    if not text:
        return columns, np.empty((0, len(columns)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rows = np.loadtxt(StringIO(text), delimiter=",", ndmin=2)
    except (ValueError, UserWarning) as error:
        raise MetameryError(f"'{file}' is damaged: {' '.join(str(error).split())}") from None
    if rows.shape[1] != len(columns):
        raise MetameryError(f"'{file}' is damaged: {rows.shape[1]} columns, and {len(columns)} names")
    return columns, rows


def _axis(name: str, values: NDArray[np.float64]) -> Axis:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if name in ("accuracy", "waiting"):
        return linear(name, 0, 1.02)
    title = name.replace("_", " ")
    return loss_axis(title, low, high) if name in ("loss", "gradient_norm") else linear(title, 0, 1.05 * high)
