"""The table of all metamers, which the page can sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.schema import STATES
from .metrics import METRICS, Metric
from .numbers import number
from .snippets import at
from .verdicts import UNKNOWN, Verdict, verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults

MAX_METAMERS = 2000
"""Largest number of rows."""

_SHOWN = tuple(metric for metric in METRICS if metric.name != "snr_db_2023")


@dataclass(frozen=True)
class Entry:
    """A word or a number in the table: its text, and the key that it is sorted by; None comes last."""

    text: str
    key: float | None
    kind: str = ""

    @property
    def sort(self) -> str:
        """The key as the page's script reads it."""
        return "" if self.key is None else f"{self.key:.9g}"


@dataclass(frozen=True)
class MetamerRow:
    """One metamer; `layer` is sorted in the network's order."""

    stimulus: str
    layer: Entry
    seed: int
    label: str
    entries: list[Entry]


@dataclass(frozen=True)
class Column:
    """A column of numbers: its heading, the name of the code that reads them, and that code's coordinates."""

    head: str
    title: str
    code: str
    at: str


@dataclass(frozen=True)
class MetamerTable:
    """The table's columns of numbers, its rows, and the number of metamers in all."""

    columns: list[Column]
    rows: list[MetamerRow]
    total: int


def metamer_table(model: ModelResults, final: NDArray[np.float32]) -> MetamerTable:
    """Gather the first metamers that were made, layer by layer; `final` are the last losses."""
    made = np.asarray(model.metamers["state"].values) == STATES["done"]
    predicted = model.answers("predicted", -1)
    percentile = _lowest([model.judged("percentile", metric.name) for metric in _SHOWN])
    judged, rounded = verdicts(model), verdicts(model, "quantised_")
    match = [(metric, model.own_match(metric.name)) for metric in _SHOWN]
    rows = []
    for index in np.argwhere(made)[:MAX_METAMERS]:
        layer, stimulus, seed = (int(part) for part in index)
        where = layer, stimulus, seed
        rows.append(
            MetamerRow(
                stimulus=model.stimuli[stimulus],
                layer=Entry(model.layers[layer], layer),
                seed=model.seeds[seed],
                label=model.label(int(predicted[where])).split(",")[0],
                entries=[
                    _entry(float(final[where]), number),
                    *(_entry(float(values[where]), metric.text) for metric, values in match),
                    _entry(float(percentile[where]), percent),
                    _verdict(judged[layer][stimulus][seed]),
                    _verdict(rounded[layer][stimulus][seed]),
                ],
            )
        )
    return MetamerTable(_columns([metric for metric, _ in match]), rows, int(made.sum()))


def percent(value: float) -> str:
    """Print a percentile; one below 100 is never rounded up to it.

    >>> percent(100.0), percent(99.996), percent(42.0)
    ('100', '99.9', '42.0')
    """
    if np.isnan(value):
        return "–"
    return "100" if value >= 100 else f"{np.floor(10 * value) / 10:.1f}"


def _columns(metrics: list[Metric]) -> list[Column]:
    return [
        Column("loss", "last value of the loss", "loss", at()),
        *(
            Column(
                f"{metric.symbol}{', dB' if metric.units == 'dB' else ''}",
                f"{metric.title} at the metamer’s own layer",
                "own",
                at(metric=metric.name),
            )
            for metric in metrics
        ),
        Column("percentile", "share of the null’s pairs that match less, in percent: the lowest of r, ρ and SNR",
               "percentile", at()),
        Column("success", "whether it matches and has the natural signal’s label", "verdict", at(variable="success")),
        Column("after rounding", "success once rounded to what a file holds", "verdict",
               at(variable="quantised_success")),
    ]  # fmt: skip


def _lowest(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.asarray(np.fmin.reduce(arrays))


def _entry(value: float, text: Any) -> Entry:
    return Entry(text(value), None if np.isnan(value) else value)


def _verdict(verdict: Verdict) -> Entry:
    return Entry(verdict.text or "–", None if verdict is UNKNOWN else verdict.order, verdict.kind)
