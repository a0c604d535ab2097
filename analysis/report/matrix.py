"""Tables whose cells are coloured by their numbers, among them the match of each layer's metamers at every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .metrics import METRICS, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults

_DARK = 62  # percent of the scale from which the text is printed in the other colour


@dataclass(frozen=True)
class Cell:
    """A number as it is printed, its position on the scale in percent or None, and its interval."""

    text: str
    percent: int | None
    marked: bool = False
    range: str = ""

    @property
    def is_deep(self) -> bool:
        return self.percent is not None and self.percent >= _DARK


@dataclass(frozen=True)
class Matrix:
    """The match at every layer by one metric; `pale` and `deep` are the ends of the scale in words."""

    metric: Metric
    rows: list[tuple[str, list[Cell]]]
    pale: str
    deep: str


def matrices(model: ModelResults) -> list[Matrix]:
    """Return the median match over stimuli and seeds, one matrix per metric; empty where nothing was measured."""
    matches = model.matches
    if matches is None:
        return []
    names = matches["metric"].values.tolist()
    medians = []  # (layer, metric, measured_layer)
    for layer in range(len(model.layers)):  # the match of one layer is in memory at a time
        values = matches.isel(layer=layer).transpose("metric", "measured_layer", ...).values
        medians.append([[median(each) for each in measured] for measured in values])
    if np.isnan(medians).all():
        return []
    present = [(metric, names.index(metric.name)) for metric in METRICS if metric.name in names]
    return [_matrix(model, metric, [row[number] for row in medians]) for metric, number in present]


def shade(value: float, pale: float, deep: float) -> int | None:
    """Return a value's position from the scale's pale end to its deep end, in percent.

    >>> shade(0.5, 0.0, 1.0), shade(7.0, 0.0, 1.0), shade(0.25, 1.0, 0.0), shade(float("nan"), 0.0, 1.0)
    (50, 100, 75, None)
    """
    if np.isnan(value):
        return None
    span = deep - pale
    return round(100 * float(np.clip((value - pale) / span, 0, 1))) if span else 50


def median(values: NDArray[Any]) -> float:
    """Return the median without NaN; NaN where all values are."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def _matrix(model: ModelResults, metric: Metric, medians: Sequence[Sequence[float]]) -> Matrix:
    """`medians` are of each layer's metamers, at each measured layer."""
    pale, deep = _ends(metric, medians)
    unit = " dB" if metric.units == "dB" else ""
    rows = [
        (
            layer,
            [
                Cell(metric.text(value), shade(value, pale, deep), marked=layer == measured)
                for measured, value in zip(model.measured_layers, row, strict=True)
            ],
        )
        for layer, row in zip(model.layers, medians, strict=True)
    ]
    words = [f"{number:g}{unit}" for number in (pale, deep)]
    if metric.lower_is_closer:
        return Matrix(metric, rows, f"{words[0]} or more", words[1])
    return Matrix(metric, rows, f"{words[0]} or less", words[1] if metric.units != "dB" else f"{words[1]} or more")


def _ends(metric: Metric, medians: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the values at the pale and at the deep end of the scale."""
    if metric.lower_is_closer:
        return 1.0, 0.0
    if metric.units != "dB":
        return 0.0, 1.0
    finite = [value for row in medians for value in row if np.isfinite(value)]
    return 0.0, max(float(np.ceil(max(finite, default=1.0))), 1.0)
