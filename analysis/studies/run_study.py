"""Running a study: from its file, through synthesis, to its results; an interrupted one is resumed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...framework import claims, owners
from ...framework.devices import check_precision
from ...framework.errors import MetameryError
from ...framework.folders import RESULTS, STUDY_FILE, check_output
from ...framework.manager import Plugins, short
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.replacing import replaced, writing_to
from ...framework.schema import STATES
from ...framework.staging import STAGED
from ...framework.stopping import RESUMES, STARTS_AGAIN, say
from ...framework.store import StudyStore
from ...framework.study import Study, load_stimuli
from ...framework.suppliers import naming_missing
from ..proof.null import MAX_SIGNALS, TooFewSignalsError, cache_folder, draw_signals, null_of_signals
from ..proof.success import judge
from ..synthesis.driver import NaturalSignals, make_metamers
from ..synthesis.procedure import Procedure
from ..synthesis.settings import Settings, resolve_settings
from .creation import create
from .parts import Part, load_parts
from .resuming import check_same, give_way, holds_results

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike


def run_study(
    study: Study,
    folder: str | Path,
    plugins: Plugins | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> StudyStore:
    """Make the metamers of a study that are still missing.

    The store of a new study is created completely before the first update: its stimuli are read, fitted to each model
    and stored, so that a picture that cannot be used is found at once. They are held in memory meanwhile.

    Parameters
    ----------
    study
        Models, stimuli and settings, as names and numbers.
    folder
        The study's folder; created if missing. The same call resumes an interrupted one.
    plugins
        Plugins in which names are looked up; all that are installed by default.
    device
        Device to compute on.
    progress
        Display of the progress, for example a `ProgressBar`.

    Returns
    -------
    StudyStore
        Writer of the study's results; `open_study` reads them.

    Raises
    ------
    MetameryError
        A name is unknown, a stimulus does not fit, the folder cannot be written to, or it holds the results of a
        study with other settings, of other models or of other stimuli. A new study then leaves nothing behind,
        unless metamers were made; nor does a fault in the code of a plugin.

    Examples
    --------
    >>> import tempfile
    >>> from metamery.analysis import run_study
    >>> from metamery.framework import Study, open_study
    >>> study = Study.from_toml('''
    ...     stimuli = { name = "spoken-digits", limit = 2 }
    ...     models = [{ name = "coch-cnn-digits", layers = ["relu1"] }]
    ...     synthesis = { steps = 2 }
    ... ''')
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = run_study(study, folder)
    ...     with open_study(folder) as results:
    ...         dict(results["models/audio+coch-cnn-digits/metamers"].dataset.loss.sizes)
    {'layer': 1, 'stimulus': 2, 'seed': 1, 'step': 3}
    """
    folder, plugins, device = Path(folder), plugins or Plugins(), torch.device(device)
    _check_folder(study, folder, plugins)
    with claims.work(folder) as claim, plugins.trust.named_in(study.source):
        is_new, has_no_file = not (folder / RESULTS).exists(), not (folder / STUDY_FILE).exists()
        try:
            return _run(study, folder, plugins, device, progress or Progress(), claim)
        except KeyboardInterrupt:
            say(RESUMES if (folder / RESULTS).exists() and holds_results(StudyStore(folder)) else STARTS_AGAIN)
            raise
        except MetameryError:
            raise
        except Exception:  # a fault, such as of a user's distance
            if is_new and (folder / RESULTS).exists() and not holds_results(store := StudyStore(folder)):
                store.discard()
                if has_no_file:
                    (folder / STUDY_FILE).unlink(missing_ok=True)
            raise


def _run(
    study: Study, folder: Path, plugins: Plugins, device: torch.device, progress: Progress, claim: claims.Claim
) -> StudyStore:
    stored = StudyStore.reopen(folder) if (folder / RESULTS).exists() else None
    is_new = stored is None
    named = study if stored is None else study.qualified(plugins)
    settings = resolve_settings(named.synthesis)
    check_precision(settings.precision, device)
    with naming_missing(folder, plugins):
        procedure = Procedure.load(settings, plugins)
        parts = load_parts(named, plugins, device)
    if stored is not None and _goes_on(stored, named, folder, plugins, parts, settings, progress):
        store = stored
    else:
        store = create(study, folder, plugins, parts, settings, device)
    names = [str(name) for name in store.read("stimuli", "stimulus")]
    try:
        for part in parts:
            attainable = study.null_stimuli is not None or len(names) > 1
            if attainable and "null" not in store.children(f"models/{part.key}"):
                _add_null(named, folder, plugins, part, store, device, progress, needed=is_new)
    except MetameryError:
        if is_new and not holds_results(store):
            store.discard()
        raise
    _keep_file(study.qualified(plugins), folder)
    states = {part.key: store.read(f"models/{part.key}/metamers", "state") for part in parts}
    missing = sum(int((state == STATES["missing"]).sum()) for state in states.values())
    progress.start(missing * settings.steps)
    answers = json.loads(store.attributes["answers"])
    for part in parts:
        kept = _StoredModel(store, f"models/{part.key}", claim)
        try:
            make_metamers(
                part.model,
                NaturalSignals(names, kept.natural, _Answers(part.model, names, answers).grade),
                part.layers,
                part.measured,
                procedure,
                seed=study.seed,
                write=kept.write,
                done=states[part.key] != STATES["missing"],
                metrics=[str(name) for name in store.read(f"models/{part.key}/match", "metric")],
                device=device,
                progress=progress,
            )
        finally:  # whatever was made
            _judge(part, kept)
    return store


def _goes_on(
    store: StudyStore,
    study: Study,
    folder: Path,
    plugins: Plugins,
    parts: list[Part],
    settings: Settings,
    progress: Progress,
) -> bool:
    """Return whether the study's results are there; those of another study without any metamer are removed.

    Raises
    ------
    MetameryError
        There are results of another study.
    """
    try:
        check_same(study, folder, plugins, parts, settings, store, progress)
    except MetameryError:
        if holds_results(store):
            raise
        give_way(folder, store)
        return False
    return True


def _add_null(
    study: Study,
    folder: Path,
    plugins: Plugins,
    part: Part,
    store: StudyStore,
    device: torch.device,
    progress: Progress,
    *,
    needed: bool,
) -> None:
    """Add the null of one model, unless the study names no signals for it and its own are all the same.

    If the signals cannot be read, the study continues without a null that is not `needed`, with a warning.
    """
    stored = _StoredModel(store, f"models/{part.key}")
    most = MAX_SIGNALS if study.null_signals is None else study.null_signals
    signals: Iterator[tuple[str, torch.Tensor]]
    if study.null_stimuli is None:
        names = [str(name) for name in store.read("stimuli", "stimulus")]
        drawn = draw_signals(len(names), most, study.seed)
        signals = ((names[index], stored.natural(slice(index, index + 1))[0]) for index in drawn)
        what = f"{short(study.stimuli.name)} (the study's own)"
    else:
        try:
            stimuli = load_stimuli(plugins, study.null_stimuli)
        except MetameryError as error:
            if needed:
                raise
            warnings.warn(f"the null is not measured, since its stimuli can no longer be read: {error}", stacklevel=3)
            return
        drawn = draw_signals(len(stimuli), most, study.seed)
        signals = ((each.name, part.model.domain.fit(each)) for each in map(stimuli.__getitem__, drawn))
        what = short(study.null_stimuli.name)
    with owners.scratch(folder, STAGED) as scratch:
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
            return
    _check_null(folder, part, null, store)
    store.add(f"models/{part.key}/null", null.assign_attrs(stimuli=what))


def _check_null(folder: Path, part: Part, null: xr.Dataset, store: StudyStore) -> None:
    """Raise `MetameryError` if the nulls of a study's models are not of the same signals."""
    own = store.group_attributes(f"models/{part.key}")
    for key in store.children("models"):
        if key != part.key and "null" in store.children(f"models/{key}"):
            there, other = store.group_attributes(f"models/{key}/null"), store.group_attributes(f"models/{key}")
            digests = ["names_sha256", *(["signals_sha256"] if other["domain"] == own["domain"] else [])]
            if any(name in there and there[name] != null.attrs[name] for name in digests):
                raise MetameryError(
                    f"the null's stimuli of '{folder}' have changed since the null of '{other['model']}' was "
                    "measured. Choose another folder, or restore the stimuli"
                )


