"""Small charts as SVG elements: text stays text, and classes take colours and fonts from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import LogLocator, MaxNLocator

from .numbers import number, power

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LETTER = 6.4  # pixels that a letter takes, about
_LONGEST = 18  # letters of a name on an axis


@dataclass(frozen=True)
class Axis:
    """A scale: what it shows, its ends, and the values that are named on it."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def fractions(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the positions of values, 0 at the low end and 1 at the high one; those beyond are clipped."""
        array = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.logarithmic:
            array, low, high = np.log(array), math.log(low), math.log(high)
        return np.asarray((array - low) / (high - low))


def linear(title: str, low: float, high: float, count: int = 4, whole: bool = False) -> Axis:
    """Return an axis with about `count` round numbers on it; integers if `whole`."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    locator = MaxNLocator(count, integer=whole, steps=[1, 2, 2.5, 5, 10])
    inside = [value for value in locator.tick_values(low, high) if low <= value <= high]
    return Axis(title, low, high, [(float(value), _tick(float(value))) for value in inside])


def logarithmic(title: str, low: float, high: float) -> Axis:
    """Return an axis with powers of ten on it."""
    inside = [value for value in LogLocator(numticks=6).tick_values(low, high) if low <= value <= high]
    return Axis(title, low, high, [(float(value), power(round(math.log10(value)))) for value in inside], True)


def names(title: str, of: Sequence[str]) -> Axis:
    """Return an axis with a position of width 1 for each name, the first at 0."""
    return Axis(title, -0.5, max(len(of), 1) - 0.5, [(float(index), _short(name)) for index, name in enumerate(of)])


class Chart:
    """A drawing on two axes; `style` is always a class of the page's style sheet.

    Parameters
    ----------
    x, y
        The axes.
    width, height
        Size of the part within the axes, in pixels before the page scales it.
    """

    def __init__(self, x: Axis, y: Axis, width: int = 240, height: int = 130) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self._shapes: list[str] = []

    def area(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """Fill the area between two lines, with a gap where either is NaN."""
        across, bottom, top = self._across(x), self._down(low), self._down(high)
        for run in _runs(np.isfinite(across) & np.isfinite(bottom) & np.isfinite(top)):
            outline = np.concatenate([across[run], across[run][::-1]]), np.concatenate([bottom[run], top[run][::-1]])
            self._path(_joined(*outline) + "z", style)

    def line(self, x: ArrayLike, y: ArrayLike, style: str) -> None:
        """Join points, with a gap where one is NaN."""
        across, heights = self._across(x), self._down(y)
        parts = [_joined(across[run], heights[run]) for run in _runs(np.isfinite(across) & np.isfinite(heights))]
        self._path("".join(parts), style)

    def strokes(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """Draw a vertical stroke at each position."""
        across, bottom, top = np.broadcast_arrays(self._across(x), self._down(low), self._down(high))
        known = np.isfinite(across + bottom + top)
        self._path(
            "".join(
                f"M{_at(position)} {_at(first)}V{_at(last)}"
                for position, first, last in zip(across[known], bottom[known], top[known], strict=True)
            ),
            style,
        )

    def boxes(self, x: ArrayLike, half: float, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """Fill a box around each position, `half` its width to either side."""
        for position, bottom, top in zip(*(np.atleast_1d(values) for values in (x, low, high)), strict=True):
            self.area([position - half, position + half], [bottom, bottom], [top, top], style)

    def levels(self, x: ArrayLike, half: float, y: ArrayLike, style: str) -> None:
        """Draw a horizontal stroke at each position, `half` its width to either side."""
        for position, height in zip(np.atleast_1d(x), np.atleast_1d(y), strict=True):
            self.line([position - half, position + half], [height, height], style)

    def points(self, x: ArrayLike, y: ArrayLike, style: str, *, hollow: bool = False) -> None:
        """Draw points, hollow ones if `hollow`; one at plus infinity becomes an arrow at the upper end."""
        across, values = self._across(x), np.asarray(y, dtype=np.float64)
        heights = self._down(np.where(np.isfinite(values), values, np.nan))
        known = np.isfinite(heights)
        dots = "".join(f"M{_at(a)} {_at(b)}h0" for a, b in zip(across[known], heights[known], strict=True))
        self._path(dots, f"{style} dots")
        if hollow:
            self._path(dots, f"{style} dots hole")
        top = float(self._down(self.y.high))
        arrows = "".join(f"M{_at(middle - 3.5)} {_at(top + 6)}l3.5 -6l3.5 6z" for middle in across[np.isposinf(values)])
        self._path(arrows, f"{style} arrows")

    def text(self, x: float, y: float, name: str) -> None:
        """Print a name, shortened, to the right of a point."""
        across, height = float(self._across(x)), float(self._down(y))
        self._shapes.append(f'<text x="{_at(across + 8)}" y="{_at(height)}" dy=".35em">{escape(_short(name))}</text>')

    def svg(self, label: str) -> Markup:
        """Return the drawing; `label` describes it in words."""
        widest = max((len(text) for _, text in self.y.ticks), default=1)
        left, top, right = 26 + _LETTER * widest, 8, 12
        slot = self.width / max(len(self.x.ticks), 1)
        longest = max((len(text) for _, text in self.x.ticks), default=1)
        slanted = _LETTER * longest > slot + 2
        below = 34 if not slanted else 28 + 0.74 * _LETTER * longest
        if slanted:  # the first name extends to the left
            left = max(left, 0.7 * _LETTER * len(self.x.ticks[0][1]) - slot / 2 + 6)
        width, height = left + self.width + right, top + self.height + below
        marks = [
            f'<path class="frame" d="M0 0V{self.height}H{self.width}"/>',
            *(self._named(value, text, slanted) for value, text in self.x.ticks),
        ]
        for value, text in self.y.ticks:
            at = _at(float(self._down(value)))
            marks.append(f'<path class="grid" d="M0 {at}H{self.width}"/>')
            marks.append(f'<text class="end" x="-6" y="{at}" dy=".35em">{escape(text)}</text>')
        titles = (
            f'<text class="title" x="{self.width / 2:g}" y="{_at(self.height + below - 5)}">'
            f"{escape(self.x.title)}</text>"
            f'<text class="title" transform="translate({_at(12 - left)} {self.height / 2:g}) rotate(-90)">'
            f"{escape(self.y.title)}</text>"
        )
        return Markup(
            f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="0 0 {_at(width)} {_at(height)}" '
            f'style="--natural:{width:.0f}px"><g transform="translate({_at(left)} {top})">'
            f"{''.join(marks)}{''.join(self._shapes)}{titles}</g></svg>"
        )

    def _named(self, value: float, text: str, slanted: bool) -> str:
        across = _at(float(self._across(value)))
        if slanted:
            transform = f"translate({across} {self.height + 10}) rotate(-48)"
            return f'<text class="end" transform="{transform}" dy=".35em">{escape(text)}</text>'
        return f'<text class="middle" x="{across}" y="{self.height + 15}">{escape(text)}</text>'

    def _across(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(self.width * self.x.fractions(values))

    def _down(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(self.height * (1 - self.y.fractions(values)))

    def _path(self, path: str, style: str) -> None:
        if path:
            self._shapes.append(f'<path class="{escape(style)}" d="{path}"/>')


def _joined(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    points = [f"{_at(a)} {_at(b)}" for a, b in zip(x, y, strict=True)]
    return "M" + "L".join(point for index, point in enumerate(points) if not index or point != points[index - 1])


def _runs(known: NDArray[np.bool_]) -> list[slice]:
    """Return the intervals without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    return [slice(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _at(value: float) -> str:
    return f"{round(float(value), 1) + 0.0:g}"


def _tick(value: float) -> str:
    if abs(value) >= 1e5:
        digits, exponent = f"{value:.3e}".split("e")
        return power(int(exponent)) if float(digits) == 1 else f"{float(digits):g} × {power(int(exponent))}"
    return number(value) if value == round(value) else f"{value:.4g}".replace("-", "−")


def _short(name: str) -> str:
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[: half - 1]}…{name[-half:]}"
