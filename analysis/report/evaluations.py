"""Results of evaluators, bundled or not: drawn from dimensions, units and long names alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .effects import effects
from .heads import reference_text
from .lines import ACROSS, Drawings, clipped, item_text, level_names, line_charts
from .maps import MAP, map_chart
from .matrix import Cell, shade
from .numbers import interval, number
from .people import GROUP as PEOPLE
from .people import People, people
from .signals import Shown, is_signal, signals
from .snippets import at
from .terminal import APART, reading_order

if TYPE_CHECKING:
    import xarray as xr

FIRST = (
    "history",
    "confusion",
    "attacked",
    "synthesis",
    "agreement",
    "recognition",
    "accuracy",
    "human",
    "stages",
    "observers",
    "between_models",
)
"""Groups whose results the others are read with, in the order of the page."""

_OWN = {"stimuli", "metamers", "match", "null"}  # a model's groups that other sections show
_AVERAGED = ("stimulus", "seed", "participant")
_MOST_APART = 12
_FACTS = ("stimuli", "options", "seed")
_MOST_CELLS = 2500
_MOST_VALUES = 20_000_000


@dataclass(frozen=True)
class Table:
    """Numbers over at most two dimensions; `code` reads one of them, given its row and column."""

    row_dim: str
    column_dim: str
    rows: list[tuple[str, str, list[Cell]]]  # name, coordinates for the code, cells
    columns: list[tuple[str, str]]
    code: str
    is_shaded: bool
    scale: tuple[str, str]


@dataclass(frozen=True)
class Result:
    """One variable: a table of its numbers and perhaps charts of them.

    `missing` states what has no value, and why; where nothing has one, it stands alone. `unread` describes a variable
    that is too large for either.
    """

    name: str
    title: str
    units: str
    at: str  # its path in the store, for `snippets`
    averaged: Sequence[str] = ()
    drawings: Drawings = Drawings()
    has_interval: bool = False  # in the legend
    table: Table | None = None
    missing: str = ""
    unread: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A group that is neither the study's signals nor its match."""

    path: str
    title: str
    description: str
    effects: list[list[str]]  # rows of an analysis of variance, the head first
    read_first: str
    results: list[Result]
    others: list[Result]  # that are not in the declared order, and so folded away
    signals: list[Shown]
    text: list[str]  # names of the variables that contain text
    warnings: list[str]
    facts: Mapping[str, str]  # its settings
    people: People | None = None


def evaluations(tree: xr.DataTree) -> list[Evaluation]:
    """Return every group that no other section shows: those of `FIRST`, then the others by name."""
    groups = sorted(_others(tree), key=lambda each: FIRST.index(each[0]) if each[0] in FIRST else len(FIRST))
    found = [_evaluation(path, node) for path, node in groups]
    return [replace(each, people=people(tree)) if each.path == PEOPLE else each for each in found]


def _others(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataTree]]:
    for node in tree.subtree:
        parts = node.path.strip("/").split("/")
        is_of_study = parts[0] in ("", "stimuli") or parts == ["models"]
        is_of_model = parts[0] == "models" and (len(parts) == 2 or (len(parts) == 3 and parts[2] in _OWN))
        if node.data_vars and not is_of_study and not is_of_model:
            yield "/".join(parts), node


def _evaluation(path: str, node: xr.DataTree) -> Evaluation:
    dataset = node.to_dataset(inherit=False)
    arrays = {str(name): dataset[name] for name in sorted(dataset.data_vars, key=str)}  # the disk's order is arbitrary
    about = {str(name): value for name, value in node.attrs.items()}
    drawn = {name: signals(path, name, array, about) for name, array in arrays.items() if is_signal(array)}
    shown = {name: each for name, each in drawn.items() if each is not None}
    numeric = {name: array for name, array in arrays.items() if array.dtype.kind in "biuf" and name not in shown}
    bounds = {end for name in numeric for end in _ends(name, numeric)}
    table = effects(dataset)
    order = [name for name in reading_order(dataset) if name in numeric and name not in bounds]
    rest = [name for name in numeric if name not in bounds and name not in order]
    is_folded = bool(order or table)
    return Evaluation(
        path=path,
        title=str(node.attrs.get("title") or path),
        description=str(node.attrs.get("description") or ""),
        effects=table,
        read_first=str(node.attrs.get("read_first") or ""),
        results=[result for name in (order if is_folded else rest) for result in _results(path, name, numeric)],
        others=[result for name in rest if is_folded for result in _results(path, name, numeric)],
        signals=list(shown.values()),
        text=[name for name in arrays if name not in numeric and name not in shown],
        warnings=[str(line) for line in node.attrs.get("warnings", ())],
        facts={name: reference_text(str(node.attrs[name])) for name in _FACTS if node.attrs.get(name, "{}") != "{}"},
    )


