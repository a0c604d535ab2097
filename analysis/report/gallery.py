"""The gallery: every stimulus, and its metamers at each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.model_results import STATE_NAMES
from .metrics import JUDGED, Metric
from .pictures import Picture, picture, pictures_that_fit
from .verdicts import SUCCEEDS, UNKNOWN, Verdict, verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults


@dataclass(frozen=True)
class Answer:
    """The label that the network gives a signal, and its confidence."""

    label: str
    confidence: float

    @property
    def short(self) -> str:
        """The first of the label's synonyms."""
        return self.label.split(",")[0]

    @property
    def known(self) -> bool:
        return bool(self.label)

    def __str__(self) -> str:
        return f"{self.short} ({self.confidence:.2f})" if np.isfinite(self.confidence) else self.short


@dataclass(frozen=True)
class Metamer:
    """One metamer, made or not."""

    seed: int
    state: str  # missing, done or failed
    reason: str
    picture: Picture | None
    alt: str
    answer: Answer
    agrees: bool | None
    loss: float
    verdict: Verdict
    lost: bool  # succeeds, but not after quantisation
    match: list[tuple[Metric, str]]
    against: str  # the same in words, with the null's maxima


@dataclass(frozen=True)
class Row:
    """A stimulus: its natural signal and, for each layer, its metamers over seeds."""

    stimulus: str
    category: str
    picture: Picture | None
    alt: str
    answer: Answer
    layers: list[tuple[str, list[Metamer]]]


def gallery(
    model: ModelResults,
    facts: Mapping[str, Mapping[str, str]],
    final: NDArray[np.float32],
    count: int,
    room: int,
) -> list[Row]:
    """Gather the first `count` stimuli with their metamers; fewer where their sounds would make the page too large.

    Parameters
    ----------
    model
        Results that they are read from.
    facts
        Facts about each stimulus, by name.
    final
        Last losses, ``(layer, stimulus, seed)``.
    count
        Largest number of rows.
    room
        Bytes for all pictures or sounds together; pictures are compressed to fit.
    """
    domain = model.domain
    per_row = 1 + len(model.layers) * len(model.seeds)
    count = min(count, len(model.stimuli), pictures_that_fit(domain, room) // per_row or 1)
    size = room // max(count * per_row, 1)
    natural = [signal if signal is None else picture(signal, domain, size) for signal in model.natural_signals(count)]
    columns = _columns(model, final, count, size)
    predicted, confidence = (model.natural[name].values for name in ("predicted", "confidence"))
    rows = []
    for index, shown in enumerate(natural):
        stimulus = model.stimuli[index]
        answer = Answer(model.label(int(predicted[index])), float(confidence[index]))
        rows.append(
            Row(
                stimulus=stimulus,
                category=facts.get(stimulus, {}).get("category", ""),
                picture=shown,
                alt=f"natural signal {stimulus}{_says(answer)}",
                answer=answer,
                layers=[(name, column[index]) for name, column in zip(model.layers, columns, strict=True)],
            )
        )
    return rows


def _columns(model: ModelResults, final: NDArray[np.float32], count: int, size: int) -> list[list[list[Metamer]]]:
    """Gather the metamers, layer by layer and stimulus by stimulus, each a list over seeds."""
    domain = model.domain
    stored: dict[str, NDArray[Any]] = {name: np.asarray(model.metamers[name].values) for name in ("state", "reason")}
    stored |= {
        name: model.answers(name, missing)
        for name, missing in (("predicted", -1), ("confidence", np.nan), ("agrees", -1))
    }
    judged, quantised = verdicts(model), verdicts(model, "quantised_")
    match = [(metric, model.own_match(metric.name)) for metric in JUDGED]
    maxima = [model.of_null("maximum", metric.name) for metric in JUDGED]
    columns = []
    for layer, name in enumerate(model.layers):
        highest = [np.nan if maximum is None else float(maximum[layer]) for maximum in maxima]
        column = []
        for index, signals in enumerate(model.metamer_signals(layer, count)):
            cells = []
            for seed_index, (seed, signal) in enumerate(zip(model.seeds, signals, strict=True)):
                at = (layer, index, seed_index)
                state = STATE_NAMES[int(stored["state"][at])]
                answer = Answer(model.label(int(stored["predicted"][at])), float(stored["confidence"][at]))
                mine, rounded = judged[layer][index][seed_index], quantised[layer][index][seed_index]
                values = [(metric, float(array[at])) for metric, array in match if not np.isnan(array[at])]
                cells.append(
                    Metamer(
                        seed=seed,
                        state=state,
                        reason=str(stored["reason"][at]),
                        picture=picture(signal, domain, size) if state == "done" and signal is not None else None,
                        alt=f"metamer of {model.stimuli[index]} at layer {name}{_says(answer)}",
                        answer=answer,
                        agrees={0: False, 1: True}.get(int(stored["agrees"][at])),
                        loss=float(final[at]),
                        verdict=mine,
                        lost=mine is SUCCEEDS and rounded not in (SUCCEEDS, UNKNOWN),
                        match=[(metric, metric.text(value)) for metric, value in values],
                        against=_against(values, highest),
                    )
                )
            column.append(cells)
        columns.append(column)
    return columns


def _against(values: list[tuple[Metric, float]], highest: list[float]) -> str:
    by_name = dict(zip((metric.name for metric in JUDGED), highest, strict=True))
    parts = []
    for metric, value in values:
        maximum = by_name[metric.name]
        unit = " dB" if metric.units == "dB" else ""
        null = "no null" if np.isnan(maximum) else f"the null’s maximum is {metric.text(maximum)}{unit}"
        parts.append(f"{metric.symbol} {metric.text(value)}{unit} ({null})")
    return "; ".join(parts)


def _says(answer: Answer) -> str:
    return f"; the network says {answer}" if answer.known else ""
