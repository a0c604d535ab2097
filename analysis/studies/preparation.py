"""Preparing a study: its store, created or found again, and the nulls of its models; by one process at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...framework import owners
from ...framework.claims import Claim
from ...framework.devices import check_precision
from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE, check_output, has_results
from ...framework.manager import Plugins, short
from ...framework.progress import Progress
from ...framework.remote import Folder, RemotePath
from ...framework.replacing import replaced, writing_to
from ...framework.staging import STAGED, staging_for
from ...framework.store import StudyStore
from ...framework.study import Study, load_stimuli
from ...framework.suppliers import naming_missing
from ..proof.null import MAX_SIGNALS, TooFewSignalsError, cache_folder, draw_signals, null_of_signals
from ..synthesis.procedure import Procedure
from ..synthesis.settings import resolve_settings
from ..synthesis.settling import NEEDS_NULL
from .batch_size import with_batch_size
from .creation import create
from .parts import Part, check_fit, load_parts
from .resuming import check_same, give_way, holds_results
from .units import Share, units
from .verdicts import Judge

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from .workers import Workers


@dataclass(frozen=True, eq=False)
class Prepared:
    """A study whose metamers can be made.

    Parameters
    ----------
    study
        Models, stimuli and settings, with qualified names.
    store
        Results of the study.
    parts
        Models of the study.
    procedure
        Settings, distance and optimizer.
    """

    study: Study
    store: StudyStore
    parts: list[Part]
    procedure: Procedure

    def states(self) -> dict[str, NDArray[np.int8]]:
        """Return the states of each model's metamers, ``(layer, stimulus, seed)``, by the key of its group."""
        return {part.key: self.store.read(f"models/{part.key}/metamers", "state") for part in self.parts}


def prepare(
    study: Study,
    folder: Folder,
    plugins: Plugins,
    device: torch.device,
    progress: Progress,
    claim: Claim,
    share: Share | None = None,
    workers: Workers | None = None,
) -> Prepared:
    """Create the store of a study, or find it again, and add the nulls that are missing, also by `workers`.

    Raises
    ------
    MetameryError
        A name is unknown, a stimulus does not fit, or the folder holds the results of another study. A new study then
        leaves nothing behind.
    """
    stored = StudyStore.reopen(folder) if has_results(folder) else None
    is_new = stored is None
    study = with_batch_size(study, plugins, device, stored)
    named = study if stored is None else study.qualified(plugins)
    settings = resolve_settings(named.synthesis)
    check_precision(settings.precision, device)
    with naming_missing(folder, plugins):
        procedure = Procedure.load(settings, plugins)
        parts = load_parts(named, plugins, device)
    check_fit(procedure, parts)
    if stored is not None and _goes_on(stored, named, folder, plugins, parts, procedure, progress, claim, share):
        store = stored
    else:
        store = create(study, folder, plugins, parts, settings, device, progress, procedure.start)
    attainable = study.null_stimuli is not None or len(store.read("stimuli", "stimulus")) > 1
    wanted = [part for part in parts if attainable and "null" not in store.children(f"models/{part.key}")]
    try:
        measured = (
            ((part.key, measure_null(named, part, store, plugins, device, progress, needed=is_new)) for part in wanted)
            if workers is None
            else workers.nulls(store, [part.key for part in wanted], progress)
        )
        for key, null in measured:
            if null is not None:
                _check_null(folder, key, null, store)
                store.add(f"models/{key}/null", null)
        if settings.stop == "verdict" and any("null" not in store.children(f"models/{part.key}") for part in parts):
            raise MetameryError(NEEDS_NULL)
    except MetameryError:
        if is_new and not holds_results(store):
            store.discard()
        raise
    _keep_file(study.qualified(plugins), folder)
    prepared = Prepared(named, store, parts, procedure)
    states = prepared.states()
    for key, state in states.items():
        Judge(store, f"models/{key}").again(units({key: state}, settings.batch_size), state)
    return prepared


def is_prepared(folder: Folder) -> bool:
    """Whether a study's results are there, with the null of each model."""
    if not has_results(folder):
        return False
    store = StudyStore(folder)
    return all("null" in store.children(f"models/{key}") for key in store.children("models"))


