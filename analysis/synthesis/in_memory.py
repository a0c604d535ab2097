"""`synthesise`: metamers of objects, in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ...framework.choosing import choose_layers
from ...framework.contract import has_relus, on_device
from ...framework.devices import check_precision
from ...framework.errors import MetameryError
from ...framework.joint import is_joint
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.protocols import Distance, OptimizerFactory
from ...framework.provenance import provenance
from ...framework.running import ordinary
from ...framework.schema import fitted_variables, match_variables, stimuli_variables
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.store import Group
from ..proof.measures import measured_layers
from .driver import NaturalSignals, make_metamers, match_group, metamer_group, updates
from .procedure import Procedure
from .settings import Settings, resolve_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@ordinary()
def synthesise(
    model: Model,
    stimuli: Stimuli | Sequence[Stimulus],
    layers: Sequence[str] | None = None,
    preset: str | Settings = "fast",
    *,
    seed: int = 0,
    distance: Distance | str | None = None,
    optimizer: OptimizerFactory | str | None = None,
    null: xr.Dataset | None = None,
    plugins: Plugins | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    **changes: Any,
) -> xr.Dataset:
    """Make metamers of stimuli at layers of a model, in memory.

    Parameters
    ----------
    model
        The network.
    stimuli
        Natural signals with unique names; each is fitted to the model's domain.
    layers
        Layers, as `choose_layers` takes them: names, patterns, or a number of them; the model's own by default.
    preset
        ``fast``, ``feather2023`` or `Settings`.
    seed
        Seed of all random choices.
    distance
        A registered name, or ``(activations, targets) -> (B,)`` in place of the one that the settings name.
    optimizer
        A registered name, or ``make(parameters) -> torch.optim.Optimizer`` in place of the one that the settings name;
        the learning rate is that of the settings.
    null
        From `null_distribution`, for ``stop="verdict"``.
    plugins
        Plugins in which the distance and the optimizer that the settings name are looked up; all that are installed by
        default.
    device
        Device to compute on.
    progress
        Display of the progress, for example a `ProgressBar`.
    **changes
        Any field of `Settings` to be changed, such as ``steps=200`` or ``seeds=2``.

    Returns
    -------
    xarray.Dataset
        The variables of the groups ``metamers`` and ``match`` of a study; the natural signals and the model's answers
        to them as ``natural``, ``natural_predicted``, ``natural_confidence`` and ``natural_correct``; ``category``,
        ``source``, ``licence`` and ``group`` of each stimulus. Its attributes describe the model, the settings and the
        versions, so that `write_report`, `recognise`, `compare`, `export` and `to_table` need nothing else.

    Raises
    ------
    MetameryError
        A name is unknown, a stimulus does not fit the domain, there are no stimuli, two have the same name, or
        ``stop="verdict"`` is given without a null.

    Examples
    --------
    >>> from metamery.analysis import synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), layers=["1"], steps=5)
    >>> dict(metamers.loss.sizes)
    {'layer': 1, 'stimulus': 3, 'seed': 1, 'step': 6}
    """
    if isinstance(distance, str):
        changes["distance"], distance = distance, None
    if isinstance(optimizer, str):
        changes["optimizer"], optimizer = optimizer, None
    settings = resolve_settings(preset, **changes)
    layers = choose_layers(model, layers or ())
    device = torch.device(device)
    check_precision(settings.precision, device)
    procedure = Procedure.load(settings, plugins or Plugins(), distance, optimizer)
    items = [stimuli[index] for index in range(len(stimuli))]
    names = _names(items)
    natural = torch.stack([model.domain.fit(stimulus) for stimulus in items])
    on_device(model, device)
    result = _empty(model, layers, items, procedure)
    result["natural"].values[:] = natural.numpy()
    result.attrs |= {"seed": seed, "device": str(device), "threads": torch.get_num_threads()}
    right = [model.class_numbers(stimulus.right_answers(model.label_space) or ()) for stimulus in items]

    def write(path: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        prefix = "natural_" if path == "stimuli" else ""
        for name, value in values.items():
            variable = result[prefix + name]
            variable.values[tuple(region.get(str(dim), slice(None)) for dim in variable.dims)] = value

    def grade(stimulus: int, predicted: int) -> int:
        return int(predicted in right[stimulus]) if right[stimulus] else -1

    progress = progress or Progress()
    progress.start(updates(len(layers), len(names), settings))
    make_metamers(
        model,
        NaturalSignals(names, lambda block: natural[block], grade),
        layers,
        [str(layer) for layer in result["measured_layer"].values],
        procedure,
        seed=seed,
        write=write,
        done=np.zeros((len(layers), len(names), settings.seeds), dtype=bool),
        null=null,
        device=device,
        progress=progress,
    )
    return result


def _empty(model: Model, layers: Sequence[str], stimuli: Sequence[Stimulus], procedure: Procedure) -> xr.Dataset:
    """All variables of the result, filled with what is known before synthesis, with the model's attributes."""
    names, measured = [stimulus.name for stimulus in stimuli], measured_layers(model, layers)
    settings = procedure.settings
    group = metamer_group(model, layers, names, settings, procedure.start)
    at = match_group(layers, measured, names, settings)
    match = match_variables(joint=any(map(is_joint, layers)))
    natural = {
        "natural" if name == "signal" else f"natural_{name}": variable
        for name, variable in fitted_variables(model.domain.dims).items()
    }
    answers = {stimulus.name: {s: sorted(a, key=str) for s, a in stimulus.answers.items()} for stimulus in stimuli}
    versions = {name: value for name, value in provenance().items() if name != "created"}  # equal calls, equal results
    result = Group(
        {**group.variables, **match, **natural, **stimuli_variables()},
        {**group.coordinates, **at.coordinates},
        group.sizes,
        attributes={**group.attributes, **model.attributes(), "answers": json.dumps(answers), **versions},
    ).empty()
    for name in stimuli_variables():
        result[name].values[:] = [getattr(stimulus, name) for stimulus in stimuli]
    relus = has_relus(model, layers)
    result["modified_relu"].values[:] = [relu and settings.modified_relu for relu in relus]
    return result


def _names(stimuli: Sequence[Stimulus]) -> list[str]:
    """The stimuli's names, under which results are stored."""
    if not stimuli:
        raise MetameryError("there are no stimuli, expected at least one")
    names = [stimulus.name for stimulus in stimuli]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise MetameryError(f"two stimuli are called '{repeated}', expected unique names: Stimulus(…, name=…)")
    return names
