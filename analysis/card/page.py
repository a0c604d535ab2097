"""The page of a card: one HTML file, from the card's numbers and a few of its metamers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...framework.manager import short
from ...framework.model_results import ModelResults, models_of, stimulus_facts
from ..report.charts import Axis, Chart, linear, logarithmic, names
from ..report.numbers import number
from ..report.pages import assets, environment
from ..report.pictures import Picture, is_tiny, picture
from .cautions import basis, cautions
from .contents import Card, Estimate, LayerCard

if TYPE_CHECKING:
    import xarray as xr
    from jinja2 import Environment
    from markupsafe import Markup
    from numpy.typing import NDArray

EXAMPLES = 3
"""Number of stimuli whose metamers the page shows."""

_BYTES = 40_000  # of each picture
_LARGE, _SMALL = (430, 220), (300, 170)
_WIDE = 0.16  # half the width of the boxes, of a layer's width
_APART = 0.07  # of a layer's width: so far lines are moved aside, so that their intervals are seen


@dataclass(frozen=True)
class Example:
    """A stimulus with its natural signal and its metamers at each layer; None for one that is missing."""

    name: str
    category: str
    pictures: Sequence[Picture | None]


def page_of(card: Card, tree: xr.DataTree, report: str) -> str:
    """Return the page of a card.

    Parameters
    ----------
    card
        The card.
    tree
        The open study that it is from.
    report
        Address of the study's own report, relative to the page.
    """
    made = models_of(tree)[0]
    page = card_environment().get_template("card.html")
    text = page.render(
        style=style(),
        card=card,
        cautions=[*cautions(card), *basis(card)],
        recognition=_recognition(card),
        success=_success(card),
        robust=_robust(card),
        examples=_examples(made, stimulus_facts(tree)),
        is_tiny=is_tiny(made.domain),
        report=report,
    )
    return text.strip() + "\n"


def card_environment() -> Environment:
    """Return the environment of a card's templates."""
    found = environment(Path(__file__).parent)
    found.filters |= {"estimate": estimate, "ends": ends, "between": between, "short": short}
    return found


def style() -> Markup:
    """Return the style of a card's page: the report's."""
    return assets("page.css", "figures.css")


def estimate(given: Estimate | float | None) -> str:
    """Print an estimate's value; a dash where it is not known.

    >>> estimate(Estimate(0.25, 0.1, 0.5)), estimate(0.25), estimate(Estimate()), estimate(None)
    ('0.250', '0.250', '–', '–')
    """
    return _printed(given.value if isinstance(given, Estimate) else given)


def ends(given: Estimate) -> str:
    """Print an estimate's interval; empty text where it has none.

    >>> ends(Estimate(0.25, 0.1, 0.5)), ends(Estimate(0.25))
    ('(0.100 to 0.500)', '')
    """
    return "" if given.low is None or given.high is None else f"({_printed(given.low)} to {_printed(given.high)})"


def columns(estimates: Sequence[Estimate]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the values and both ends of estimates, NaN where they are not known."""
    table = np.array([[_value(each.value), _value(each.low), _value(each.high)] for each in estimates])
    return table[:, 0], table[:, 1], table[:, 2]


def between(layer: LayerCard) -> str:
    """Print recognition from the hardest to the easiest metamers; a dash where it is not known."""
    known = layer.hardest.value is not None
    return f"{estimate(layer.hardest)} to {estimate(layer.easiest)}" if known else estimate(None)


def drawn(chart: Chart, x: NDArray[np.float64], estimates: Sequence[Estimate], style: str) -> None:
    """Draw estimates as a line, with a bar for the interval of each."""
    values, low, high = columns(estimates)
    chart.strokes(x, low, high, f"bar {style}")
    chart.line(x, values, f"series {style}")
    chart.points(x, values, f"series {style}")


def _printed(given: float | None) -> str:
    return "–" if given is None else f"{given:.3f}".replace("-", "−")


def _value(given: float | None) -> float:
    return float("nan") if given is None else given


def _recognition(card: Card) -> Markup:
    layers = ["natural", *(layer.name for layer in card.layers)]
    chart = Chart(names("layer", layers), linear("proportion recognised", 0, 1.02), *_LARGE)
    x = np.arange(len(layers), dtype=np.float64)
    chart.line(x, np.full(len(x), 1 / card.people.choices), "chance")
    people = [layer.people for layer in card.layers]
    hardest, easiest = ([_value(getattr(layer, end).value) for layer in card.layers] for end in ("hardest", "easiest"))
    chart.boxes(x[1:], _WIDE, hardest, easiest, "range s3")
    for ends_of in (hardest, easiest):  # a box may have no height
        chart.levels(x[1:], _WIDE, ends_of, "bar s3")
    chart.area(x[1:], *columns(people)[1:], "range s1")
    drawn(chart, x + _APART, [card.own_natural, *(layer.own for layer in card.layers)], "s2")
    drawn(chart, x - _APART, [card.others_natural, *(layer.others for layer in card.layers)], "s3")
    drawn(chart, x[1:], people, "s1")
    return chart.svg("recognition of the metamers by layer; the numbers are in the table")


def _success(card: Card) -> Markup:
    layers = [layer.name for layer in card.layers]
    chart = Chart(names("layer", layers), linear("proportion of metamers", 0, 1.02), *_SMALL)
    x = np.arange(len(layers), dtype=np.float64)
    drawn(chart, x + _APART, [layer.same_label for layer in card.layers], "s2")
    drawn(chart, x - _APART, [layer.success for layer in card.layers], "s1")
    return chart.svg("success of the metamers by layer; the numbers are in the table")


def _robust(card: Card) -> Markup:
    sizes = np.array([each.epsilon for each in card.robust])
    across: Axis = logarithmic(f"size of the attack ({card.norm})", sizes.min() / 1.3, sizes.max() * 1.3)
    across = Axis(across.title, across.low, across.high, [(size, number(size)) for size in sizes.tolist()], True)
    chart = Chart(across, linear("accuracy", 0, 1.02), *_SMALL)
    clean = np.full(2, _value(card.accuracy.value))
    chart.line(np.array([across.low, across.high]), clean, "chance")
    drawn(chart, sizes, [each.accuracy for each in card.robust], "s1")
    return chart.svg("accuracy under attacks by their size; the numbers are in the table")


def _examples(made: ModelResults, facts: dict[str, dict[str, str]]) -> list[Example]:
    natural = list(made.natural_signals(EXAMPLES))
    metamers = [made.signals(layer, EXAMPLES)[:, 0] for layer in made.layers]  # (stimulus, …) for each layer
    found = []
    for index, name in enumerate(made.stimuli[:EXAMPLES]):
        signals = [natural[index], *(own[index] for own in metamers)]
        pictures = [
            None if signal is None or not np.isfinite(signal).all() else picture(signal, made.domain, _BYTES)
            for signal in signals
        ]
        found.append(Example(name, facts[name]["category"], pictures))
    return found
