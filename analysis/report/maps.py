"""Maps of models: their positions on one axis with intervals, or in the plane of two quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .charts import Axis, Chart, linear, names
from .lines import Drawings, item_text, styles

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

MAP = "map"
"""The value of a variable's attribute ``display`` where its items are points of a map."""

_MOST = 8  # items that colours tell apart; more of them are named in the drawing
_ROW, _WIDTH, _SIDE = 26, 300, 240  # pixels


def map_chart(array: xr.DataArray, row_dim: str, bounds: Sequence[xr.DataArray], title: str, name: str) -> Drawings:
    """Draw each item of a dimension as a point.

    Parameters
    ----------
    array
        Over `row_dim` alone: positions on an axis. Over it and a dimension of two items: positions in the plane of
        these two; over further dimensions, there is a small point for each of their items, beside the mean.
    bounds
        Both ends of the intervals of positions on an axis, or nothing.
    title, name
        Title of the axis of positions, and name of the variable.
    """
    items = [item_text(item) for item in array[row_dim].values.tolist()]
    finite = np.isfinite(array.values)
    if not finite.any():
        return Drawings()
    plane = next((str(dim) for dim in array.dims if dim != row_dim and array.sizes[dim] == 2), "")
    note = ""
    if array.ndim == 1:
        note = f"lines from {bounds[0].name} to {bounds[1].name}" if bounds else ""
        drawing = _on_axis(array.values, [end.values for end in bounds], items, title, name)
    elif plane:
        stacked = array.transpose(row_dim, plane, ...).values.reshape(len(items), 2, -1)
        axes = [f"{plane}: {item_text(item)}" for item in array[plane].values.tolist()]
        drawing = _in_plane(stacked, axes, items, name)
        each = [str(dim) for dim in array.dims if dim not in (row_dim, plane)]
        note = f"a small point for each {' and '.join(each)}" if stacked.shape[2] > 1 else ""
    else:
        return Drawings()
    return Drawings([("", drawing)], styles(items) if len(items) <= _MOST else [], note=note)


def _on_axis(
    values: NDArray[np.float64], ends: Sequence[NDArray[np.float64]], items: Sequence[str], title: str, name: str
) -> str:
    across, down = (
        _axis(title, np.stack([values, *ends])),
        names("", items[::-1] if len(items) > _MOST else [""] * len(items)),
    )
    chart = Chart(across, down, _WIDTH, _ROW * len(items))
    if across.low < 0 < across.high:
        chart.line([0, 0], [down.low, down.high], "grid")
    for row, (value, style) in enumerate(zip(values, _styles(items), strict=True)):
        height = len(items) - 1 - row  # the first at the top
        if ends:
            chart.line([ends[0][row], ends[1][row]], [height, height], f"bar {style}")
        chart.points([value], [height], f"series {style}")
    return chart.svg(f"{name} of each item; the numbers are in the table")


def _in_plane(values: NDArray[np.float64], titles: Sequence[str], items: Sequence[str], name: str) -> str:
    """Draw ``(item, 2, repetition)`` on two axes of one scale, with a line of equal differences through the middle."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    x, y = (_axis(title, np.array([low, high])) for title in titles)
    chart = Chart(x, y, _SIDE, _SIDE)
    chart.line([x.low, x.high], [y.low, y.high], "chance")
    for item, (first, second), style in zip(items, values, _styles(items), strict=True):
        known = np.isfinite(first + second)
        if values.shape[2] > 1:
            chart.points(first[known], second[known], f"series {style} faint")
        if known.any():
            across, up = float(first[known].mean()), float(second[known].mean())
            chart.points([across], [up], f"series {style} large")
            if len(items) > _MOST:
                chart.text(across, up, item)
    return chart.svg(f"{name} of each item in the plane; the numbers are in the table")


def _styles(items: Sequence[str]) -> list[str]:
    return [f"s{row + 1}" for row in range(len(items))] if len(items) <= _MOST else [""] * len(items)


def _axis(title: str, values: NDArray[np.float64]) -> Axis:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.06 * (high - low) or 0.5
    return linear(title, low - margin, high + margin)
