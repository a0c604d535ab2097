"""A variable by layer, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError
from ..statistics.proportions import ENDS
from .axes import averaged, check_known, label, layer_ticks, limits, new_axes, quiet, short, size_for, units, variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHIFT = 0.09  # of a layer's width, between models


def by_layer(results: xr.Dataset | Mapping[str, xr.Dataset], name: str = "success", ax: Axes | None = None) -> Axes:
    """Draw a variable by layer, a line for each model that has a value, with its interval where it has one.

    Parameters
    ----------
    results
        A Dataset over ``layer``, such as `success_by_layer` gives, or over ``site``, such as `compare`, `recognise` and
        evaluators give; or several by the names of their models.
    name
        Name of the variable; ``NAME_low`` and ``NAME_high`` are the ends of its interval. The mean is taken over
        stimuli and seeds; a variable over ``recogniser`` has a line for each.
    ax
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        With the variable's ``long_name`` and units on its axis.

    Raises
    ------
    MetameryError
        There is no such variable, it has no layers or no value, or it has further dimensions.

    Examples
    --------
    >>> from metamery.analysis import judge, null_distribution, plot, success_by_layer, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1", "2"], steps=5)
    >>> null = null_distribution(model, example_stimuli(model, 4), ["1", "2"])
    >>> ax = plot.by_layer(success_by_layer(metamers.merge(judge(metamers, null))), "matches")
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['1', '2']
    """
    datasets = {"": results} if isinstance(results, xr.Dataset) else dict(results)
    found = [line for title, dataset in datasets.items() for line in _lines(title, dataset, name)]
    lines = [line for line in found if line[1].notnull().any()]
    if not lines:
        check_known(found[0][1])
    layers = list(dict.fromkeys(layer for _, values, _ in lines for layer in values["layer"].values.tolist()))
    ax = new_axes(ax, *size_for(layers, 0.7))
    for number, (title, values, ends) in enumerate(lines):
        shift = _SHIFT * (number - (len(lines) - 1) / 2)
        at = np.array([layers.index(layer) for layer in values["layer"].values.tolist()]) + shift
        errors = None if ends is None else np.clip([values - ends[0], ends[1] - values], 0, None)
        ax.errorbar(at, values, errors, fmt=f"C{number % 10}o-", ms=5, lw=1.6, capsize=3, elinewidth=1.2, label=title)
    first = lines[0][1]
    if span := limits(np.concatenate([values.values for _, values, _ in lines]), units(first)):
        ax.set_ylim(span[0] - 0.04, span[1] + 0.04)
    ax.set_ylabel(label(first))
    layer_ticks(ax, layers)
    quiet(ax)
    if len(lines) > 1:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _lines(
    title: str, dataset: xr.Dataset, name: str
) -> Iterator[tuple[str, xr.DataArray, tuple[xr.DataArray, xr.DataArray] | None]]:
    """Yield a name, the values over ``layer`` and the ends of their interval, for each model and recogniser."""
    array = variable(dataset, name)
    has_ends = all(f"{name}_{end}" in dataset for end in ENDS)
    arrays = [array, *(dataset[f"{name}_{end}"] for end in ENDS if has_ends)]
    if "site" not in array.dims and "layer" not in array.dims:
        raise MetameryError(f"'{name}' is over {', '.join(map(str, array.dims)) or 'nothing'}, expected layer or site")
    for model, of_model in _models(arrays):
        shown = [averaged(each, ("layer", "recogniser")) for each in of_model]
        items = shown[0]["recogniser"].values.tolist() if "recogniser" in shown[0].dims else [None]
        for item in items:
            one = shown if item is None else [each.sel(recogniser=item) for each in shown]
            heading = ", ".join(
                part for part in (title, model, "" if item is None else f"by {short([str(item)])[0]}") if part
            )
            yield heading, one[0], (one[1], one[2]) if has_ends else None


def _models(arrays: list[xr.DataArray]) -> Iterator[tuple[str, list[xr.DataArray]]]:
    """Yield the arrays of each model, over ``layer``."""
    if "site" not in arrays[0].dims:
        yield "", arrays
        return
    models = arrays[0]["model"].values
    distinct = [str(model) for model in dict.fromkeys(models.tolist())]
    names = dict(zip(distinct, short(distinct), strict=True))
    for model in distinct:
        own = [array.isel(site=models == model) for array in arrays]
        yield names[model], [each.swap_dims(site="layer").drop_vars(["site", "model"]) for each in own]
