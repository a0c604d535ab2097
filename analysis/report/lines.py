"""Results of evaluators drawn as lines across layers, sizes or epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
_MOST_OF_MODEL = 4  # lines of one model that a chart shows together; more of them get a chart each
_MOST_CHARTS = 24
_HEIGHT = 160  # pixels of a chart
_LARGE, _SMALL = (310, _HEIGHT), (150, 140)
_LONGEST = 28  # letters of the title of an axis of strengths


@dataclass(frozen=True)
class Drawings:
    """Charts of one variable, on the same axes.

    Parameters
    ----------
    charts
        Their titles and drawings.
    legend
        Styles and names of the lines, for all charts.
    empty
        Names of models or layers without any value, which are not drawn.
    are_small
        Whether they are small multiples, of which two fit beside each other on a phone.
    note
        What marks are that the legend does not name.
    """

    charts: Sequence[tuple[str, str]] = ()
    legend: Sequence[tuple[str, str]] = ()
    empty: Sequence[str] = ()
    are_small: bool = False
    note: str = ""


@dataclass(frozen=True)
class _Lines:
    """Lines ``(line, position)``, and perhaps the ends of their intervals."""

    lines: NDArray[np.float64]
    edges: list[NDArray[np.float64]]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each line has any value."""
        return np.asarray(np.isfinite(self.lines).any(axis=1))

    def at(self, lines: Any, positions: Any = slice(None)) -> _Lines:
        """Select some lines and positions."""
        return _Lines(self.lines[lines][:, positions], [edge[lines][:, positions] for edge in self.edges])

    def draw(self, across: Axis, positions: NDArray[np.float64], up: Axis, label: str, size: tuple[int, int]) -> str:
        chart = Chart(across, up, *size)
        for line in range(len(self.lines)):
            if self.edges:
                chart.area(positions, self.edges[0][line], self.edges[1][line], f"range s{line + 1}")
                chart.strokes(positions, self.edges[0][line], self.edges[1][line], f"bar s{line + 1}")
        for line, values in enumerate(self.lines):
            chart.line(positions, values, f"series s{line + 1}")
            chart.points(positions, values, f"series s{line + 1}")
        return chart.svg(label)


def line_charts(
    values: xr.DataArray, row_dim: str, column_dim: str, bounds: list[xr.DataArray], title: str, name: str
) -> Drawings:
    """Draw lines across layers or sizes; nothing where that would not be informative."""
    if not np.isfinite(values.values).any():
        return Drawings()
    has_layers = row_dim == "site" and {"model", "layer"} <= {*values.coords}
    if row_dim == "site" and column_dim not in ACROSS:
        is_drawn = has_layers and (not column_dim or column_dim in _LINES)
        return _across_layers(values, column_dim, bounds, title, name) if is_drawn else Drawings()
    if column_dim not in ACROSS or (row_dim and row_dim not in _LINES):
        return Drawings()
    if column_dim != "layer" and values.sizes[column_dim] < 3:
        return Drawings()
    if has_layers and values.sizes["site"] > _MOST_OF_MODEL:
        return _at_each_layer(values, column_dim, bounds, title, name)
    if (values.sizes[row_dim] if row_dim else 1) > _MOST_LINES:
        return Drawings()
    shown = _stacked(values, bounds, row_dim, column_dim)
    items = np.array(_items(values, row_dim) or [""])
    across, positions = _across_axis(values, column_dim)
    drawing = shown.at(shown.known).draw(
        across, positions, _up_axis(title, shown, name), f"{name} by {column_dim}; the numbers are in the table", _LARGE
    )
    legend = styles(items[shown.known].tolist() if row_dim else [])
    return Drawings([("", drawing)], legend, items[~shown.known].tolist())