def _results(path: str, name: str, numeric: Mapping[str, xr.DataArray]) -> Iterator[Result]:
    array = numeric[name]
    left = [dim for dim in array.dims if dim not in _AVERAGED]
    apart = next((dim for dim in APART if dim in left), None)
    if apart is None or len(left) < 3 or array.sizes[apart] > _MOST_APART or apart not in array.coords:
        yield _result(path, name, numeric)
        return
    of_one = {each: numeric[each] for each in (name, *_ends(name, numeric))}
    for item in array[apart].values.tolist():
        if array.dtype.kind == "f" and not array.sel({apart: item}).notnull().any():
            continue  # such as the equivariance to a change that moves nothing
        yield _result(path, name, {each: of_one[each].sel({apart: item}) for each in of_one}, {apart: item})


def _result(
    path: str, name: str, numeric: Mapping[str, xr.DataArray], fixed: Mapping[str, Any] | None = None
) -> Result:
    """Show a variable, or the part of it at `fixed` coordinates."""
    array, fixed = numeric[name], fixed or {}
    title = str(array.attrs.get("long_name") or name.replace("_", " "))
    title = ": ".join([title, *(str(item) for item in fixed.values())])
    units = str(array.attrs.get("units", "1"))
    units = "unitless" if units == "1" else units
    location = at(group=path, variable=name, **fixed)
    reduced = _reduced(array)
    if isinstance(reduced, str):
        return Result(name, title, units, location, unread=reduced)
    values, averaged, is_flag = reduced
    if not values.notnull().any():
        return Result(name, title, units, location, averaged, missing=_missing(array))
    row_dim, column_dim = _arranged(values)
    values = _trimmed(values, column_dim)
    bounds = [] if averaged else [_like(numeric[end], values) for end in _ends(name, numeric)]
    if not any(end.notnull().any() for end in bounds):  # such as a bootstrap over a single stimulus
        bounds = []
    side = f"{clipped(name, units)} ({units})"
    is_map = array.attrs.get("display") == MAP and bool(row_dim)
    if is_map:
        drawings = map_chart(array, row_dim, bounds, side, name)
    else:
        drawings = line_charts(values, row_dim, column_dim, bounds, side, name)
    code = _code(is_flag, averaged, [*values.dims, *fixed])
    table = _table(values, row_dim, column_dim, bounds, code, shaded=not drawings.charts or row_dim == "site")
    missing = _missing(array, drawings.empty) if drawings.empty else ""
    has_interval = bool(drawings.charts and bounds) and not is_map
    return Result(name, title, units, location, averaged, drawings, has_interval, table, missing)


def _missing(array: xr.DataArray, empty: Sequence[str] = ()) -> str:
    """Say that a variable has no value, or none for some items, with the reason that its attribute `missing` gives."""
    whose = f" for {' and '.join(empty)}" if empty else ""
    return f"There is no value{whose}: {array.attrs.get('missing') or 'all are missing'}."


def _ends(name: str, numeric: Mapping[str, xr.DataArray]) -> list[str]:
    """Return the names of a variable's interval's ends; empty where it has none over the same dimensions."""
    ends = [name + end for end in ("_low", "_high")]
    fits = all(end in numeric and {*numeric[end].dims} == {*numeric[name].dims} for end in ends)
    return ends if fits else []


