"""Results of each layer: number of metamers, their match, how many succeed, how often the model's label agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.schema import STATES
from .numbers import interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults

PARTS = {
    "success": "success",
    "matches": "match",
    "agrees": "same label",
    "quantised_success": "success after rounding",
}
"""Outcomes of a layer's metamers: names in the store, and headings of the columns."""


@dataclass(frozen=True)
class Proportion:
    """A proportion of those that count, with its 95 % Wilson interval."""

    counted: int
    value: float
    low: float
    high: float

    @property
    def count(self) -> int:
        return round(self.value * self.counted) if self.counted else 0

    def __str__(self) -> str:
        return f"{self.count}/{self.counted}" if self.counted else "–"

    @property
    def interval(self) -> str:
        """Ends of the interval; empty where nothing counts."""
        return interval(self.low, self.high)


NOTHING = Proportion(0, float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class LayerSummary:
    """One layer over all its stimuli and seeds; losses and updates are of the metamers that were made.

    Losses and updates are NaN where no metamer was made.
    """

    name: str
    modified_relu: str  # yes, no, or unknown
    total: int
    made: int
    failed: int
    steps: float  # median
    loss: float  # median
    lowest: float
    highest: float
    proportions: Mapping[str, Proportion]  # for each of PARTS
    unattainable: int


def layer_summaries(model: ModelResults, final: NDArray[np.float32]) -> list[LayerSummary]:
    """Summarise each layer; `final` are the last losses, ``(layer, stimulus, seed)``."""
    proportions, unattainable = _proportions(model)
    return [
        _summary(model, index, final[index], proportions[index], unattainable[index])
        for index in range(len(model.layers))
    ]


def _summary(
    model: ModelResults,
    layer: int,
    final: NDArray[np.float32],
    proportions: Mapping[str, Proportion],
    unattainable: int,
) -> LayerSummary:
    here: dict[str, NDArray[Any]] = {
        name: np.asarray(model.metamers[name].isel(layer=layer).values) for name in ("state", "steps", "modified_relu")
    }
    done = here["state"] == STATES["done"]
    losses = final[done]
    losses = losses[np.isfinite(losses)]
    return LayerSummary(
        name=model.layers[layer],
        modified_relu={0: "no", 1: "yes"}.get(int(here["modified_relu"]), "unknown"),
        total=int(done.size),
        made=int(done.sum()),
        failed=int((here["state"] == STATES["failed"]).sum()),
        steps=_or_nan(np.median, here["steps"][done]),
        loss=_or_nan(np.median, losses),
        lowest=_or_nan(np.min, losses),
        highest=_or_nan(np.max, losses),
        proportions=proportions,
        unattainable=unattainable,
    )


def _proportions(model: ModelResults) -> tuple[list[dict[str, Proportion]], list[int]]:
    """Return each layer's proportions, and the number of metamers for which success is unattainable."""
    if model.match is None or "agrees" not in model.match:
        return [dict.fromkeys(PARTS, NOTHING) for _ in model.layers], [0 for _ in model.layers]
    from ..proof.success import success_by_layer

    unjudged = model.match["agrees"].copy(data=model.answers("none", -1).astype(np.int8))
    verdicts = [f"{way}{part}" for way in ("", "quantised_") for part in ("success", "agrees", "matches")]
    table = success_by_layer(model.match.assign({name: unjudged for name in verdicts if name not in model.match}))
    columns = ("_counted", "", "_low", "_high")
    proportions = [
        {part: _proportion(*(float(table[part + column][index]) for column in columns)) for part in PARTS}
        for index in range(len(model.layers))
    ]
    return proportions, [int(number) for number in table["unattainable"].values]


def _proportion(counted: float, value: float, low: float, high: float) -> Proportion:
    return Proportion(int(counted), value, low, high)


def _or_nan(reduce: Any, values: NDArray[Any]) -> float:
    return float(reduce(values)) if values.size else float("nan")
