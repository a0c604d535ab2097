"""Datasets as people read them in a terminal: the main table with its intervals, and the names of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from ..statistics.proportions import ENDS
from .effects import effects
from .lines import item_text, level_names
from .numbers import interval, number

MAX_ROWS, MAX_COLUMNS = 64, 12

APART = ("metric", "transformation")
"""Dimensions each item of which gets a separate table."""


def reading_order(dataset: xr.Dataset) -> list[str]:
    """Return the variables that a dataset's attribute ``reading_order`` lists, the first to be read first."""
    order = dataset.attrs.get("reading_order", [])
    return [str(name) for name in order if name in dataset.data_vars] if isinstance(order, list | tuple) else []


def lines(dataset: xr.Dataset) -> Iterator[str]:
    """Yield a dataset as text: its main variable as tables, and one line with the names of the others.

    The main variable is the first of `reading_order`, or else of the dataset, that is numeric and not too large; an
    analysis of variance is one table of its effects.
    """
    ends = {f"{name}_{end}" for name in dataset.data_vars for end in ENDS}
    names = [str(name) for name in dict.fromkeys([*reading_order(dataset), *dataset.data_vars])]
    numeric = {name: _squeezed(dataset[name]) for name in names if _is_numeric(dataset[name]) and name not in ends}
    if table := effects(dataset):
        yield ""
        yield from _aligned(table)
        return
    main = next((name for name, array in numeric.items() if all(_fits(part) for _, part in _parts(array))), "")
    if main:
        yield from _tables(main, numeric[main], dataset)
    others = [name for name in numeric if name != main]
    if others:
        yield ""
        yield f"{'also ' if main else ''}in the report and the store: {', '.join(others)}"


def _is_numeric(array: xr.DataArray) -> bool:
    return array.dtype.kind in "biuf"


def _squeezed(array: xr.DataArray) -> xr.DataArray:
    if array.ndim <= 2:
        return array
    return array.squeeze([dim for dim in array.dims if array.sizes[dim] == 1], drop=True)


def _fits(part: xr.DataArray) -> bool:
    return part.ndim <= 2 and part.shape[:1] <= (MAX_ROWS,) and part.shape[1:] <= (MAX_COLUMNS,)


def _tables(name: str, array: xr.DataArray, dataset: xr.Dataset) -> Iterator[str]:
    units = array.attrs.get("units", "1")
    title = f"{array.attrs.get('long_name', name)}{'' if units == '1' else f' ({units})'}"
    has_interval = all(f"{name}_{end}" in dataset for end in ENDS)
    bounds = [dataset[f"{name}_{end}"].transpose(..., *array.dims) for end in ENDS] if has_interval else []
    for item, part in _parts(array):
        yield ""
        yield f"{title}{f': {item_text(item)}' if item is not None else ''}"
        at = {} if item is None else {array.dims[0]: item}
        yield from _table(part, [bound.sel(at).values.reshape(part.shape) for bound in bounds])


def _parts(array: xr.DataArray) -> Iterator[tuple[object, xr.DataArray]]:
    """Yield the array, or, where its first of three dimensions is one of `APART`, its parts along that."""
    if array.ndim == 3 and array.dims[0] in APART:
        for item in array[array.dims[0]].values.tolist():
            yield item, array.sel({array.dims[0]: item})
    else:
        yield None, array


def _table(array: xr.DataArray, bounds: list[np.ndarray]) -> Iterator[str]:
    cells = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        range_ = interval(*(float(end[index]) for end in bounds)) if bounds else ""
        cells[index] = f"{number(float(array.values[index]))} {range_}".rstrip()
    grid = cells.reshape(array.shape[0] if array.ndim else 1, -1)
    rows = _labels(array, str(array.dims[0])) if array.ndim else [""]
    columns = _columns(array, str(array.dims[1])) if array.ndim == 2 else []
    table = [[" × ".join(map(str, array.dims)), *columns]] if columns else []
    table += [[row, *values] for row, values in zip(rows, grid, strict=True)]
    yield from _aligned(table)


def _aligned(table: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _columns(array: xr.DataArray, dim: str) -> list[str]:
    """Labels of the columns; for sites of a single model, the layers alone."""
    model, layer = (f"other_{name}" if dim == "other_site" else name for name in ("model", "layer"))
    if dim.endswith("site") and model in array.coords and len({*array[model].values.tolist()}) == 1:
        return [str(name) for name in array[layer].values]
    return _labels(array, dim)


def _labels(array: xr.DataArray, dim: str) -> list[str]:
    """Names of a dimension's items; strengths by their values, with their unit."""
    if levels := level_names(array, dim):
        unit = str(array["unit"].item()) if "unit" in array.coords and array["unit"].ndim == 0 else ""
        return [f"{level} {unit}".rstrip() for level in levels]
    units = str(array[dim].attrs.get("units", "1"))
    ending = "" if units == "1" else f" {units}"
    return [f"{item_text(item)}{ending}" for item in array[dim].values.tolist()]
