"""What a folder already holds of a study: whether it is the same study, what of it is lost, and how it gives way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence

import numpy as np

from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE
from ...framework.manager import Plugins
from ...framework.moved import found_again
from ...framework.progress import Progress
from ...framework.remote import Folder
from ...framework.results import open_study
from ...framework.schema import STATES
from ...framework.store import StudyStore
from ...framework.study import Study, qualified_tools
from ..synthesis.procedure import Procedure
from ..synthesis.settings import Settings
from ..synthesis.starts import check_start
from .creation import relus
from .damage import Damage, check_natural, damages, describe
from .parts import Part
from .unchanged import check_layers, check_models, check_stimuli
from .units import Share, Unit, units


def check_same(
    study: Study,
    folder: Folder,
    plugins: Plugins,
    parts: list[Part],
    procedure: Procedure,
    store: StudyStore,
    progress: Progress,
    share: Share | None = None,
) -> None:
    """Raise `MetameryError` if a folder's results are of another study; lost ones are marked to be made again.

    A process with a share marks its own, since others may have made the rest again meanwhile.
    """
    differences = study.differences(Study.stored(store.attributes["study"], folder), plugins)
    settings = procedure.settings
    stored = {**Settings("").table(), **found_again(json.loads(store.attributes["settings"]), folder)}
    own = settings.table()  # an earlier version stored fewer
    if not differences and qualified_tools(plugins, stored) != qualified_tools(plugins, own):
        differences = ["the preset, which another version of metamery defines differently"]
    if differences:
        raise MetameryError(
            f"'{folder}' holds a study with other settings: {'; '.join(differences)}. "
            "Choose another folder to keep both"
        )
    for part in parts:
        attributes = store.group_attributes(f"models/{part.key}/metamers")
        check_start(procedure.start, attributes, f"the metamers in '{folder}'")
    found = damages(folder)
    check_natural(folder, found)
    with open_study(folder) as tree:
        check_models(folder, parts, tree)
        check_layers(folder, parts, tree)
        check_stimuli(folder, study.stimuli, plugins, {part.key: part.model for part in parts}, tree, progress)
    every = units({part.key: found[part.key].state for part in parts}, settings.batch_size)
    mine = every if share is None else share.of(every)
    for part in parts:
        if found[part.key].null and share is None:
            store.remove_null(part.key)
        _mend(folder, part, store, found[part.key], settings, [unit for unit in mine if unit.model == part.key])


def _mend(
    folder: Folder, part: Part, store: StudyStore, damage: Damage, settings: Settings, mine: Sequence[Unit]
) -> None:
    """Mark the lost metamers of some units of one model as missing, so that they are made again, with a warning."""
    for what in describe(damage):
        warnings.warn(f"'{folder}' was damaged: {what}", stacklevel=4)
    group = f"models/{part.key}/metamers"
    if f"{group}/modified_relu" in damage.unreadable or (store.read(group, "modified_relu") < 0).any():
        store.write(group, {}, {"modified_relu": relus(part, settings)})
    state = np.where(damage.metamers, STATES["missing"], damage.state)
    for unit in mine:
        if damage.metamers[unit.at].any() or f"{group}/state" in damage.unreadable:
            store.write(group, unit.batch.region, {"state": state[unit.at]})


def holds_results(store: StudyStore) -> bool:
    """Whether a study holds any metamer or evaluation."""
    if {*store.children()} - {"models", "stimuli"}:
        return True
    states = (store.read(f"models/{key}/metamers", "state") for key in store.children("models"))
    return any(bool((state != STATES["missing"]).any()) for state in states)


def give_way(folder: Folder, store: StudyStore) -> None:
    """Remove a study in which nothing was made, so that the folder is free for another."""
    file = folder / STUDY_FILE
    if file.exists() and file.read_text(encoding="utf-8") == store.attributes["study"]:  # written with the results
        file.unlink()
    store.discard()
