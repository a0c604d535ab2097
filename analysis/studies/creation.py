"""Creating a study: its stimuli as fitted to each model, empty arrays for the results, and provenance."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...framework.errors import MetameryError
from ...framework.limits import check_disk, check_memory
from ...framework.manager import Plugins, short
from ...framework.provenance import provenance
from ...framework.schema import fitted_variables, stimuli_variables
from ...framework.stimuli import Stimulus, is_utf8
from ...framework.store import Group, StudyStore
from ...framework.study import Study, load_stimuli, qualified_tools
from ...framework.suppliers import suppliers
from ..proof.measures import METRICS
from ..synthesis.driver import match_group, metamer_group
from ..synthesis.settings import Settings
from .fingerprint import PROBED
from .unchanged import kept_activations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .parts import Part

_KEPT = ("category", "labels", "name", "source", "licence", "group", "sample_rate")


def create(
    study: Study, folder: Path, plugins: Plugins, parts: list[Part], settings: Settings, device: torch.device
) -> StudyStore:
    """Read a study's stimuli, fit them to each model, and create its store with all that is known before synthesis.

    The signals of each domain are held in memory once.

    Raises
    ------
    MetameryError
        A stimulus does not fit or its name is not unique, or the study needs more memory or disk than there is.
    """
    stimuli = load_stimuli(plugins, study.stimuli)
    known: list[Stimulus] = []
    # Shared, since a small block for each, between large ones that are freed, would fragment the memory.
    nothing = torch.empty(0, dtype=torch.float32, device="cpu")
    domains = {part.model.domain for part in parts}
    fitted = {domain: np.empty((len(stimuli), *domain.shape), dtype=np.float32) for domain in domains}
    for index in range(len(stimuli)):
        stimulus = stimuli[index]
        for domain, signals in fitted.items():
            signals[index] = domain.fit(stimulus).numpy()
        known.append(Stimulus(nothing, *(getattr(stimulus, name) for name in _KEPT)))
    names = [stimulus.name for stimulus in known]
    if not names:
        raise MetameryError(f"stimuli '{short(study.stimuli.name)}' are empty")
    if unwritable := next((name for name in names if not is_utf8(name)), None):
        raise MetameryError(f"stimuli '{short(study.stimuli.name)}': the name {unwritable!a} cannot be written as text")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise MetameryError(f"stimuli '{short(study.stimuli.name)}': the name '{repeated[0]}' is not unique")

    _check_room(parts, len(names), settings, folder)
    groups = {"stimuli": Group(stimuli_variables(), {"stimulus": names})}
    contents: dict[str, dict[str, Any]] = {
        "stimuli": {
            name: np.array([getattr(stimulus, name) for stimulus in known], dtype=object)
            for name in stimuli_variables()
        }
    }
    for part in parts:
        metamers = metamer_group(part.model, part.layers, names, settings)
        path = f"models/{part.key}"
        signals = fitted[part.model.domain]
        groups[path] = Group(
            attributes=_model_attributes(part)
            | kept_activations(part.model, torch.from_numpy(signals[:PROBED]), part.measured)
        )
        groups[f"{path}/stimuli"] = Group(
            fitted_variables(part.model.domain.dims), {"stimulus": names}, metamers.sizes, metamers.chunks
        )
        groups[f"{path}/metamers"] = metamers
        groups[f"{path}/match"] = match_group(part.layers, part.measured, names, settings)
        contents[f"{path}/stimuli"] = {"signal": signals}
        contents[f"{path}/metamers"] = {"modified_relu": relus(part, settings)}
    attributes = {
        **_provenance(study, plugins, parts, settings, device),
        "answers": json.dumps(
            {s.name: {space: sorted(right, key=str) for space, right in s.answers.items()} for s in known}
        ),
        "settings": json.dumps(qualified_tools(plugins, settings.table())),
        "folder": str(folder.resolve()),
    }
    return StudyStore.create(folder, groups, attributes, contents)


def relus(part: Part, settings: Settings) -> NDArray[np.int8]:
    """Whether the modified ReLU applies at each layer, ``(layer,)``: 0 or 1."""
    return np.array([int(relu and settings.modified_relu) for relu in part.relus], dtype=np.int8)


def _check_room(parts: list[Part], stimuli: int, settings: Settings, folder: Path) -> None:
    """Compare the size of a study's results with free memory and disk, before anything is allocated.

    Held in memory at once are the coordinates, the losses of a batch and, where success is judged, one model's match.
    """
    disk = memory = 0
    losses = 4 * (settings.steps + 1)
    for part in parts:
        metamers = len(part.layers) * stimuli * settings.seeds
        match = metamers * (len(part.measured) + 1) * 4 * len(METRICS)
        disk += metamers * (4 * math.prod(part.model.domain.shape) + losses) + match
        memory = max(memory, match + 2 * losses * min(settings.batch_size, stimuli) + 8 * settings.seeds)
    what = f"metamers of {stimuli} stimuli with {settings.seeds} seeds and {settings.steps} steps"
    check_memory(what, memory)
    check_disk(what, disk, folder)


def _model_attributes(part: Part) -> dict[str, Any]:
    return {
        "model": part.name,
        "options": json.dumps(dict(part.use.options), default=str),
        **part.model.attributes(),
        "weights_sha256": part.weights_sha256,
    }


def _provenance(
    study: Study, plugins: Plugins, parts: list[Part], settings: Settings, device: torch.device
) -> Mapping[str, Any]:
    used = [
        *(part.name for part in parts),
        plugins.find("distance", settings.distance).qualified,
        plugins.find("optimizer", settings.optimizer).qualified,
        *(plugins.find("stimuli", use.name).qualified for use in (study.stimuli, study.null_stimuli) if use),
    ]
    return {
        **provenance(),
        "plugins": suppliers(used, plugins),
        "names": used,
        "device": str(device) if device.type == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})",
        "threads": torch.get_num_threads(),
        "study": study.qualified(plugins).to_toml(),
    }
