"""Evaluating: from names to what an evaluator is given, and from what it found to a store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import xarray as xr

from ...framework.context import Context
from ...framework.contract import examine, on_device
from ...framework.errors import MetameryError
from ...framework.folders import RESULTS, check_output, home, kind
from ...framework.groups import check_apart, check_result_name, numbered
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.provenance import provenance
from ...framework.registry import is_run
from ...framework.results import open_study
from ...framework.run import Run
from ...framework.store import StudyStore
from ...framework.study import Study, Use, load_stimuli
from .damage import check_natural, damages, without_lost
from .run_study import load_parts
from .stored_stimuli import StoredStimuli
from .unchanged import check_models

if TYPE_CHECKING:
    pass


def is_study(path: Path) -> bool:
    """Whether a folder holds results that are no run's: a study's, or those of earlier evaluations."""
    return kind(home(path)) in ("study", "evaluations", "damaged")


def study_context(
    folder: Path, plugins: Plugins, device: torch.device, generator: torch.Generator, progress: Progress
) -> Context:
    """What an evaluator is given of a study.

    Raises
    ------
    MetameryError
        The folder holds no study, one of its models is another now, or its natural signals are lost.
    """
    tree = open_study(folder)
    if "study" not in tree.attrs:
        raise MetameryError(f"'{folder}' holds evaluations, expected a study, or models to evaluate")
    found = damages(folder)
    check_natural(folder, found)
    tree = without_lost(folder, tree, found)
    asked = Study.from_toml(tree.attrs["study"])
    parts = load_parts(asked, plugins, device)
    check_models(folder, parts, tree)
    models = {part.name: part.model for part in parts}
    stimuli = StoredStimuli(folder, tree, {part.key: part.model for part in parts}, asked.stimuli, plugins)
    return Context(models, stimuli, tree, device, generator, progress)


def models_context(
    names: Sequence[str],
    stimuli: Use,
    plugins: Plugins,
    device: torch.device,
    generator: torch.Generator,
    progress: Progress,
) -> Context:
    """What an evaluator is given of models by themselves; of two with one name the second is called ``NAME+2``.

    Raises
    ------
    MetameryError
        A name is unknown, or a folder is not a run.
    """
    models: dict[str, Model] = {}
    for name in names:
        if is_study(Path(name)):
            raise MetameryError(f"'{name}' is a study, which is evaluated by itself: expected models alone")
        model: Model = plugins.load("model", name)
        on_device(model, device)
        examine(model, model.layers)
        models[numbered(plugins.find("model", name).qualified, models.__contains__)] = model
    return Context(models, load_stimuli(plugins, stimuli), None, device, generator, progress)


def held_out(runs: Sequence[str]) -> Use:
    """The signals that runs were measured on after each epoch.

    Raises
    ------
    MetameryError
        A name is not a run's folder, or the runs were measured on different signals, or on none.
    """
    found: list[Use] = []
    for run in runs:
        if not is_run(Path(run)):
            raise MetameryError(
                f"'{run}' is not a run, so it does not say what to measure it on: --stimuli NAME|FOLDER does"
            )
        validation = Run.read(Path(run)).validation
        if validation is None:
            raise MetameryError(f"run '{run}' was validated on nothing: expected --stimuli NAME|FOLDER")
        found.append(validation)
    if any(other != found[0] for other in found):
        raise MetameryError(
            "the runs were not all validated on the same signals: --stimuli NAME|FOLDER says which to take"
        )
    return found[0]


def measure(
    evaluator: str, options: Mapping[str, Any], context: Context, plugins: Plugins, about: Mapping[str, Any]
) -> xr.Dataset:
    """Run an evaluator; its dataset then says what it was made with, and `about` whatever else.

    Raises
    ------
    MetameryError
        The name or an option is unknown, or it gives no dataset.
    """
    found = plugins.find("evaluator", evaluator)
    dataset = plugins.load("evaluator", evaluator, **options)(context)
    if not isinstance(dataset, xr.Dataset):
        raise MetameryError(f"evaluator '{found.entry.name}' gave {type(dataset).__name__}, expected an xarray.Dataset")
    return dataset.assign_attrs(
        evaluator=found.qualified,
        options=json.dumps(dict(options)),
        models=list(context.models),
        weights_sha256=[model.weights_sha256() for model in context.models.values()],
        device=str(context.device),
        **about,
        **provenance(),
    )


def keep(folder: Path, name: str, dataset: xr.Dataset) -> None:
    """Add a dataset to a folder's results, which are made where there are none.

    Raises
    ------
    MetameryError
        The dataset does not pass the schema, or cannot be written.
    """
    if not (folder / RESULTS).exists():
        try:
            StudyStore.create(folder, {}, {"title": "Evaluations", **provenance()})
        except MetameryError:
            if not (folder / RESULTS).exists():  # otherwise another process was first
                raise
    StudyStore.reopen(folder).add(name, dataset)


def check_place(folder: Path, name: str, of_study: bool = False) -> None:
    """Hold a name and the folder that an evaluator's results go to against what is there, before it measures.

    Raises
    ------
    MetameryError
        The name is reserved, or the folder holds something else or cannot be written to.
    """
    check_result_name(name)
    check_output(folder, "study" if of_study else "evaluations")
    if (folder / RESULTS).is_dir():
        check_apart([name], [each.name for each in (folder / RESULTS).iterdir()])