def _like(end: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
    return end.sel({dim: values[dim] for dim in values.dims}).transpose(*values.dims).load()


def _reduced(array: xr.DataArray) -> tuple[xr.DataArray, list[str], bool] | str:
    """Return at most two dimensions of an array, those that it was averaged over, and whether it is a flag.

    Where that is not possible, return the reason as text.
    """
    dims = [str(dim) for dim in array.dims]
    if any(dim not in array.coords for dim in dims):
        return f"over {_listed(dims)}, not all of which have a coordinate"
    if array.size > _MOST_VALUES or not array.size:
        return f"{array.size} values over {_listed(dims)}"
    flags = np.atleast_1d(array.attrs.get("flag_values", [])).tolist()
    meanings = str(array.attrs.get("flag_meanings", "")).split()
    is_flag = {0, 1} <= {*flags} and dict(zip(flags, meanings, strict=False)).get(0) != "missing"
    values = array.load()
    if is_flag:
        values = values.where(values.isin([0, 1]))
    averaged: list[str] = []
    if len(dims) > 2 or array.size > _MOST_CELLS:
        averaged = [dim for dim in _AVERAGED if dim in dims]
        if not averaged or not (is_flag or array.dtype.kind in "fb"):
            return f"{array.size} values over {_listed(dims)}"
        counted = values.notnull().sum(averaged)
        values = (values.fillna(0).sum(averaged) / counted.where(counted > 0)).astype(np.float64)
    if values.ndim > 2 or values.size > _MOST_CELLS:
        return f"{array.size} values over {_listed(dims)}"
    return values.astype(np.float64), averaged, is_flag


def _arranged(values: xr.DataArray) -> tuple[str, str]:
    """Return the dimensions that go down and across; empty text for one that is missing."""
    dims = [str(dim) for dim in values.dims]
    if not dims:
        return "", ""
    if "site" in dims and not {*dims} & {*ACROSS}:
        return "site", next((dim for dim in dims if dim != "site"), "")
    across = next(dim for dim in (*ACROSS, *reversed(dims)) if dim in dims)
    return next((dim for dim in dims if dim != across), ""), across


def _trimmed(values: xr.DataArray, column_dim: str) -> xr.DataArray:
    """Leave out columns that are all NaN, such as the layers of other models."""
    if not column_dim:
        return values
    others = [dim for dim in values.dims if dim != column_dim]
    known = values.notnull().any(others) if others else values.notnull()
    return values.isel({column_dim: known.values}) if known.any() else values


def _code(is_flag: bool, averaged: list[str], dims: Sequence[Hashable]) -> str:
    reading = "{study}[{group}][{variable}]"
    if is_flag:
        reading = f"values = {reading}\nvalues.where(values.isin([0, 1]))"
    if averaged:
        reading += ".mean([" + ", ".join(f'"{dim}"' for dim in averaged) + "])"
    if dims:
        reading += ".sel(" + ", ".join(f"{dim}={{{dim}}}" for dim in dims) + ")"
    return reading + ".item()"


def _table(
    values: xr.DataArray, row_dim: str, column_dim: str, bounds: list[xr.DataArray], code: str, *, shaded: bool
) -> Table:
    order = [dim for dim in (row_dim, column_dim) if dim]
    rows_of = [each.transpose(*order).values for each in (values, *bounds)]
    array, *ends = (each.reshape(values.sizes[row_dim] if row_dim else 1, -1) for each in rows_of)
    ranges = [[interval(*map(float, each)) for each in zip(*rows, strict=True)] for rows in zip(*ends, strict=True)]
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    is_shaded = shaded and array.size > 2 and high > low and "metric" not in values.dims  # whose units differ
    cells = [
        [
            Cell(
                number(value),
                shade(value, low, high) if is_shaded and np.isfinite(value) else None,
                range=ranges[row][column] if ranges else "",
            )
            for column, value in enumerate(line)
        ]
        for row, line in enumerate(array.tolist())
    ]
    heads = _named(values, row_dim)
    rows = [(name, location, row) for (name, location), row in zip(heads, cells, strict=True)]
    scale = number(low), number(high)
    return Table(row_dim, column_dim, rows, _named(values, column_dim), code, is_shaded, scale)


def _named(values: xr.DataArray, dim: str) -> list[tuple[str, str]]:
    if not dim:
        return [("", at())]
    items = values[dim].values.tolist()
    texts = level_names(values, dim) or [item_text(item) for item in items]
    return [(text, at(**{dim: item})) for text, item in zip(texts, items, strict=True)]


def _listed(dims: list[str]) -> str:
    return " × ".join(dims) or "nothing"
