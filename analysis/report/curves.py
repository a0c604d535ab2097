"""Loss curves: one small drawing per layer, all on the same axes, in the colours of the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from .numbers import number, power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_POINTS = 500
_AXES, _LINE = "#010203", "#040506"  # stand-ins, replaced by the page's own colours
_LOG_FROM = 20.0  # ratio of the highest to the lowest loss from which the axis is logarithmic


@dataclass(frozen=True)
class Curve:
    """Loss at one layer against updates: the median over metamers, the lowest and the highest."""

    updates: NDArray[np.float64]
    median: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


def curve(updates: NDArray[np.float64], losses: NDArray[np.float32]) -> Curve | None:
    """Reduce the losses of some metamers, ``(metamer, step)``, to one curve of at most 500 points.

    None where there is no metamer.
    """
    if not len(losses):
        return None
    kept = np.unique(np.linspace(0, len(updates) - 1, min(_POINTS, len(updates))).round().astype(int))
    chosen = np.asarray(losses[:, kept], dtype=np.float64)
    known = np.isfinite(chosen).all(axis=0)
    if not known.any():
        return None
    chosen = chosen[:, known]
    return Curve(updates[kept][known], np.median(chosen, axis=0), chosen.min(axis=0), chosen.max(axis=0))


def draw(curves: Sequence[Curve | None], salt: str) -> list[str]:
    """Draw each curve as an SVG element, all with the same limits; empty text where there is no curve.

    Parameters
    ----------
    curves
        One per layer.
    salt
        Makes the ids within the drawings differ from those of other models on the page.
    """
    there = [item for item in curves if item is not None]
    if not there:
        return ["" for _ in curves]
    low = min(float(item.lowest.min()) for item in there)
    high = max(float(item.highest.max()) for item in there)
    last = max(float(item.updates[-1]) for item in there)
    logarithmic = low > 0 and high / low >= _LOG_FROM
    limits = _limits(low, high, logarithmic)
    return [
        "" if item is None else _draw(item, last, limits, logarithmic, f"{salt}/{index}")
        for index, item in enumerate(curves)
    ]


def _limits(low: float, high: float, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return low / 1.3, high * 1.3
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return min(0.0, low - margin), high + margin


def _draw(item: Curve, last: float, limits: tuple[float, float], logarithmic: bool, salt: str) -> str:
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _AXES,
        "axes.edgecolor": _AXES,
        "axes.labelcolor": _AXES,
        "xtick.color": _AXES,
        "ytick.color": _AXES,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "path.simplify": True,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(2.75, 1.85), facecolor="none")
        axes = figure.add_axes((0.23, 0.25, 0.68, 0.7), facecolor="none")
        axes.fill_between(item.updates, item.lowest, item.highest, color=_LINE, alpha=0.2, linewidth=0)
        axes.plot(item.updates, item.median, color=_LINE, linewidth=1.5)
        axes.set_xlim(0, max(last, 1))
        axes.set_ylim(*limits)
        axes.set_xlabel("updates")
        axes.set_ylabel("loss (unitless)")
        _ticks(axes, logarithmic)
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", metadata=metadata)
    drawing = buffer.getvalue().decode("utf-8")
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing[drawing.index("<svg") :])  # the same in each drawing
    return drawing.replace(_AXES, "currentColor").replace(_LINE, "var(--accent)")


def _ticks(axes: Axes, logarithmic: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    if logarithmic:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        decades = LogLocator(numticks=6).tick_values(low, high)
        inside = [value for value in decades if low <= value <= high]
        axes.yaxis.set_major_locator(FixedLocator(inside))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(round(math.log10(value)))))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))