def _judge(part: Part, stored: _StoredModel) -> None:
    """Judge one model's metamers against its null; only these two groups of the store are read."""
    if "null" in stored.store.children(stored.path):
        match, null = (stored.store.dataset(f"{stored.path}/{group}") for group in ("match", "null"))
        verdicts = judge(match[_JUDGED], null)
        stored.write("match", {}, {str(name): verdicts[name].values for name in verdicts.data_vars})


@dataclass(frozen=True, eq=False)
class _StoredModel:
    """Where one model's results are stored."""

    store: StudyStore
    path: str
    claim: claims.Claim | None = None

    def natural(self, stimuli: slice) -> torch.Tensor:
        return torch.from_numpy(self.store.read_region(f"{self.path}/stimuli", "signal", stimuli))

    def write(self, group: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        if self.claim is not None:
            self.claim.check()
        self.store.write(f"{self.path}/{group}", region, values)


@dataclass(frozen=True, eq=False)
class _Answers:
    """The right answers to each stimulus, by label space."""

    model: Model
    names: list[str]
    known: Mapping[str, Mapping[str, list[str | int]]]

    def grade(self, stimulus: int, predicted: int) -> int:
        """Whether a class is a right answer: 1, 0, or −1 where that is not known."""
        right = self.model.class_numbers(self.known[self.names[stimulus]].get(self.model.label_space, ()))
        return -1 if predicted < 0 or not right else int(predicted in right)  # −1: the model has no class for it


def _check_folder(study: Study, folder: Path, plugins: Plugins) -> None:
    """Raise `MetameryError` if a folder cannot take a study's results, before anything is computed."""
    check_output(folder, "study")
    if (folder / STUDY_FILE).exists() and not (folder / RESULTS).exists():
        asked = Study.read(folder / STUDY_FILE)
        if differences := study.differences(asked, plugins):
            raise MetameryError(
                f"'{folder / STUDY_FILE}' describes another study: {'; '.join(differences)}. Choose another folder"
            )


def _keep_file(study: Study, folder: Path) -> None:
    """Write the study's file in one step, unless it exists."""
    if not (folder / STUDY_FILE).exists():
        staged = owners.owned(folder, STAGED)  # by this name it is removed with the store's own leftovers
        with writing_to(folder), replaced(folder / STUDY_FILE, staged) as partial:
            partial.write_text(study.to_toml(), encoding="utf-8")


_JUDGED = ["match", "agrees", "quantised_match", "quantised_agrees"]
