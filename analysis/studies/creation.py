"""Creating a study: its stimuli as fitted to each model, empty arrays for the results, and provenance."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...framework.errors import MetameryError
from ...framework.limits import check_disk, check_memory
from ...framework.manager import Plugins, short
from ...framework.progress import Progress
from ...framework.provenance import provenance
from ...framework.remote import Folder, RemotePath
from ...framework.schema import fitted_variables, stimuli_variables
from ...framework.staging import staging_disk
from ...framework.stimuli import Stimuli, Stimulus, is_utf8
from ...framework.store import Draft, Group, StudyStore
from ...framework.study import Study, load_stimuli, qualified_tools
from ...framework.suppliers import suppliers
from ..proof.measures import METRICS
from ..synthesis.driver import match_group, metamer_group
from ..synthesis.settings import Settings
from ..synthesis.starts import StartFile
from .fingerprint import PROBED
from .unchanged import kept_activations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .parts import Part

_FACTS = ("category", "source", "licence", "group")


@dataclass(eq=False)
class _Known:
    """What is kept of the stimuli that were read: text, but no signals."""

    names: dict[str, None] = field(default_factory=dict)
    facts: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _FACTS})
    answers: dict[str, dict[str, list[str | int]]] = field(default_factory=dict)

    def add(self, stimulus: Stimulus) -> None:
        """Keep what a stimulus says of itself.

        Raises
        ------
        MetameryError
            Its name is not unique, or cannot be written as text.
        """
        name = stimulus.name
        if not is_utf8(name):
            raise MetameryError(f"the name {name!a} cannot be written as text")
        if name in self.names:
            raise MetameryError(f"the name '{name}' is not unique")
        self.names[name] = None
        for fact, values in self.facts.items():
            values.append(sys.intern(str(getattr(stimulus, fact))))
        self.answers[name] = {space: sorted(right, key=str) for space, right in stimulus.answers.items()}


def create(
    study: Study,
    folder: Folder,
    plugins: Plugins,
    parts: list[Part],
    settings: Settings,
    device: torch.device,
    progress: Progress,
    start: StartFile | None = None,
) -> StudyStore:
    """Read a study's stimuli, fit them to each model, and create its store with all that is known before synthesis.

    Stimuli are read in blocks of a batch: in memory are the signals of one block, for each domain, and the names and
    other text of all stimuli.

    Raises
    ------
    MetameryError
        A stimulus does not fit or its name is not unique, or the study needs more memory or disk than there is.
        Nothing is left behind then.
    """
    stimuli = load_stimuli(plugins, study.stimuli)
    what, count = f"stimuli '{short(study.stimuli.name)}'", len(stimuli)
    if not count:
        raise MetameryError(f"{what} are empty")
    _check_room(parts, count, settings, folder)
    with StudyStore.creating(folder) as draft:
        unnamed = [""] * count  # names are known when all stimuli are read
        for part in parts:
            metamers = metamer_group(part.model, part.layers, unnamed, settings)
            fitted = Group(
                fitted_variables(part.model.domain.dims), {"stimulus": unnamed}, metamers.sizes, metamers.chunks
            )
            draft.add_group(f"models/{part.key}/stimuli", fitted)
        progress.start(count, "reading the stimuli")
        known = _write_signals(draft, stimuli, what, parts, min(settings.batch_size, count), progress)
        names = list(known.names)
        draft.add_group("stimuli", Group(stimuli_variables(), {"stimulus": names}))
        draft.write("stimuli", {}, {fact: np.array(values, dtype=object) for fact, values in known.facts.items()})
        for part in parts:
            path = f"models/{part.key}"
            draft.write(f"{path}/stimuli", {}, {"stimulus": np.array(names, dtype=object)})
            first = torch.from_numpy(draft.read_region(f"{path}/stimuli", "signal", slice(PROBED)))
            attributes = _model_attributes(part) | kept_activations(part.model, first, part.measured)
            draft.add_group(path, Group(attributes=attributes))
            draft.add_group(f"{path}/metamers", metamer_group(part.model, part.layers, names, settings, start))
            draft.add_group(f"{path}/match", match_group(part.layers, part.measured, names, settings))
            draft.write(f"{path}/metamers", {}, {"modified_relu": relus(part, settings)})
        draft.set_attributes(
            {
                **_provenance(study, plugins, parts, settings, device),
                "answers": json.dumps(known.answers),
                "settings": json.dumps(qualified_tools(plugins, settings.table())),
                "folder": str(folder.resolve()),
            }
        )
    return StudyStore(folder)


def _write_signals(
    draft: Draft, stimuli: Stimuli, what: str, parts: list[Part], block: int, progress: Progress
) -> _Known:
    """Fit stimuli to each model's domain, and write them block by block; a block is a chunk of the store."""
    known = _Known()
    fitted = {domain: np.empty((block, *domain.shape), np.float32) for domain in {part.model.domain for part in parts}}
    for first in range(0, len(stimuli), block):
        region = slice(first, min(first + block, len(stimuli)))
        for index in range(region.start, region.stop):
            stimulus = stimuli[index]
            for domain, signals in fitted.items():
                signals[index - first] = domain.fit(stimulus).numpy()
            try:
                known.add(stimulus)
            except MetameryError as error:
                raise MetameryError(f"{what}: {error}") from None
            progress.advance()
        for part in parts:
            signals = fitted[part.model.domain][: region.stop - region.start]
            draft.write(f"models/{part.key}/stimuli", {"stimulus": region}, {"signal": signals})
    return known


def relus(part: Part, settings: Settings) -> NDArray[np.int8]:
    """Whether the modified ReLU applies at each layer, ``(layer,)``: 0 or 1."""
    return np.array([int(relu and settings.modified_relu) for relu in part.relus], dtype=np.int8)


def _check_room(parts: list[Part], stimuli: int, settings: Settings, folder: Folder) -> None:
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
    if isinstance(folder, RemotePath):
        staged = sum(4 * stimuli * math.prod(part.model.domain.shape) for part in parts)
        check_disk(f"{stimuli} stimuli, until they are uploaded,", staged, staging_disk(folder))
    else:
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
