"""Conducting a study: from its file, through synthesis, to its results; resumed where it was left."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..framework.devices import check_precision
from ..framework.domains import WaveformDomain
from ..framework.errors import MetameryError
from ..framework.limits import check_disk, check_memory
from ..framework.manager import Plugins
from ..framework.models import Model
from ..framework.progress import Progress
from ..framework.schema import STATES, fitted_variables, model_key, stimuli_variables
from ..framework.stimuli import Stimulus
from ..framework.store import RESULTS, Group, StudyStore, open_study
from ..framework.study import ModelUse, Study, load_stimuli
from .matching import Distance
from .measures import MEASURES, measured_layers
from .null import MOST_SIGNALS, TooFewSignalsError, cache_folder, draw, null_of_signals
from .optimizers import Make
from .presets import Settings, settings
from .success import judge
from .synthesis import check_layers, make_metamers, match_group, metamer_group

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

STUDY_FILE = "study.toml"


@dataclass(frozen=True, eq=False)
class Part:
    """One model of a study, loaded.

    Its name is the qualified one; where a study has the same model twice, with other options, the second's ends in
    ``+2``.
    """

    key: str
    name: str
    use: ModelUse
    model: Model
    layers: tuple[str, ...]
    measured: tuple[str, ...]
    relus: tuple[bool, ...]
    weights_sha256: str


def conduct(
    study: Study,
    folder: Path,
    plugins: Plugins,
    device: torch.device = torch.device("cpu"),
    progress: Progress | None = None,
) -> StudyStore:
    """Make the metamers of a study that are not there yet, and return its results.

    A new study is created whole before the first update: its stimuli are read, fitted to each model and stored, so
    that a picture which cannot be used is found at once. They are held in memory while that is done.

    Raises
    ------
    MetameryError
        A name is unknown, a stimulus does not fit, the folder cannot be written to, or it holds the results of a
        study with other settings or other weights. Of a new study nothing is then left, unless metamers were made.
    """
    chosen = settings(study.synthesis)
    check_precision(chosen.precision, device)
    distance, optimizer = load_tools(plugins, chosen)
    parts = load_parts(study, plugins, device)
    is_new = not (folder / RESULTS).exists()
    store = _open(study, folder, plugins, parts, chosen, device)
    progress = progress or Progress()
    names = [str(name) for name in store.read("stimuli", "stimulus")]
    try:
        for part in parts:
            attainable = study.null_stimuli is not None or len(names) > 1
            if attainable and "null" not in store.children(f"models/{part.key}"):
                _add_null(study, folder, plugins, part, store, device, progress)
    except MetameryError:
        if is_new:
            _discard(folder)
        raise
    _keep_file(study, folder)
    states = {part.key: store.read(f"models/{part.key}/metamers", "state") for part in parts}
    missing = sum(int((state == STATES["missing"]).sum()) for state in states.values())
    progress.start(missing * chosen.steps)
    for part in parts:
        place = _Place(store, f"models/{part.key}")
        try:
            make_metamers(
                part.model,
                place.natural,
                names,
                part.layers,
                part.measured,
                chosen,
                distance=distance,
                optimizer=optimizer,
                seed=study.seed,
                write=place.write,
                done=states[part.key] != STATES["missing"],
                right=_Answers(part.model, names, json.loads(store.attributes["answers"])).judge,
                device=device,
                progress=progress,
            )
        finally:  # of what there is
            _judge(folder, part, place)
    return store


def _add_null(
    study: Study,
    folder: Path,
    plugins: Plugins,
    part: Part,
    store: StudyStore,
    device: torch.device,
    progress: Progress,
) -> None:
    """Add the null of one model, unless the study names no signals for it and its own are all alike."""
    place = _Place(store, f"models/{part.key}")
    most = MOST_SIGNALS if study.null_signals is None else study.null_signals
    signals: Iterator[tuple[str, torch.Tensor]]
    if study.null_stimuli is None:
        names = [str(name) for name in store.read("stimuli", "stimulus")]
        drawn = draw(len(names), most, study.seed)
        signals = ((names[index], place.natural(slice(index, index + 1))[0]) for index in drawn)
        what = f"{study.stimuli.name} (the study's own)"
    else:
        stimuli = load_stimuli(plugins, study.null_stimuli)
        drawn = draw(len(stimuli), most, study.seed)
        signals = ((each.name, part.model.domain.fit(each)) for each in map(stimuli.__getitem__, drawn))
        what = study.null_stimuli.name
    with tempfile.TemporaryDirectory(prefix=f".{RESULTS}.", dir=folder) as scratch:
        try:
            null = null_of_signals(
                part.model,
                signals,
                len(drawn),
                part.layers,
                device=device,
                progress=progress,
                scratch=Path(scratch),
                cache=cache_folder(),
            )
        except TooFewSignalsError:
            if study.null_stimuli is not None:
                raise
            return
    store.add(f"models/{part.key}/null", null.assign_attrs(stimuli=what))


def _judge(folder: Path, part: Part, place: _Place) -> None:
    with open_study(folder) as tree:
        group = tree[f"models/{part.key}"]
        if "null" in group.children:
            verdicts = judge(group["match"].to_dataset().load(), group["null"].to_dataset().load())
            place.write("match", {}, {str(name): verdicts[name].values for name in verdicts.data_vars})


def load_parts(study: Study, plugins: Plugins, device: torch.device) -> list[Part]:
    """Load the models of a study and check that all of their layers can be reached.

    Raises
    ------
    MetameryError
        A model or a layer is unknown or cannot be used.
    """
    parts: list[Part] = []
    for use in study.models:
        found = plugins.find("model", use.name).qualified
        model: Model = plugins.load("model", use.name, **use.options)
        model.module.to(device)
        layers = tuple(use.layers or model.layers)
        name, count = found, 1
        while model_key(name) in {part.key for part in parts}:
            count += 1
            name = f"{found}+{count}"
        relus = tuple(check_layers(model, layers, device))
        measured = measured_layers(model, layers)
        parts.append(Part(model_key(name), name, use, model, layers, measured, relus, model.weights_sha256()))
    return parts


def check_weights(folder: Path, parts: list[Part], stored: Mapping[str, Mapping[Any, Any]]) -> None:
    """Hold models against the attributes, by key, that a study keeps of them.

    Raises
    ------
    MetameryError
        The weights are not those that the study was made with.
    """
    for part in parts:
        if stored[part.key]["weights_sha256"] != part.weights_sha256:
            raise MetameryError(f"'{folder}' was made with other weights of model '{part.name}'")


@dataclass(frozen=True, eq=False)
class _Place:
    """Where one model's results lie in the store."""

    store: StudyStore
    path: str

    def natural(self, stimuli: slice) -> torch.Tensor:
        return torch.from_numpy(self.store.read_region(f"{self.path}/stimuli", "signal", stimuli))

    def write(self, group: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        self.store.write(f"{self.path}/{group}", region, values)


@dataclass(frozen=True, eq=False)
class _Answers:
    """The right answers to each stimulus, by label space."""

    model: Model
    names: list[str]
    known: Mapping[str, Mapping[str, list[str]]]

    def judge(self, stimulus: int, predicted: int) -> int:
        """Whether a class is a right answer: 1, 0, or −1 where that is not known."""
        labels = self.model.labels
        right = self.known[self.names[stimulus]].get(self.model.label_space)
        if right is None or labels is None or not 0 <= predicted < len(labels) or set(right).isdisjoint(labels):
            return -1  # also where the model has no name for what is right
        return int(labels[predicted] in right)


def load_tools(plugins: Plugins, chosen: Settings) -> tuple[Distance, Make]:
    """Load the distance and the optimizer, and try whether the optimizer takes its options."""
    distance = plugins.load("distance", chosen.distance, **chosen.distance_options)
    optimizer = plugins.load("optimizer", chosen.optimizer, lr=chosen.step_size, **chosen.optimizer_options)
    try:
        optimizer([torch.zeros(1, dtype=torch.float32, device="cpu")])
    except (TypeError, ValueError) as error:
        raise MetameryError(f"optimizer '{chosen.optimizer}': {error}") from error
    return distance, optimizer


def _open(
    study: Study, folder: Path, plugins: Plugins, parts: list[Part], chosen: Settings, device: torch.device
) -> StudyStore:
    if not (folder / RESULTS).exists():
        return _create(study, folder, plugins, parts, chosen, device)
    store = StudyStore.reopen(folder)
    differences = study.differences(Study.from_toml(store.attributes["study"]))
    if not differences and json.loads(store.attributes["settings"]) != chosen.table():
        differences = ["the preset, which another version of metamery defines otherwise"]
    if differences:
        raise MetameryError(
            f"'{folder}' holds a study with other settings: {'; '.join(differences)}. "
            "Choose another folder to keep both"
        )
    check_weights(folder, parts, {part.key: store.group_attributes(f"models/{part.key}") for part in parts})
    return store


def _create(
    study: Study, folder: Path, plugins: Plugins, parts: list[Part], chosen: Settings, device: torch.device
) -> StudyStore:
    stimuli = load_stimuli(plugins, study.stimuli)
    known: list[Stimulus] = []
    fitted: dict[str, list[NDArray[np.float32]]] = {part.key: [] for part in parts}
    for index in range(len(stimuli)):
        stimulus = stimuli[index]
        for part in parts:
            fitted[part.key].append(part.model.domain.fit(stimulus).numpy())
        known.append(
            Stimulus(torch.empty(0, dtype=torch.float32, device="cpu"), *(getattr(stimulus, name) for name in _KEPT))
        )
    names = [stimulus.name for stimulus in known]
    if not names:
        raise MetameryError(f"stimuli '{study.stimuli.name}' are empty")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise MetameryError(f"stimuli '{study.stimuli.name}': the name '{repeated[0]}' is not unique")

    _check_room(parts, len(names), chosen, folder)
    groups = {"stimuli": Group(stimuli_variables(), {"stimulus": names})}
    contents: dict[str, dict[str, Any]] = {
        "stimuli": {
            name: np.array([getattr(stimulus, name) for stimulus in known], dtype=object)
            for name in stimuli_variables()
        }
    }
    for part in parts:
        metamers = metamer_group(part.model, part.layers, names, chosen)
        path = f"models/{part.key}"
        groups[path] = Group(attributes=_model_attributes(part))
        groups[f"{path}/stimuli"] = Group(
            fitted_variables(part.model.domain.dims), {"stimulus": names}, metamers.sizes, metamers.chunks
        )
        groups[f"{path}/metamers"] = metamers
        groups[f"{path}/match"] = match_group(part.layers, part.measured, names, chosen)
        contents[f"{path}/stimuli"] = {"signal": np.stack(fitted[part.key])}
        relus = [int(relu and chosen.modified_relu) for relu in part.relus]
        contents[f"{path}/metamers"] = {"modified_relu": np.array(relus, dtype=np.int8)}
    answers = {s.name: {space: sorted(right) for space, right in s.labels.items()} for s in known}
    for stimulus in known:
        if (right := stimulus.right_answers("category")) is not None:
            answers[stimulus.name].setdefault("category", sorted(right))
    attributes = {
        **_provenance(study, plugins, parts, chosen, device),
        "answers": json.dumps(answers),
        "settings": json.dumps(chosen.table()),
    }
    return StudyStore.create(folder, groups, attributes, contents)


def _check_room(parts: list[Part], stimuli: int, chosen: Settings, folder: Path) -> None:
    """Hold the results that a study asks for against free memory and disk, before any of it is asked for.

    In memory at once are the coordinates, the losses of a batch and, where success is judged, one model's match.
    """
    disk = memory = 0
    losses = 4 * (chosen.steps + 1)
    for part in parts:
        metamers = len(part.layers) * stimuli * chosen.seeds
        match = metamers * (len(part.measured) + 1) * 4 * len(MEASURES)
        disk += metamers * (4 * math.prod(part.model.domain.shape) + losses) + match
        memory = max(memory, match + 2 * losses * min(chosen.batch_size, stimuli) + 8 * chosen.seeds)
    what = f"metamers of {stimuli} stimuli with {chosen.seeds} seeds and {chosen.steps} steps"
    check_memory(what, memory)
    check_disk(what, disk, folder)


def _discard(folder: Path) -> None:
    """Remove results that hold nothing yet, so that the folder is free for what was meant."""
    shutil.rmtree(folder / RESULTS)
    if not any(folder.iterdir()):
        folder.rmdir()


def _keep_file(study: Study, folder: Path) -> None:
    """Write the study's file, unless there is one, in one step."""
    if not (folder / STUDY_FILE).exists():
        partial = folder / f".{RESULTS}.{STUDY_FILE}"  # so called, it is cleared away with the store's own leftovers
        partial.write_text(study.to_toml(), encoding="utf-8")
        partial.replace(folder / STUDY_FILE)


_NO_SIGNAL = torch.empty(0, dtype=torch.float32, device="cpu")
_KEPT = ("category", "labels", "name", "source", "licence", "group", "sample_rate")


def _model_attributes(part: Part) -> dict[str, Any]:
    domain = part.model.domain
    attributes = {
        "model": part.name,
        "options": json.dumps(dict(part.use.options), default=str),
        "labels": list(part.model.labels or ()),
        "label_space": part.model.label_space,
        "domain": str(domain),
        "domain_kind": domain.kind,
        "low": domain.low,
        "high": domain.high,
        "weights_sha256": part.weights_sha256,
    }
    if isinstance(domain, WaveformDomain):
        attributes |= {"sample_rate": domain.sample_rate} | ({} if domain.rms is None else {"rms": domain.rms})
    return attributes


def _provenance(
    study: Study, plugins: Plugins, parts: list[Part], chosen: Settings, device: torch.device
) -> Mapping[str, Any]:
    used = [
        *(part.name for part in parts),
        plugins.find("distance", chosen.distance).qualified,
        plugins.find("optimizer", chosen.optimizer).qualified,
        *(plugins.find("stimuli", use.name).qualified for use in (study.stimuli, study.null_stimuli) if use),
    ]
    suppliers = {name.partition(":")[0] for name in used}
    return {
        "metamery_version": version("metamery"),
        "torch_version": torch.__version__,
        "plugins": sorted(f"{p.name} ({p.distribution} {p.version})" for p in plugins.loaded if p.name in suppliers),
        "names": used,
        "device": str(device) if device.type == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})",
        "threads": torch.get_num_threads(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": study.to_toml(),
    }
