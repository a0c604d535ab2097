"""What came out of a study, for the top of its page: success at each layer, and recognition by other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..statistics.proportions import ENDS
from .layers import NOTHING, PARTS, LayerSummary, Proportion
from .numbers import interval, number
from .sections import ModelSection
from .snippets import at

if TYPE_CHECKING:
    import xarray as xr

RECOGNITION = "recognition"
"""Group of the evaluator whose summary is shown."""

_NATURAL = "natural"


@dataclass(frozen=True)
class Recognised:
    """The mean proportion of signals that other models get right, and its interval; NaN where it is not known."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    def __str__(self) -> str:
        return number(self.value)

    @property
    def interval(self) -> str:
        return interval(self.low, self.high)


@dataclass(frozen=True)
class OutcomeRow:
    """One layer: the proportion of its metamers, whether that is unattainable, and their recognition by others."""

    layer: str
    at: str
    proportion: Proportion
    is_unattainable: bool
    recognised: Recognised


@dataclass(frozen=True)
class Outcomes:
    """What the top of the page says.

    Parameters
    ----------
    part
        The outcome that is counted: the first of success, match and same label that was decided for any metamer.
    heading
        Its name on the page.
    models
        The key and the name of each model, and its rows.
    has_recognition
        Whether there is any recognition by others.
    """

    part: str
    heading: str
    models: list[tuple[str, str, list[OutcomeRow]]]
    has_recognition: bool


def outcomes(sections: Sequence[ModelSection], tree: xr.DataTree) -> Outcomes | None:
    """Gather the outcomes of a study's models; None where no metamer has any yet."""
    layers = [layer for section in sections for layer in section.layers]
    part = _counted_part(layers)
    if not part:
        return None
    recognised = _recognised(tree)
    models = [(section.key, section.name, _rows(section, part, recognised)) for section in sections]
    return Outcomes(part, PARTS[part], models, bool(recognised))


def _counted_part(layers: Sequence[LayerSummary]) -> str:
    """Return the name of the outcome to count; empty where none is decided."""
    counted = {part for part in PARTS if any(layer.proportions[part].counted for layer in layers)}
    if "success" not in counted and "matches" in counted:
        return "matches"  # of networks without classes
    if "success" in counted or any(layer.unattainable for layer in layers):
        return "success"
    return "agrees" if "agrees" in counted else ""


def _rows(section: ModelSection, part: str, recognised: Mapping[tuple[str, str], Recognised]) -> list[OutcomeRow]:
    def row(layer: str, proportion: Proportion, is_unattainable: bool) -> OutcomeRow:
        told = at(layer=layer, site=f"{section.name} {layer}")
        return OutcomeRow(layer, told, proportion, is_unattainable, recognised.get((section.name, layer), Recognised()))

    natural = [row(_NATURAL, NOTHING, False)] if (section.name, _NATURAL) in recognised else []
    return natural + [
        row(layer.name, proportion, not proportion.counted and part != "agrees" and layer.unattainable > 0)
        for layer in section.layers
        for proportion in [layer.proportions[part]]
    ]


def _recognised(tree: xr.DataTree) -> dict[tuple[str, str], Recognised]:
    """Return the recognition by other models where it was measured, by model and layer."""
    if RECOGNITION not in tree.children:
        return {}
    dataset = tree.children[RECOGNITION].to_dataset(inherit=False)
    names = ["others", *(f"others_{end}" for end in ENDS)]
    if any(name not in dataset or dataset[name].dims != ("site",) for name in names) or "model" not in dataset.coords:
        return {}
    values = np.stack([dataset[name].values for name in names], axis=1)  # (site, 3)
    sites = zip(dataset["model"].values.tolist(), dataset["layer"].values.tolist(), strict=True)
    return {
        (str(model), str(layer)): Recognised(*map(float, each))
        for (model, layer), each in zip(sites, values, strict=True)
        if np.isfinite(each[0])
    }
