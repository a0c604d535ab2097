"""The gallery: every stimulus, and what the network takes for the same at each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .pictures import Picture, picture
from .stored import STATE_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .stored import StoredModel


@dataclass(frozen=True)
class Answer:
    """What the network calls a signal, and how sure it is."""

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
    model: StoredModel,
    facts: Mapping[str, Mapping[str, str]],
    final: NDArray[np.float32],
    count: int,
) -> list[Row]:
    """Gather the first `count` stimuli with their metamers.

    Parameters
    ----------
    model
        Where they are read from.
    facts
        Of each stimulus, by name.
    final
        Last losses, ``(layer, stimulus, seed)``.
    count
        Rows at most.
    """
    domain = model.domain
    natural = [signal if signal is None else picture(signal, domain) for signal in model.natural_signals(count)]
    columns = [_column(model, layer, final[layer], count) for layer in range(len(model.layers))]
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


def _column(model: StoredModel, layer: int, final: NDArray[np.float32], count: int) -> list[list[Metamer]]:
    """Gather the metamers at one layer, stimulus by stimulus, each a list over seeds."""
    domain = model.domain
    here: dict[str, NDArray[Any]] = {
        name: np.asarray(model.metamers[name].isel(layer=layer).values) for name in ("state", "reason")
    }
    here |= {
        name: model.answers(name, missing)[layer]
        for name, missing in (("predicted", -1), ("confidence", np.nan), ("agrees", -1))
    }
    column = []
    for index, signals in enumerate(model.metamer_signals(layer, count)):
        cells = []
        for place, (seed, signal) in enumerate(zip(model.seeds, signals, strict=True)):
            at = (index, place)
            state = STATE_NAMES[int(here["state"][at])]
            answer = Answer(model.label(int(here["predicted"][at])), float(here["confidence"][at]))
            cells.append(
                Metamer(
                    seed=seed,
                    state=state,
                    reason=str(here["reason"][at]),
                    picture=picture(signal, domain) if state == "done" and signal is not None else None,
                    alt=f"metamer of {model.stimuli[index]} at layer {model.layers[layer]}{_says(answer)}",
                    answer=answer,
                    agrees={0: False, 1: True}.get(int(here["agrees"][at])),
                    loss=float(final[at]),
                )
            )
        column.append(cells)
    return column


def _says(answer: Answer) -> str:
    return f"; the network says {answer}" if answer.known else ""
