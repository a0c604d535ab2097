"""The number of stimuli in a batch: the memory that it takes, and ``batch_size = "auto"``, chosen by what is free."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ...framework.folding import folded
from ...framework.joint import single_layers, terms_of
from ...framework.limits import free_memory
from ...framework.outline import outline
from ...framework.running import frozen
from ...framework.study import Study, load_stimuli
from ..synthesis.settings import Settings
from .parts import Part, load_parts

if TYPE_CHECKING:
    from ...framework.manager import Plugins
    from ...framework.store import StudyStore

AUTO = "auto"
"""In place of a study's batch size: the largest that `largest_batch` finds."""

MAX_AUTO = 256
"""Largest batch that is chosen: a larger one is hardly faster, and an interruption would lose more work."""

_PASSING = 4
"""Number of temporary copies of the largest activation in an update, with what the C library retains: measured."""

_COPIES = 15
"""Number of copies of a signal: natural and read, noise, working, kept and rounded signals, gradients, the optimizer's
moments and temporaries, and what is written, raw and compressed."""

_MEASURING = 12
"""Number of copies of a layer's activation, in float32, that the ranks and their correlation take in float64. What an
update has freed is hardly used for them, since the C library keeps it in other pieces."""


def signal_bytes(part: Part) -> int:
    """Return the size of one signal of a model's domain."""
    return 4 * math.prod(part.model.domain.shape)


def batch_bytes(part: Part) -> int:
    """Estimate the memory that each signal of a batch takes while its metamer is made and measured."""
    model = part.model
    with frozen(model.module), folded(model, part.measured):  # normalisations that are folded keep nothing
        layers = outline(model.module, model.domain)
    kept = {layer.name: layer.kept_bytes for layer in layers}
    units = {layer.name: layer.units for layer in layers}
    of_layer = max(kept.get(layer, max(kept.values())) for layer in single_layers(part.layers))
    measured = [4 * sum(units.get(term.layer, 0) for term in terms_of(layer)) for layer in part.measured]
    passing = 4 * _PASSING * max(units.values())
    return of_layer + 2 * sum(measured) + passing + _MEASURING * max(measured) + _COPIES * signal_bytes(part)


def largest_batch(each: int, stimuli: int, free: int | None) -> int:
    """Return the largest power of two whose batch takes at most half of the free memory.

    It is at most 256, and at most the number of stimuli; the preset's where the free memory is not known.

    Parameters
    ----------
    each
        Memory of each signal in a batch, in bytes.
    stimuli
        Number of stimuli.
    free
        Free memory in bytes; None if it is not known.

    >>> largest_batch(10_000_000, 1000, 2_000_000_000), largest_batch(10_000_000, 50, 2_000_000_000)
    (64, 32)
    """
    fits = Settings.batch_size if free is None else free // 2 // max(each, 1)
    most = max(1, min(MAX_AUTO, stimuli, fits))
    return int(2 ** int(math.log2(most)))


def with_batch_size(study: Study, plugins: Plugins, device: torch.device, stored: StudyStore | None = None) -> Study:
    """Return a study with a number in place of ``batch_size = "auto"``; any other study as it is.

    A study that has been created keeps the number it was created with, whatever is free now and on this machine.

    Parameters
    ----------
    study
        Models, stimuli and settings.
    plugins, device
        Plugins in which names are looked up, and the device to compute on.
    stored
        Results of the study, if there are some.
    """
    if study.synthesis.get("batch_size") != AUTO:
        return study
    if stored is not None:
        size = int(json.loads(stored.attributes["settings"])["batch_size"])
    else:
        each = max(map(batch_bytes, load_parts(study, plugins, device)))
        size = largest_batch(each, len(load_stimuli(plugins, study.stimuli)), free_on(device))
    settings: dict[str, Any] = {**study.synthesis, "batch_size": size}
    return replace(study, synthesis=settings)


def free_on(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes; None if it is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
