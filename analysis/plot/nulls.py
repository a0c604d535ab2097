"""The match of metamers, compared with that of unrelated natural signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from ..proof.success import at_own_layer
from .axes import GREY, INK, layer_ticks, new_axes, quiet, size_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {"pearson": "Pearson's r [1]", "spearman": "Spearman's ρ [1]", "snr_db": "signal-to-noise ratio [dB]"}
_SPREAD = 0.22  # of a layer's width, over which the points of a layer are spread


def against_null(metamers: xr.Dataset, null: xr.Dataset, metric: str = "pearson", ax: Axes | None = None) -> Axes:
    """Draw the match of each metamer at its own layer, and what unrelated natural signals reach there.

    Parameters
    ----------
    metamers
        What `synthesise` returns, or a study's group ``match``.
    null
        What `null_distribution` returns, or a study's group ``null``.
    metric
        ``pearson``, ``spearman`` or ``snr_db``.
    ax
        Axes to draw on; those of a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        For each layer the null's pairs, as a bar from their 5 % to their 95 % quantile and a line at their maximum, and
        a point for each metamer, filled where it is above the maximum.

    Raises
    ------
    MetameryError
        The null does not have the metric, or none of the layers.

    Examples
    --------
    >>> from metamery.analysis import null_distribution, plot, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1", "2"], steps=5)
    >>> ax = plot.against_null(metamers, null_distribution(model, example_stimuli(model, 4), ["1", "2"]))
    >>> ax.get_ylabel()
    "Pearson's r [1]"
    """
    if metric not in null["metric"].values:
        raise unknown("metric of the null", metric, [str(name) for name in null["metric"].values])
    fit = at_own_layer(metamers["match"]).sel(metric=metric).transpose("layer", "stimulus", "seed")
    layers = [str(layer) for layer in fit["layer"].values]
    known = [layer for layer in layers if layer in null["layer"].values]
    if not known:
        raise MetameryError(f"the null has none of the layers {', '.join(layers)}")
    ax = new_axes(ax, *size_for(layers, 0.8))
    _bars(ax, null.sel(metric=metric, layer=known), [layers.index(layer) for layer in known])
    maxima = {layer: float(null["maximum"].sel(metric=metric, layer=layer)) for layer in known}
    _points(ax, [values.ravel() for values in fit.values], [maxima.get(layer, np.nan) for layer in layers])
    ax.use_sticky_edges = False  # otherwise the lowest bar would end at the frame
    ax.set_ylabel(_LABELS.get(metric, metric))
    layer_ticks(ax, layers)
    quiet(ax)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _bars(ax: Axes, null: xr.Dataset, at: list[int]) -> None:
    low, high = (null["quantiles"].sel(quantile=share, method="nearest").values for share in (0.05, 0.95))
    ax.bar(at, high - low, 0.62, low, color=GREY, label="unrelated signals,\n5 % to 95 % of pairs")
    maximum = null["maximum"].values
    ax.hlines(maximum, np.subtract(at, 0.36), np.add(at, 0.36), color=INK, lw=1.8, label="their maximum")


def _points(ax: Axes, values: list[np.ndarray], maxima: list[float]) -> None:
    """Draw the metamers of each layer side by side, so that equal ones are visible."""
    across = [index + np.linspace(-_SPREAD, _SPREAD, len(each)) if len(each) > 1 else np.array([index])
              for index, each in enumerate(values)]  # fmt: skip
    x, y = np.concatenate(across), np.concatenate(values)
    above = y > np.repeat(maxima, [len(each) for each in values])
    size = 26 if len(x) < 200 else 10
    for mask, face, text in ((above, "C0", "metamers above it"), (~above, "none", "metamers not above it")):
        shown = mask & np.isfinite(y)
        if shown.any():
            ax.scatter(x[shown], y[shown], size, facecolors=face, edgecolors="C0", linewidths=1.2, zorder=3, label=text)
