"""Evaluation: `evaluate` for objects and folders, the context of an evaluator, and where its results are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr

from ...framework.context import Context
from ...framework.contract import examine, on_device
from ...framework.errors import MetameryError, UnknownNameError, unknown
from ...framework.folders import RESULTS, STUDY_FILE, check_input, check_output, has_results, home, kind
from ...framework.groups import check_apart, check_result_name, numbered, result_name
from ...framework.manager import Plugins
from ...framework.model_results import models_of
from ...framework.models import Model
from ...framework.moved import found_again
from ...framework.progress import Progress
from ...framework.protocols import Evaluator
from ...framework.provenance import provenance
from ...framework.registry import is_run
from ...framework.remote import Folder, RemotePath, folder_at
from ...framework.results import open_study
from ...framework.run import Run
from ...framework.schema import check_dataset
from ...framework.stimuli import Stimuli
from ...framework.store import StudyStore
from ...framework.study import Reference, Study, load_stimuli
from ...framework.suppliers import naming_missing
from .damage import check_natural, damages, without_lost
from .in_memory import Results, study_tree
from .parts import load_parts
from .stored_stimuli import StoredStimuli
from .unchanged import check_models

if TYPE_CHECKING:
    from typing_extensions import TypeIs


def evaluate(
    evaluator: str | Evaluator,
    of: Results | Model | Mapping[str, Model],
    stimuli: Stimuli | None = None,
    models: Model | Mapping[str, Model] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    output: str | Folder | None = None,
    name: str = "",
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    **more: Any,
) -> xr.Dataset:
    """Measure a study, metamers in memory, or models.

    Parameters
    ----------
    evaluator
        A registered name, or an evaluator: a function ``evaluate(context) -> xarray.Dataset``.
    of
        A study's folder; an open study, or what `synthesise` returned, together with `models`; or models alone,
        together with `stimuli`.
    stimuli
        Natural signals; by default those of the study.
    models
        Models of an open study or of metamers, by the names stored there; those of a study's folder are loaded by
        name. A single model is named ``model``.
    options
        Options of the evaluator, where it is a name.
    plugins
        Plugins in which names are looked up; all that are installed by default.
    output
        Folder to whose results the Dataset is added: a study's, or one of evaluations, created if missing. By default
        nothing is stored.
    name
        Name of the group in which it is stored; the evaluator's by default.
    seed
        Seed of the evaluator's random choices.
    device
        Device to compute on.
    progress
        Display of the progress.
    **more
        Further options of the evaluator, such as ``epsilons=[0.01]``; in `options` those that are parameters here.

    Returns
    -------
    xarray.Dataset
        Results of the evaluator. The attributes record the evaluator, options, models, weights, seed and versions, as
        those of the command do.

    Raises
    ------
    MetameryError
        A name or an option is unknown, options are given with an evaluator that is a function, models or stimuli are
        missing, the evaluator does not return a Dataset that passes `check_dataset`, or the Dataset cannot be stored.

    Examples
    --------
    >>> from metamery.analysis import evaluate
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> result = evaluate("accuracy", {"small": example_model()}, example_stimuli())
    >>> result.attrs["evaluator"], dict(result.accuracy.sizes)
    ('evaluators:accuracy', {'model': 1})
    >>> robust = evaluate("robustness", example_model(), example_stimuli(), epsilons=[0.1], steps=2, apgd_steps=2)
    >>> robust.epsilon.values.tolist()
    [0.0, 0.1]
    """
    plugins = plugins or Plugins()
    given = {**(options or {}), **more}
    if isinstance(evaluator, str):
        found = plugins.find("evaluator", evaluator)
        qualified, own = found.qualified, result_name(found.entry.name + found.member)
        function: Evaluator = plugins.load("evaluator", evaluator, **given)
    else:
        if given:
            raise MetameryError(f"{', '.join(given)}: options are for an evaluator by name; this one is made already")
        qualified = own = getattr(evaluator, "__qualname__", type(evaluator).__name__).partition(".")[0]
        function = evaluator
    if output is not None:
        check_group(folder_at(output), name or own, kind(folder_at(output)) in ("study", "damaged"))
    context = _context(of, stimuli, models, plugins, torch.device(device), seed, progress or Progress())
    dataset = measure(qualified, function, given, context, {"seed": seed})
    check_dataset(dataset)
    if output is not None:
        keep(folder_at(output), name or own, dataset)
    return dataset


def _context(
    of: Results | Model | Mapping[str, Model],
    stimuli: Stimuli | None,
    models: Model | Mapping[str, Model] | None,
    plugins: Plugins,
    device: torch.device,
    seed: int,
    progress: Progress,
) -> Context:
    """Return the context of a study, of metamers in memory, or of models."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(of, str | Path | RemotePath):
        folder = check_input(folder_at(of), ("study", "damaged"), "a study's folder")
        context = study_context(folder, plugins, device, generator, progress)
        return context if stimuli is None else replace(context, stimuli=stimuli)
    if _are_models(of):
        if stimuli is None:
            raise MetameryError("models are measured on stimuli: expected evaluate(EVALUATOR, MODELS, STIMULI)")
        return Context(_on_device(of, device), stimuli, None, device, generator, progress)
    if models is None:
        raise MetameryError("an open study and metamers do not hold their models: expected models={NAME: MODEL}")
    tree, named = study_tree(of), _on_device(models, device)
    keys = {}
    for results in models_of(tree):
        if results.name not in named:
            raise unknown("model of the study", results.name, named)
        keys[results.key] = named[results.name]
    signals = StoredStimuli(None, tree, keys) if stimuli is None else stimuli
    return Context(named, signals, tree, device, generator, progress)


