"""Numbers over two dimensions: match between layers, similarity between sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError
from .axes import averaged, check_known, label, limits, new_axes, short, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_WRITTEN = 100  # cells, whose numbers are written in them
_PAIRS = (("site", "other_site"), ("layer", "measured_layer"), ("site", "measured_layer"), ("site", "recogniser"))


def heat_map(array: xr.DataArray, ax: Axes | None = None) -> Axes:
    """Draw numbers over two dimensions as colours, such as layers × layers or sites × sites.

    Parameters
    ----------
    array
        Over ``(layer, measured_layer)``, ``(site, other_site)`` or any two dimensions; the mean is taken over stimuli
        and seeds. The first goes down, the second across. One metric is selected by ``array.sel(metric="pearson")``.
    ax
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        With a colour bar that has the variable's ``long_name`` and units.

    Raises
    ------
    MetameryError
        The number of dimensions left is not two, or there is no value.

    Examples
    --------
    >>> from metamery.analysis import plot, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), ["1", "2"], steps=5)
    >>> ax = plot.heat_map(metamers.match.sel(metric="pearson"))
    >>> ax.get_ylabel(), ax.get_xlabel()
    ('layer', 'measured layer')
    """
    down, across = _dims(array)
    values = averaged(array, (down, across)).transpose(down, across)
    check_known(values)
    rows, columns = (_names(values, dim) for dim in (down, across))
    ax = new_axes(ax, *_size(rows, columns))
    low, high = limits(values.values, units(values)) or (None, None)
    image = ax.imshow(values, cmap="RdBu_r" if low == -1 else "viridis", vmin=low, vmax=high)
    ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=across.replace("_", " "), ylabel=down.replace("_", " "))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if values.size <= _MAX_WRITTEN:
        _write(ax, values.values, image)
    bar = ax.figure.colorbar(image, ax=ax, aspect=max(8, 4 * len(rows)), pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(label(values, max(20, 6 * len(rows))))
    return ax


def _dims(array: xr.DataArray) -> tuple[str, str]:
    for down, across in _PAIRS:
        if {down, across} <= {*array.dims}:
            return down, across
    if array.ndim != 2:
        raise MetameryError(
            f"'{array.name}' is over {', '.join(map(str, array.dims)) or 'nothing'}, expected two dimensions"
        )
    return str(array.dims[0]), str(array.dims[1])


def _names(values: xr.DataArray, dim: str) -> list[str]:
    """Return the labels of the ticks; for sites of a single model, the layers alone."""
    model, layer = (f"other_{name}" if dim == "other_site" else name for name in ("model", "layer"))
    if dim.endswith("site") and model in values.coords and len({*values[model].values.tolist()}) == 1:
        return [str(name) for name in values[layer].values]
    return short([str(name) for name in values[dim].values])


def _size(rows: list[str], columns: list[str]) -> tuple[float, float]:
    """Return a figure's width and height in inches, with room for names and colour bar."""
    cell = 0.55 if len(columns) * len(rows) <= _MAX_WRITTEN else 0.32
    names = [max(map(len, each), default=0) for each in (rows, columns)]
    width = cell * len(columns) + 0.085 * names[0] + 1.9
    return min(14, max(4, width)), min(12, max(3, cell * len(rows) + 0.06 * names[1] + 0.9))


def _write(ax: Axes, values: np.ndarray, image: object) -> None:
    """Write each number in its cell, dark on light colours and light on dark ones."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))  # type: ignore[attr-defined]
            is_light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
            text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color="black" if is_light else "white")
