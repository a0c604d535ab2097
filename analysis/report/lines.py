"""Results of evaluators drawn as lines across layers, sizes or epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .charts import Axis, Chart, linear, names
from .curves import loss_axis

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

ACROSS = ("layer", "epoch", "step", "epsilon", "strength", "quantile")
"""Dimensions that lines run along; the first that exists is used."""

_LINES = ("model", "recogniser", "category", "participant", "transformation", "site")
_MOST_LINES = 8
_HEIGHT = 160  # pixels of a chart


@dataclass(frozen=True)
class _Lines:
    """What one chart shows: lines ``(line, position)``, and perhaps the ends of their intervals."""

    lines: NDArray[np.float64]
    edges: list[NDArray[np.float64]]

    def at(self, positions: list[int]) -> _Lines:
        """Select some positions."""
        return _Lines(self.lines[:, positions], [edge[:, positions] for edge in self.edges])

    def draw(self, across: Axis, positions: NDArray[np.float64], up: Axis, label: str) -> str:
        chart = Chart(across, up, 310, _HEIGHT)
        for line in range(len(self.lines)):
            if self.edges:
                chart.area(positions, self.edges[0][line], self.edges[1][line], f"range s{line + 1}")
                chart.strokes(positions, self.edges[0][line], self.edges[1][line], f"bar s{line + 1}")
        for line, values in enumerate(self.lines):
            chart.line(positions, values, f"series s{line + 1}")
            chart.points(positions, values, f"series s{line + 1}")
        return chart.svg(label)


_Charts = tuple[list[tuple[str, str]], list[tuple[str, str]]]
"""Drawings with their titles, and the legend that they share: style and name."""


def line_charts(
    values: xr.DataArray, row_dim: str, column_dim: str, bounds: list[xr.DataArray], title: str, name: str
) -> _Charts:
    """Draw lines across layers or sizes; nothing where that would not be informative."""
    if not np.isfinite(values.values).any():
        return [], []
    if row_dim == "site" and column_dim not in ACROSS:
        return _charts_of_sites(values, column_dim, bounds, title, name)
    if column_dim not in ACROSS or (row_dim and row_dim not in _LINES):
        return [], []
    lines = values.sizes[row_dim] if row_dim else 1
    if lines > _MOST_LINES or (column_dim != "layer" and values.sizes[column_dim] < 3):
        return [], []
    order = [dim for dim in (row_dim, column_dim) if dim]
    shown = _Lines(*_stacked([each.transpose(*order) for each in (values, *bounds)], lines))
    across, positions = _across_axis(values, column_dim)
    drawing = shown.draw(
        across, positions, _up_axis(title, shown, name), f"{name} by {column_dim}; the numbers are in the table"
    )
    return [("", drawing)], _legend(_items(values, row_dim))


def _charts_of_sites(
    values: xr.DataArray, column_dim: str, bounds: list[xr.DataArray], title: str, name: str
) -> _Charts:
    """Draw lines across the layers of each model: one chart for all where these are the same, else one for each."""
    if not {"model", "layer"} <= {*values.coords} or (column_dim and column_dim not in _LINES):
        return [], []
    of_model: dict[str, list[int]] = {}
    for position, model in enumerate(values["model"].values.tolist()):
        of_model.setdefault(str(model), []).append(position)
    layers = {model: [str(values["layer"].values[position]) for position in own] for model, own in of_model.items()}
    lines = values.sizes[column_dim] if column_dim else 1
    order = [dim for dim in (column_dim, "site") if dim]
    shown = _Lines(*_stacked([each.transpose(*order) for each in (values, *bounds)], lines))
    up, label = _up_axis(title, shown, name), f"{name} by layer; the numbers are in the table"
    same = len({tuple(own) for own in layers.values()}) == 1
    if not column_dim and same and len(layers) <= _MOST_LINES:
        together = _Lines(
            np.stack([shown.lines[0, own] for own in of_model.values()]),
            [np.stack([edge[0, own] for own in of_model.values()]) for edge in shown.edges],
        )
        own = next(iter(layers.values()))
        drawing = together.draw(names("layer", own), np.arange(len(own), dtype=np.float64), up, label)
        return [("", drawing)], _legend(list(layers) if len(layers) > 1 else [])
    if lines > _MOST_LINES:
        return [], []
    charts = [
        (model, shown.at(own).draw(names("layer", layers[model]), np.arange(len(own), dtype=np.float64), up, label))
        for model, own in of_model.items()
    ]
    return charts, _legend(_items(values, column_dim))


def _stacked(arrays: list[xr.DataArray], lines: int) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    first, *rest = (each.values.reshape(lines, -1) for each in arrays)
    return first, rest


def _legend(texts: list[str]) -> list[tuple[str, str]]:
    return [(f"s{line + 1}", text) for line, text in enumerate(texts)]


def level_names(values: xr.DataArray, dim: str) -> list[str]:
    """Names of the levels of strength, by the coordinate `value`; empty without it."""
    if dim != "strength" or "value" not in values.coords or values["value"].dims != (dim,):
        return []
    return [item_text(float(value)) for value in values["value"].values]


def _across_axis(values: xr.DataArray, dim: str) -> tuple[Axis, NDArray[np.float64]]:
    if of := level_names(values, dim):
        unit = str(values["unit"].item()) if "unit" in values.coords and values["unit"].ndim == 0 else ""
        return names(f"{dim} ({unit})" if unit else dim, of), np.arange(len(of), dtype=np.float64)
    coordinate = values[dim].values
    if coordinate.dtype.kind not in "iuf":
        return names(dim, [str(item) for item in coordinate]), np.arange(len(coordinate), dtype=np.float64)
    positions = coordinate.astype(np.float64)
    units = str(values[dim].attrs.get("units", "1"))
    title = dim if units == "1" else f"{dim} ({units})"
    whole = bool((positions % 1 == 0).all())
    return linear(title, float(positions.min()), float(positions.max()), whole=whole), positions


def _up_axis(title: str, drawn: _Lines, name: str) -> Axis:
    shown = [drawn.lines, *drawn.edges]
    whole = all((array[np.isfinite(array)] % 1 == 0).all() for array in shown)
    finite = np.concatenate([array[np.isfinite(array)] for array in shown])
    low, high = float(finite.min()), float(finite.max())
    if name.rpartition("_")[2] == "loss":
        return loss_axis(title, low, high)
    if low >= 0 and high <= 1:
        return linear(title, 0, 1.02)
    margin = 0.06 * (high - low) or abs(high) or 1.0
    return linear(title, 0.0 if 0 <= low <= high / 2 else low - margin, high + margin, whole=whole)


def _items(values: xr.DataArray, dim: str) -> list[str]:
    return [item_text(item) for item in values[dim].values.tolist()] if dim else []


def item_text(item: object) -> str:
    """Print one coordinate.

    >>> item_text(0.1 + 0.2), item_text(-10), item_text("relu-1")
    ('0.3', '−10', 'relu-1')
    """
    if isinstance(item, str):
        return item
    text = f"{item:.4g}" if isinstance(item, float) else str(item)
    return text.replace("-", "−").replace("inf", "∞")


def clipped(name: str, units: str) -> str:
    """Shorten a name so that it and its units fit along a chart's side."""
    most = max(_HEIGHT // 6 - len(units), 8)
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"