def _are_models(of: object) -> TypeIs[Model | Mapping[str, Model]]:
    return isinstance(of, Model) or (isinstance(of, Mapping) and all(isinstance(each, Model) for each in of.values()))


def _on_device(models: Model | Mapping[str, Model], device: torch.device) -> dict[str, Model]:
    """Return models by name on a device, with their contracts checked; a single one is named ``model``."""
    named = {"model": models} if isinstance(models, Model) else dict(models)
    for model in named.values():
        on_device(model, device)
        examine(model, model.layers)
    return named


def is_study(path: Folder) -> bool:
    """Whether a folder holds the results of a study or of earlier evaluations, not those of a run."""
    return kind(home(path)) in ("study", "evaluations", "damaged")


def study_context(
    folder: Folder, plugins: Plugins, device: torch.device, generator: torch.Generator, progress: Progress
) -> Context:
    """Return the context of a study.

    Raises
    ------
    MetameryError
        The folder holds no study, one of its models has changed, or its natural signals are lost.
    """
    tree = open_study(folder)
    if "study" not in tree.attrs:
        raise MetameryError(f"'{folder}' holds evaluations, expected a study, or models to evaluate")
    lost = damages(folder)
    check_natural(folder, lost)
    tree = _moved_along(without_lost(folder, tree, lost), folder)
    study = Study.stored(tree.attrs["study"], folder).qualified(plugins)
    with plugins.trust.named_in(folder / STUDY_FILE), naming_missing(folder, plugins):
        parts = load_parts(study, plugins, device)
    check_models(folder, parts, tree)
    models = {part.name: part.model for part in parts}
    stimuli = StoredStimuli(folder, tree, {part.key: part.model for part in parts}, study.stimuli, plugins)
    return Context(models, stimuli, tree, device, generator, progress)


def _moved_along(tree: xr.DataTree, folder: Folder) -> xr.DataTree:
    """Name a file that syntheses started from where it is, if it was moved together with the study."""
    for results in models_of(tree):
        attributes = results.metamers.attrs
        settings = found_again(results.settings, folder)
        tree[f"models/{results.key}/metamers"].attrs = {**attributes, "settings": json.dumps(settings)}
    return tree


def models_context(
    names: Sequence[str],
    stimuli: Reference,
    plugins: Plugins,
    device: torch.device,
    generator: torch.Generator,
    progress: Progress,
) -> Context:
    """Return the context of models alone.

    Runs of one name are named with as much of their folders as tells them apart, ``run:FOLDER/NAME``; the second of two
    models that are the same otherwise is named ``NAME+2``.

    Raises
    ------
    MetameryError
        A name is unknown, or a folder is not a run.
    """
    models: dict[str, Model] = {}
    qualified = qualified_names(names, plugins)
    for name in names:
        if is_study(folder_at(name)):
            raise MetameryError(f"'{name}' is a study, which is evaluated alone: expected models")
        model: Model = plugins.load("model", name)
        on_device(model, device)
        examine(model, model.layers)
        models[numbered(qualified[name], models.__contains__)] = model
    return Context(models, load_stimuli(plugins, stimuli), None, device, generator, progress)


def qualified_names(names: Sequence[str], plugins: Plugins) -> dict[str, str]:
    """Return the qualified names of models; runs of one name with as much of their folders as tells them apart."""
    qualified = {name: "" if is_study(folder_at(name)) else plugins.find("model", name).qualified for name in names}
    alike: dict[str, list[str]] = {}
    for name, own in qualified.items():
        if is_run(Path(name)):
            alike.setdefault(own, []).append(name)
    for runs in alike.values():
        parts = [Path(run).resolve().parts for run in runs]
        depth = next((d for d in count(1) if len({path[-d:] for path in parts}) == len({*parts})), 1)
        qualified |= {run: f"run:{'/'.join(path[-depth:])}" for run, path in zip(runs, parts, strict=True)}
    return qualified


