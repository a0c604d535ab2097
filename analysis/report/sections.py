"""The page's sections as plain data, one for each model, and the date in its head."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.manager import short
from ...framework.schema import STATES
from ..synthesis.settings import PRESETS
from .curves import curve, drawn_updates, loss_charts
from .gallery import Row, gallery
from .layers import LayerSummary, layer_summaries
from .matrix import Matrix, matrices
from .metamers import MetamerTable, metamer_table
from .null import Null, histograms, match_charts, null
from .pictures import is_tiny, picture_size
from .snippets import at
from .terms import TermSummary, term_summaries

if TYPE_CHECKING:
    import xarray as xr

    from ...framework.model_results import ModelResults


@dataclass(frozen=True)
class ModelSection:
    """All that the page shows of one model."""

    key: str
    name: str
    domain: str
    is_sound: bool
    is_tiny: bool
    size: tuple[int, int]
    seeds: list[int]
    stimuli: int
    rows: list[Row]
    layers: list[LayerSummary]
    terms: list[TermSummary]
    measured_layers: list[str]
    null: Null | None
    has_match: bool
    match_charts: list[str]
    histograms: list[list[str]]
    matrices: list[Matrix]
    metamers: MetamerTable
    curves: list[str]
    right: tuple[int, int] | None  # natural stimuli that got a right answer, of those with a known one
    settings: dict[str, str]
    options: str
    weights: str
    label_space: str
    run: str  # folder of the run that the model is, if it is one

    @property
    def made(self) -> int:
        return sum(layer.made for layer in self.layers)

    @property
    def failed(self) -> int:
        return sum(layer.failed for layer in self.layers)

    @property
    def total(self) -> int:
        return sum(layer.total for layer in self.layers)

    @property
    def succeeding(self) -> int:
        return sum(layer.proportions["success"].count for layer in self.layers)

    @property
    def judged(self) -> int:
        return sum(layer.proportions["success"].counted for layer in self.layers)

    @property
    def unattainable(self) -> int:
        return sum(layer.unattainable for layer in self.layers)

    @property
    def quantisation(self) -> str:
        """Precision that a file rounds to."""
        return "16 bits" if self.is_sound else "8 bits"

    @property
    def at(self) -> str:
        """Paths of this model's groups in the store, for `snippets`."""
        groups = ("stimuli", "metamers", "match", "null")
        return at(**{group: f"models/{self.key}/{group}" for group in groups})

    @property
    def preset(self) -> str:
        return self.settings.get("preset", "")

    @property
    def updates(self) -> str:
        return self.settings.get("steps", "")

    @property
    def preset_updates(self) -> int | None:
        """The preset's own number of updates, where the study has another."""
        own = PRESETS[self.preset].steps if self.preset in PRESETS else None
        return None if str(own) == self.updates else own


def model_section(
    model: ModelResults, facts: Mapping[str, Mapping[str, str]], count: int, room: int, run: str = ""
) -> ModelSection:
    """Gather one model's section; its gallery has at most `count` stimuli, and pictures or sounds of `room` bytes."""
    reduced, finals = [], []
    updates = np.asarray(model.metamers["step"].values, dtype=np.float64)
    done = np.asarray(model.metamers["state"].values) == STATES["done"]
    drawn = drawn_updates(len(updates))
    for index in range(len(model.layers)):
        losses = model.losses(index, drawn)  # (stimulus, seed, update)
        finals.append(losses[..., -1])
        reduced.append(curve(updates[drawn], losses[done[index]]))
    final = np.stack(finals)
    correct = np.asarray(model.natural["correct"].values)
    asked = int((correct >= 0).sum())
    attributes = model.attributes
    return ModelSection(
        key=model.key,
        name=model.name,
        domain=str(attributes.get("domain", model.domain)),
        is_sound=model.domain.kind == "waveform",
        is_tiny=is_tiny(model.domain),
        size=picture_size(model.domain),
        seeds=model.seeds,
        stimuli=len(model.stimuli),
        rows=gallery(model, facts, final, count, room),
        layers=layer_summaries(model, final),
        terms=term_summaries(model),
        measured_layers=model.measured_layers,
        null=null(model),
        has_match=model.matches is not None,
        match_charts=match_charts(model),
        histograms=histograms(model),
        matrices=matrices(model),
        metamers=metamer_table(model, final),
        curves=loss_charts(reduced, model.layers),
        right=(int((correct == 1).sum()), asked) if asked else None,
        settings={name: short(_text(value)) for name, value in model.settings.items()},
        options="" if attributes.get("options") in (None, "{}") else str(attributes["options"]),
        weights=str(attributes.get("weights_sha256", "")),
        label_space=str(attributes.get("label_space", "")),
        run=run,
    )


def run_folders(tree: xr.DataTree) -> dict[str, str]:
    """Return the folders of a study's models that are runs, by the models' names."""
    asked = tomllib.loads(str(tree.attrs.get("study", ""))).get("models", [])
    names = tree.attrs.get("names", [])
    return {name: str(each["name"]) for name, each in zip(names, asked, strict=False) if name.startswith("run:")}


def date(created: str) -> str:
    """Print an ISO date as people write it.

    >>> date("2026-03-12T14:05:00+00:00")
    '12 March 2026, 14:05 UTC'
    """
    try:
        parsed = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{parsed.day} {parsed:%B %Y, %H:%M} {parsed.tzname() or ''}".strip()


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
