"""What the drawings share: a new figure where none is given, labels with units, ticks of layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from ...framework.schema import METRIC_UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AVERAGED = ("stimulus", "seed", "participant")
"""Dimensions over which the mean is taken, unless a drawing shows them."""

_LETTER = 0.085  # inches, about

INK, GREY = "0.15", "0.75"


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes given, or those of a new figure of a size in inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def size_for(layers: Sequence[str], each: float) -> tuple[float, float]:
    """Return a figure's width and height in inches, with `each` for a layer and room for names that will be slanted."""
    width, longest = max(4.5, min(12, 2.5 + each * len(layers))), max(map(len, layers), default=0)
    is_slanted = longest * _LETTER * len(layers) > width - 2
    return width, 3.4 + (0.65 * _LETTER * longest if is_slanted else 0)


def label(array: xr.DataArray, width: int = 38) -> str:
    """Return a variable's description with its units, in lines of `width` characters."""
    name = str(array.attrs.get("long_name") or array.name or "").replace("_", " ")
    metric = array.coords.get("metric")
    suffix = f", {metric.item()}" if metric is not None and not metric.ndim else ""
    return fill(f"{name}{suffix} [{units(array)}]", width)


def units(array: xr.DataArray) -> str:
    """Return a variable's units; those of a measure of match follow from the measure's name."""
    given = str(array.attrs.get("units", "1"))
    metric = array.coords.get("metric")
    if given != METRIC_UNITS or metric is None or metric.ndim:
        return given
    return "dB" if "_db" in str(metric.item()) else "1"


def short(names: Sequence[str]) -> list[str]:
    """Return qualified names without the plugins', where they are still unique.

    >>> short(["audio:net relu1", "vision:net relu1", "audio:other"])
    ['audio:net relu1', 'vision:net relu1', 'other']
    """
    bare = [re.sub(r"^[A-Za-z0-9_-]+:", "", name) for name in names]
    return [given if bare.count(without) > 1 else without for given, without in zip(names, bare, strict=True)]


def quiet(ax: Axes) -> None:
    """Leave out the frame's upper and right side, which carry no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def layer_ticks(ax: Axes, layers: Sequence[str]) -> None:
    """Write the layers' names below the axis, slanted where they would overlap."""
    ax.set_xticks(range(len(layers)), layers)
    width = ax.get_window_extent().width / ax.figure.dpi  # in inches
    if max(map(len, layers), default=0) * _LETTER * len(layers) > width:
        ax.tick_params(axis="x", labelrotation=40)
        for text in ax.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_xlabel("layer")


def variable(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable, or raise `MetameryError` with the existing names."""
    if name not in dataset:
        raise unknown("variable", name, [str(each) for each in dataset.data_vars])
    return dataset[name]


def averaged(array: xr.DataArray, shown: Iterable[str]) -> xr.DataArray:
    """Return the mean over stimuli, seeds and participants, without NaN; other dimensions of one item are dropped.

    Raises
    ------
    MetameryError
        Dimensions are left that the drawing does not show.
    """
    kept = set(shown)
    if "flag_values" in array.attrs:
        array = array.where(array.isin((0, 1)))
    over = [dim for dim in AVERAGED if dim in array.dims and dim not in kept]
    array = array.mean(over, keep_attrs=True) if over else array
    array = array.squeeze([dim for dim in array.dims if array.sizes[dim] == 1 and dim not in kept], drop=True)
    if left := [str(dim) for dim in array.dims if dim not in kept]:
        raise MetameryError(
            f"'{array.name}' has dimensions {', '.join(map(str, array.dims))}: select one item of "
            f"{' and of '.join(left)} with .sel"
        )
    return array


def check_known(array: xr.DataArray) -> None:
    """Raise `MetameryError`, with the reason where the variable gives one, if there is no value to draw."""
    if not array.notnull().any():
        raise MetameryError(f"'{array.name}' has no value to draw: {array.attrs.get('missing') or 'all are missing'}")


def limits(values: np.ndarray, units: str) -> tuple[float, float] | None:
    """Return 0 and 1 for proportions and the like, −1 and 1 for correlations well below 0, otherwise None."""
    finite = values[np.isfinite(values)]
    if units != "1" or not finite.size or finite.max() > 1 or finite.min() < -1:
        return None
    return (min(0.0, float(finite.min())), 1.0) if finite.min() >= -0.2 else (-1.0, 1.0)