def held_out(runs: Sequence[str], plugins: Plugins) -> Reference:
    """Return the stimuli on which runs were validated after each epoch.

    Raises
    ------
    MetameryError
        A name is not a run's folder, or the runs were validated on different stimuli, or on none.
    """
    found: list[Reference] = []
    for run in runs:
        if not is_run(Path(run)):
            _check_known(run, plugins)
            raise MetameryError(f"'{run}' is not a run that records its stimuli: expected --stimuli NAME|FOLDER")
        validation = Run.read(Path(run)).qualified(plugins).validation
        if validation is None:
            raise MetameryError(f"run '{run}' was trained without validation: expected --stimuli NAME|FOLDER")
        found.append(validation)
    if any(other != found[0] for other in found):
        raise MetameryError("the runs were validated on different stimuli: expected --stimuli NAME|FOLDER")
    return found[0]


def _check_known(model: str, plugins: Plugins) -> None:
    """Raise `MetameryError` unless a name is that of a model or an existing path."""
    try:
        plugins.find("model", model)
    except UnknownNameError as error:
        if not Path(model).exists():
            nor = "" if str(error).startswith("no folder") else f"; nor is there a folder '{model}'"
            raise UnknownNameError(f"{error}{nor}") from None


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a study or of models by name, which any process can make.

    Parameters
    ----------
    evaluator
        Name of the evaluator.
    options
        Options of the evaluator.
    of
        Folder of a study, or names of models.
    stimuli
        Stimuli of models; None for a study.
    seed
        Seed of the evaluator's random choices.
    source
        File in which the names of the stimuli were read, unless the user gave them.
    """

    evaluator: str
    options: Mapping[str, Any]
    of: Folder | Sequence[str]
    stimuli: Reference | None = None
    seed: int = 0
    source: Path | None = None

    def context(self, plugins: Plugins, device: torch.device, progress: Progress) -> Context:
        """Load what is measured; see `study_context` and `models_context`."""
        generator = torch.Generator().manual_seed(self.seed)
        if isinstance(self.of, Path | RemotePath):
            return study_context(self.of, plugins, device, generator, progress)
        assert self.stimuli is not None
        with plugins.trust.named_in(self.source):
            return models_context(self.of, self.stimuli, plugins, device, generator, progress)

    def measure(self, function: Evaluator, plugins: Plugins, context: Context) -> xr.Dataset:
        """Run the evaluator, loaded, in a context; see `measure`."""
        about: dict[str, Any] = {"seed": self.seed}
        if self.stimuli is not None:
            about["stimuli"] = json.dumps(self.stimuli.qualified(plugins, "stimuli").table())
        return measure(plugins.find("evaluator", self.evaluator).qualified, function, self.options, context, about)

    def __call__(self, plugins: Plugins, device: torch.device) -> xr.Dataset:
        """Load what is measured, and measure it."""
        function: Evaluator = plugins.load("evaluator", self.evaluator, **self.options)
        return self.measure(function, plugins, self.context(plugins, device, Progress())).load()


def measure(
    name: str, evaluator: Evaluator, options: Mapping[str, Any], context: Context, about: Mapping[str, Any]
) -> xr.Dataset:
    """Run an evaluator, and record what it was made with, and `about`, in its dataset's attributes.

    Raises
    ------
    MetameryError
        The evaluator does not return a dataset.
    """
    dataset: Any = evaluator(context)
    if not isinstance(dataset, xr.Dataset):
        raise MetameryError(
            f"evaluator '{name.partition(':')[2] or name}' gave {type(dataset).__name__}, expected an xarray.Dataset"
        )
    return dataset.assign_attrs(
        evaluator=name,
        options=json.dumps(dict(options), default=str),
        models=list(context.models),
        weights_sha256=[model.weights_sha256() for model in context.models.values()],
        device=str(context.device),
        **about,
        **provenance(),
    )


def keep(folder: Folder, name: str, dataset: xr.Dataset) -> None:
    """Add a dataset to a folder's results, which are created if missing.

    Raises
    ------
    MetameryError
        The dataset does not pass the schema, or cannot be written.
    """
    if not has_results(folder):
        try:
            StudyStore.create(folder, {}, {"title": "Evaluations", **provenance()})
        except MetameryError:
            if not has_results(folder):  # otherwise another process was first
                raise
    StudyStore.reopen(folder).add(name, dataset)


def check_group(folder: Folder, name: str, of_study: bool = False) -> None:
    """Check that a folder can take an evaluator's results under a name, before anything is measured.

    Raises
    ------
    MetameryError
        The name is reserved, or the folder holds something else or cannot be written to.
    """
    check_result_name(name)
    check_output(folder, "study" if of_study else "evaluations")
    if (folder / RESULTS).is_dir():
        check_apart([name], [each.name for each in (folder / RESULTS).iterdir()])
