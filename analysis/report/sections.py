"""The page's sections as plain data: one per model, and what the head says of the whole study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.schema import STATES
from ..presets import PRESETS
from .curves import curve, draw
from .gallery import Row, gallery
from .layers import LayerSummary, layer_summary
from .pictures import is_tiny, picture_size

if TYPE_CHECKING:
    from .stored import StoredModel


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
    curves: list[str]
    right: tuple[int, int] | None  # natural stimuli that got a right answer, of those with a known one
    settings: dict[str, str]
    options: str
    weights: str
    label_space: str

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
    def preset(self) -> str:
        return self.settings.get("preset", "")

    @property
    def updates(self) -> str:
        return self.settings.get("steps", "")

    @property
    def preset_updates(self) -> int | None:
        """How many updates the preset makes by itself, where other than these were asked for."""
        own = PRESETS[self.preset].steps if self.preset in PRESETS else None
        return None if str(own) == self.updates else own


def model_section(model: StoredModel, facts: Mapping[str, Mapping[str, str]], count: int) -> ModelSection:
    """Gather one model's section; its gallery has at most `count` stimuli."""
    layers, reduced, finals = [], [], []
    updates = np.asarray(model.metamers["step"].values, dtype=np.float64)
    done = np.asarray(model.metamers["state"].values) == STATES["done"]
    for index in range(len(model.layers)):
        losses = model.losses(index)  # (stimulus, seed, step)
        finals.append(losses[..., -1])
        layers.append(layer_summary(model, index, finals[-1]))
        reduced.append(curve(updates, losses[done[index]]))
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
        rows=gallery(model, facts, np.stack(finals), count),
        layers=layers,
        curves=draw(reduced, model.key),
        right=(int((correct == 1).sum()), asked) if asked else None,
        settings={name: _text(value) for name, value in model.settings.items()},
        options="" if attributes.get("options") in (None, "{}") else str(attributes["options"]),
        weights=str(attributes.get("weights_sha256", "")),
        label_space=str(attributes.get("label_space", "")),
    )


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