def check_folder(study: Study, folder: Folder, plugins: Plugins) -> None:
    """Raise `MetameryError` if a folder cannot take a study's results, before anything is computed."""
    check_output(folder, "study")
    if (folder / STUDY_FILE).exists() and not has_results(folder):
        asked = Study.read(folder / STUDY_FILE)
        if differences := study.differences(asked, plugins):
            raise MetameryError(
                f"'{folder / STUDY_FILE}' describes another study: {'; '.join(differences)}. Choose another folder"
            )


def _goes_on(
    store: StudyStore,
    study: Study,
    folder: Folder,
    plugins: Plugins,
    parts: list[Part],
    procedure: Procedure,
    progress: Progress,
    claim: Claim,
    share: Share | None,
) -> bool:
    """Return whether the study's results are there; those of another study, of which nothing is made, are removed.

    Raises
    ------
    MetameryError
        There are results of another study.
    """
    try:
        check_same(study, folder, plugins, parts, procedure, store, progress, share)
    except MetameryError:
        if holds_results(store) or claim.others():
            raise
        give_way(folder, store)
        return False
    return True


def measure_null(
    study: Study,
    part: Part,
    store: StudyStore,
    plugins: Plugins,
    device: torch.device,
    progress: Progress,
    *,
    needed: bool = True,
) -> xr.Dataset | None:
    """Measure the null of one model; None if the study names no signals for it and its own are all the same.

    If the signals cannot be read, the study continues without a null that is not `needed`, with a warning.

    Raises
    ------
    MetameryError
        The signals cannot be used, or all that the study names are the same.
    """
    folder = store.path.parent
    most = MAX_SIGNALS if study.null_signals is None else study.null_signals
    signals: Iterator[tuple[str, torch.Tensor]]

    def natural(index: int) -> torch.Tensor:
        return torch.from_numpy(store.read_region(f"models/{part.key}/stimuli", "signal", slice(index, index + 1))[0])

    if study.null_stimuli is None:
        names = [str(name) for name in store.read("stimuli", "stimulus")]
        drawn = draw_signals(len(names), most, study.seed)
        signals = ((names[index], natural(index)) for index in drawn)
        what = f"{short(study.stimuli.name)} (the study's own)"
    else:
        try:
            stimuli = load_stimuli(plugins, study.null_stimuli)
        except MetameryError as error:
            if needed:
                raise
            warnings.warn(f"the null is not measured, since its stimuli can no longer be read: {error}", stacklevel=3)
            return None
        drawn = draw_signals(len(stimuli), most, study.seed)
        signals = ((each.name, part.model.domain.fit(each)) for each in map(stimuli.__getitem__, drawn))
        what = short(study.null_stimuli.name)
    with staging_for(folder) as scratch:
        try:
            null = null_of_signals(
                part.model,
                signals,
                len(drawn),
                part.layers,
                device=device,
                progress=progress,
                scratch=scratch,
                cache=cache_folder(),
            )
        except TooFewSignalsError:
            if study.null_stimuli is not None:
                raise
            return None
    return null.assign_attrs(stimuli=what)


def _check_null(folder: Folder, key: str, null: xr.Dataset, store: StudyStore) -> None:
    """Raise `MetameryError` if the nulls of a study's models are not of the same signals."""
    own = store.group_attributes(f"models/{key}")
    for each in store.children("models"):
        if each != key and "null" in store.children(f"models/{each}"):
            there, other = store.group_attributes(f"models/{each}/null"), store.group_attributes(f"models/{each}")
            digests = ["names_sha256", *(["signals_sha256"] if other["domain"] == own["domain"] else [])]
            if any(name in there and there[name] != null.attrs[name] for name in digests):
                raise MetameryError(
                    f"the null's stimuli of '{folder}' have changed since the null of '{other['model']}' was "
                    "measured. Choose another folder, or restore the stimuli"
                )


def _keep_file(study: Study, folder: Folder) -> None:
    """Write the study's file in one step, unless it exists."""
    file = folder / STUDY_FILE
    if not file.exists():
        with writing_to(folder):
            if isinstance(file, RemotePath):
                file.write_text(study.to_toml())
                return
            staged = owners.owned(file.parent, STAGED)  # by this name it is removed with the store's own leftovers
            with replaced(file, staged) as partial:
                partial.write_text(study.to_toml(), encoding="utf-8")