def _across_layers(
    values: xr.DataArray, column_dim: str, bounds: list[xr.DataArray], title: str, name: str
) -> Drawings:
    """Draw lines across the layers of each model.

    Models with the same layers share a chart, one for each item of `column_dim` if there are many or they are
    transformations; else each model has a chart with its items, or one for each of them.
    """
    items = _items(values, column_dim) or [""]
    shown = _stacked(values, bounds, column_dim, "site")  # (item, site)
    sites = _sites_of_models(values)
    known = {model: own for model, own in sites.items() if shown.at(slice(None), own).known.any()}
    empty = [model for model in sites if model not in known]
    layers = {model: [str(values["layer"].values[site]) for site in own] for model, own in known.items()}
    is_apart = len(items) > _MOST_OF_MODEL or column_dim == "transformation"
    is_shared = len({tuple(own) for own in layers.values()}) == 1 and len(known) <= _MOST_LINES
    up, label = _up_axis(title, shown, name), f"{name} by layer; the numbers are in the table"

    def drawn(lines: _Lines, model: str, size: tuple[int, int]) -> str:
        own = layers[model]
        return lines.draw(names("layer", own), np.arange(len(own), dtype=np.float64), up, label, size)

    if is_shared and (is_apart or not column_dim):
        own = np.array(list(known.values()))  # (model, layer)
        of_items = {
            item: _Lines(shown.lines[line][own], [edge[line][own] for edge in shown.edges])
            for line, item in enumerate(items)
        }
        size = _SMALL if column_dim else _LARGE
        charts = [(item, drawn(each, next(iter(known)), size)) for item, each in of_items.items() if each.known.any()]
        return Drawings(charts, styles(list(known) if len(known) > 1 else []), empty, bool(column_dim))
    if not is_apart:
        charts = [(model, drawn(shown.at(slice(None), own), model, _LARGE)) for model, own in known.items()]
        return Drawings(charts, styles(_items(values, column_dim)), empty)
    charts = [
        (f"{item}, {model}", drawn(each, model, _SMALL))
        for line, item in enumerate(items)
        for model, own in known.items()
        if (each := shown.at([line], own)).known.any()
    ]
    return Drawings(charts, [], empty, True) if len(charts) <= _MOST_CHARTS else Drawings()


def _at_each_layer(
    values: xr.DataArray, column_dim: str, bounds: list[xr.DataArray], title: str, name: str
) -> Drawings:
    """Draw a small chart for each layer, with a line for each model that has it."""
    shown = _stacked(values, bounds, "site", column_dim)
    sites = _sites_of_models(values)
    layers = [str(layer) for layer in dict.fromkeys(values["layer"].values.tolist())]
    if len(layers) > _MOST_CHARTS or len(sites) > _MOST_LINES:
        return Drawings()
    across, positions = _across_axis(values, column_dim)
    up, label = _up_axis(title, shown, name), f"{name} by {column_dim}; the numbers are in the table"
    charts, empty = [], []
    for layer in layers:
        own = [next((site for site in of if values["layer"].values[site] == layer), -1) for of in sites.values()]
        lines = _or_missing(shown, own)
        if lines.known.any():
            charts.append((layer, lines.draw(across, positions, up, f"{label}, layer {layer}", _SMALL)))
        else:
            empty.append(layer)
    return Drawings(charts, styles(list(sites) if len(sites) > 1 else []), empty, True)


def _or_missing(shown: _Lines, lines: list[int]) -> _Lines:
    """Select some lines; −1 stands for one without values."""
    is_there = np.array(lines)[:, None] >= 0
    found = shown.at(lines)
    return _Lines(np.where(is_there, found.lines, np.nan), [np.where(is_there, edge, np.nan) for edge in found.edges])


def _sites_of_models(values: xr.DataArray) -> dict[str, list[int]]:
    sites: dict[str, list[int]] = {}
    for position, model in enumerate(values["model"].values.tolist()):
        sites.setdefault(str(model), []).append(position)
    return sites


def _stacked(values: xr.DataArray, bounds: list[xr.DataArray], row_dim: str, column_dim: str) -> _Lines:
    order = [dim for dim in (row_dim, column_dim) if dim]
    lines = values.sizes[row_dim] if row_dim else 1
    first, *rest = (each.transpose(*order).values.reshape(lines, -1) for each in (values, *bounds))
    return _Lines(first, rest)


def styles(texts: list[str]) -> list[tuple[str, str]]:
    """Styles and names of lines or points, in their order."""
    return [(f"s{line + 1}", text) for line, text in enumerate(texts)]


def level_names(values: xr.DataArray, dim: str) -> list[str]:
    """Names of the levels of strength, by the coordinate `value`; empty without it."""
    if dim != "strength" or "value" not in values.coords or values["value"].dims != (dim,):
        return []
    return [item_text(float(value)) for value in values["value"].values]


def _across_axis(values: xr.DataArray, dim: str) -> tuple[Axis, NDArray[np.float64]]:
    if of := level_names(values, dim):
        unit = str(values["unit"].item()) if "unit" in values.coords and values["unit"].ndim == 0 else ""
        title = f"{dim} ({unit})" if unit else dim
        return names(title if len(title) <= _LONGEST else unit, of), np.arange(len(of), dtype=np.float64)
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
