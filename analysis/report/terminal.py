"""Datasets as people read them in a terminal: one table for each variable, with its interval where it has one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from ..statistics.proportions import ENDS

MAX_ROWS, MAX_COLUMNS = 64, 12

APART = ("metric", "transformation")
"""Dimensions each item of which gets a separate table."""


def lines(dataset: xr.Dataset) -> Iterator[str]:
    """Yield a dataset as text, each numeric variable as a table; large ones are only named."""
    names = [str(name) for name in dataset.data_vars]
    ends = {f"{name}_{end}" for name in names for end in ENDS}
    for name in names:
        array = dataset[name]
        if array.ndim > 2:
            array = array.squeeze([dim for dim in array.dims if array.sizes[dim] == 1], drop=True)
        if name in ends or array.dtype.kind not in "biuf":
            continue
        units = array.attrs.get("units", "1")
        title = f"{array.attrs.get('long_name', name)}{'' if units == '1' else f' ({units})'}"
        has_interval = all(f"{name}_{end}" in dataset for end in ENDS)
        bounds = [dataset[f"{name}_{end}"].transpose(..., *array.dims) for end in ENDS] if has_interval else []
        for item, part in _parts(array):
            yield ""
            yield f"{title}{f': {_text(item)}' if item is not None else ''}"
            if part.ndim > 2 or part.shape[:1] > (MAX_ROWS,) or part.shape[1:] > (MAX_COLUMNS,):
                sizes = " × ".join(f"{dim} {size}" for dim, size in part.sizes.items())
                yield f"  {name}: {sizes}, in the store"
                continue
            at = {} if item is None else {array.dims[0]: item}
            yield from _table(part, [bound.sel(at).values.reshape(part.shape) for bound in bounds])


def _parts(array: xr.DataArray) -> Iterator[tuple[object, xr.DataArray]]:
    """Yield the array, or, where its first of three dimensions is one of `APART`, its parts along that."""
    if array.ndim == 3 and array.dims[0] in APART:
        for item in array[array.dims[0]].values:
            yield item, array.sel({array.dims[0]: item})
    else:
        yield None, array


def _table(array: xr.DataArray, bounds: list[np.ndarray]) -> Iterator[str]:
    cells = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        cells[index] = _number(array.values[index])
        if bounds and np.isfinite([end[index] for end in bounds]).all():
            cells[index] += f" ({' to '.join(_number(end[index]) for end in bounds)})"
    grid = cells.reshape(array.shape[0] if array.ndim else 1, -1)
    rows = [_text(value) for value in array[array.dims[0]].values] if array.ndim else [""]
    columns = _columns(array, str(array.dims[1])) if array.ndim == 2 else []
    table = [[" × ".join(map(str, array.dims)), *columns]] if columns else []
    table += [[row, *values] for row, values in zip(rows, grid, strict=True)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _columns(array: xr.DataArray, dim: str) -> list[str]:
    """Labels of the columns; for sites of a single model, the layers alone."""
    model, layer = (f"other_{name}" if dim == "other_site" else name for name in ("model", "layer"))
    if dim.endswith("site") and model in array.coords and len({*array[model].values.tolist()}) == 1:
        return [str(name) for name in array[layer].values]
    return [_text(value) for value in array[dim].values]


def _number(value: object) -> str:
    if isinstance(value, np.floating):
        if np.isnan(value):
            return "–"
        return f"{value:.3f}" if value == 0 or 5e-4 <= abs(value) < 1000 else f"{value:.4g}"
    return str(value)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
