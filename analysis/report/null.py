"""The null: match between unrelated natural signals, and how the metamers compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .charts import Axis, Chart, linear, names
from .metrics import JUDGED, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults

FEW = 1000
"""Number of pairs below which the page notes that they are few."""

_SPREAD = 0.36  # half of the width over which the metamers of a layer are spread


@dataclass(frozen=True)
class Maximum:
    """The best match of any pair at one layer, and that pair."""

    metric: str
    text: str
    first: str
    second: str


@dataclass(frozen=True)
class Null:
    """What the page shows of a model's null.

    Parameters
    ----------
    signals, pairs
        Their numbers; 0 where the store does not have them.
    stimuli
        Description of the signals.
    left_out
        Near-duplicates that were not counted, each with the reason.
    maxima
        For each layer, over the metrics.
    """

    signals: int
    pairs: int
    stimuli: str
    left_out: list[str]
    maxima: list[tuple[str, list[Maximum]]]

    @property
    def are_few(self) -> bool:
        return self.pairs < FEW


def null(model: ModelResults) -> Null | None:
    """Gather what the page shows of a model's null; None where it is missing or still empty."""
    maximum = model.of_null("maximum", JUDGED[0].name)
    if model.null is None or maximum is None or maximum.isnull().all():
        return None
    attributes = model.null.attrs
    by_metric = [_maxima(model, metric) for metric in JUDGED]
    left_out = attributes.get("left_out")
    return Null(
        signals=int(attributes.get("signals", 0)),
        pairs=int(attributes.get("pairs", 0)),
        stimuli=str(attributes.get("stimuli", "")),
        left_out=[] if left_out is None else [str(item) for item in np.atleast_1d(left_out) if str(item)],
        maxima=[(layer, [column[index] for column in by_metric]) for index, layer in enumerate(model.layers)],
    )


def match_charts(model: ModelResults) -> list[str]:
    """Draw match at the metamers' own layers against the null, one SVG element per metric; none without any number."""
    if all(_is_empty(model, metric) for metric in JUDGED):
        return []
    layers = names("layer at which they were made", model.layers)
    return [_match_chart(model, metric, layers) for metric in JUDGED]


def histograms(model: ModelResults) -> list[list[str]]:
    """Draw the null's histograms, for each layer one SVG element per metric; empty without pairs."""
    drawn = [_histograms(model, metric) for metric in JUDGED]
    return [list(row) for row in zip(*drawn, strict=True)] if all(drawn) else []


def _maxima(model: ModelResults, metric: Metric) -> list[Maximum]:
    value, first, second = (model.of_null(name, metric.name) for name in ("maximum", "first", "second"))
    assert value is not None
    pairs = ([""] * len(model.layers) if signals is None else _texts(signals.values) for signals in (first, second))
    return [
        Maximum(metric.name, metric.text(float(number)), one, other)
        for number, one, other in zip(value.values, *pairs, strict=True)
    ]


def _texts(values: NDArray[Any]) -> list[str]:
    return [value if isinstance(value, str) else "" for value in values]


def _match_chart(model: ModelResults, metric: Metric, layers: Axis) -> str:
    exact, rounded = model.own_match(metric.name), model.judged("quantised_match", metric.name)
    quantiles, maximum = model.of_null("quantiles", metric.name), model.of_null("maximum", metric.name)
    positions = np.arange(len(model.layers))
    levels = {}
    if quantiles is not None:
        levels = {
            level: quantiles.sel(quantile=level, method="nearest").values for level in (0.001, 0.05, 0.5, 0.95, 0.999)
        }
    highest = None if maximum is None else maximum.values
    width = min(max(200, 34 * len(model.layers)), 320)
    chart = Chart(layers, _axis(metric, [exact, rounded, highest, *levels.values()]), width, 170)
    if levels:
        chart.boxes(positions, 0.42, levels[0.001], levels[0.999], "null wide")
        chart.boxes(positions, 0.42, levels[0.05], levels[0.95], "null")
        chart.levels(positions, 0.42, levels[0.5], "null-median")
    each = exact[0].size
    offsets = np.linspace(-_SPREAD, _SPREAD, each) if each > 1 else np.zeros(1)
    across = (positions[:, None] + offsets).ravel()
    crowd = " crowd" if 2 * _SPREAD * width / across.size < 5 else ""  # pixels from point to point
    chart.points(across, rounded.reshape(-1), f"rounded{crowd}", hollow=True)
    chart.points(across, exact.reshape(-1), f"metamers{crowd}")
    if highest is not None:
        chart.levels(positions, 0.46, highest, "maximum")
    return chart.svg(f"{metric.title} of the metamers at their own layers, against the null; the numbers are below")


def _is_empty(model: ModelResults, metric: Metric) -> bool:
    maximum = model.of_null("maximum", metric.name)
    has_null = maximum is not None and bool(maximum.notnull().any())
    return not has_null and bool(np.isnan(model.own_match(metric.name)).all())


def _axis(metric: Metric, shown: Sequence[Any]) -> Axis:
    values = np.concatenate([np.ravel(item) for item in shown if item is not None])
    values = values[np.isfinite(values)]
    if metric.units == "dB":
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
        margin = 0.06 * (high - low) or 1.0
        return linear(metric.axis, float(low - margin), float(high + margin))
    low = min(0.0, float(values.min())) if values.size else 0.0
    return linear(metric.axis, low - 0.04, 1.04)


def _histograms(model: ModelResults, metric: Metric) -> list[str]:
    counts, low, high = (model.of_null(name, metric.name) for name in ("histogram", "bin_low", "bin_high"))
    if counts is None or low is None or high is None:
        return []
    maximum = model.of_null("maximum", metric.name)
    numbers = np.nan_to_num(counts.values)
    edges = _edges(low.values, high.values)
    mine = model.own_match(metric.name).reshape(len(model.layers), -1)
    filled = np.flatnonzero(numbers.sum(axis=0))
    if not filled.size:
        return []
    within = edges[[filled[0], filled[-1] + 1]]
    reach = np.concatenate([within, mine.ravel(), [] if maximum is None else maximum.values])
    reach = reach[np.isfinite(reach)]
    across = linear(metric.axis, float(reach.min()), float(reach.max()))
    drawn = []
    for index, layer in enumerate(model.layers):
        most = float(numbers[index].max())
        if not most:
            drawn.append("")
            continue
        chart = Chart(across, linear("pairs", 0, 1.15 * most, 3, whole=True), 200, 80)
        _steps(chart, edges, numbers[index])
        if maximum is not None:
            chart.strokes([float(maximum[index])], 0, 1.15 * most, "maximum")
        values = mine[index]
        chart.strokes(np.where(np.isposinf(values), across.high, values), 0, 0.22 * most, "metamers")
        drawn.append(chart.svg(f"histogram of the null’s {metric.title} at layer {layer}, and the metamers’ values"))
    return drawn


def _steps(chart: Chart, edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> None:
    filled = np.flatnonzero(numbers)
    first, last = filled[0], filled[-1] + 1
    across = np.repeat(edges[first : last + 1], 2)[1:-1]
    heights = np.repeat(numbers[first:last], 2)
    chart.area(across, np.zeros_like(heights), heights, "null")


def _edges(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the edges of bins; open ones at the ends are as wide as their neighbours."""
    edges = np.append(low, high[-1]).astype(np.float64)
    if len(edges) > 3:
        if not np.isfinite(edges[0]):
            edges[0] = 2 * edges[1] - edges[2]
        if not np.isfinite(edges[-1]):
            edges[-1] = 2 * edges[-2] - edges[-3]
    return edges
