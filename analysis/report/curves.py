"""Loss curves: one small drawing per layer, all on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .charts import Axis, Chart, linear, logarithmic
from .numbers import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTS = 250
_LOG_FROM = 20.0  # ratio of the highest to the lowest loss from which the axis is logarithmic


@dataclass(frozen=True)
class Curve:
    """Loss at one layer against updates: the median over metamers, the lowest and the highest."""

    updates: NDArray[np.float64]
    median: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


def drawn_updates(count: int) -> list[int]:
    """Return the indices of at most 250 of `count` updates, at which a curve is drawn; both ends are kept."""
    kept: list[int] = np.unique(np.linspace(0, count - 1, min(_POINTS, count)).round().astype(int)).tolist()
    return kept


def curve(updates: NDArray[np.float64], losses: NDArray[np.float32]) -> Curve | None:
    """Reduce the losses of some metamers, ``(metamer, step)``, to one curve; None where there is no metamer."""
    if not len(losses):
        return None
    values = np.asarray(losses, dtype=np.float64)
    known = np.isfinite(values).all(axis=0)
    if not known.any():
        return None
    values = values[:, known]
    return Curve(updates[known], np.median(values, axis=0), values.min(axis=0), values.max(axis=0))


def loss_charts(curves: Sequence[Curve | None], layers: Sequence[str]) -> list[str]:
    """Draw each layer's curve as an SVG element, all with the same limits; empty text where there is no curve."""
    present = [item for item in curves if item is not None]
    if not present:
        return ["" for _ in curves]
    last = max(float(item.updates[-1]) for item in present)
    updates = linear("updates", 0, max(last, 1), 3, whole=True)
    lowest = min(float(item.lowest.min()) for item in present)
    losses = loss_axis("loss (unitless)", lowest, max(float(item.highest.max()) for item in present))
    return [
        "" if item is None else _draw(item, updates, losses, layer) for item, layer in zip(curves, layers, strict=True)
    ]


def loss_axis(title: str, low: float, high: float) -> Axis:
    """Return an axis of losses, logarithmic where they are positive and differ by a factor of 20 or more."""
    if low > 0 and high / low >= _LOG_FROM:
        return logarithmic(title, low / 1.3, high * 1.3)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return linear(title, min(0.0, low - margin), high + margin)


def _draw(item: Curve, updates: Axis, losses: Axis, layer: str) -> str:
    chart = Chart(updates, losses, 190, 115)
    chart.area(item.updates, item.lowest, item.highest, "range")
    chart.line(item.updates, item.median, "median")
    end = number(float(item.median[-1]))
    return chart.svg(f"loss against updates at layer {layer}: the median ends at {end}")
