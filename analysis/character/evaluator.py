"""Character: what metamers are like, whatever the network's answer to them, and what folds in the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ...framework.checks import whole
from ...framework.context import Context
from ...framework.models import Model
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.schema import METRIC_UNITS
from ..proof.measures import measured_layers
from ..studies.batches import running
from ..studies.metamers import ModelMetamers, join, metamers_of
from .signals import ABOUT, Diversity, compare_with_natural, describe, measures_of
from .spectra import Folding, check_cutoff

Floats = NDArray[np.float64]


def character(cutoff: float = 0.5, batch_size: int = 16) -> Evaluator:
    """Build the evaluator: what the metamers of a study are like, each of them and on average at each layer.

    ``psnr_db``, ``ssim`` (pictures), ``slope``, ``energy_above``, ``peak_db`` and ``rms_db`` (sounds) are ``(site,
    stimulus, seed)``; the last four are measured of the natural signals, too, ``natural_… (site, stimulus)``.

    ``diversity (site, stimulus, measured_layer)``: the root mean square distance between metamers of one stimulus from
    different seeds, relative to that between metamers of different stimuli: of the signals (``input``) and of the
    activations. 0 means that seeds give the same metamer, 1 that they differ as much as stimuli. NaN with one seed.

    ``aliasing (site, stimulus, seed, measured_layer)``: at each step where the model subsamples, the share of the
    activation's energy that folds; see `Folding`. ``natural_aliasing (site, stimulus, measured_layer)`` of the natural
    signals. The network's strided operations are run with a stride of 1, one signal at a time.

    A metamer that failed or is missing is NaN. Models are run on all seeds of a stimulus together, so activations of
    `batch_size` signals, or of as many as there are seeds, are in memory at once.

    Parameters
    ----------
    cutoff
        Cut-off of ``energy_above``, as a fraction of the Nyquist frequency.
    batch_size
        Number of signals that are processed at once.

    Raises
    ------
    MetameryError
        An option is out of range; there is no study, or one of its models was not loaded.
    """
    check_cutoff(cutoff)
    whole("batch_size", batch_size, 1)

    def passes(context: Context) -> Passes:
        made = metamers_of(context, "character")
        most = max(len(each.stimuli) * (1 + len(each.layers) * len(each.seeds)) for each in made)
        return Passes(most, batch_size=batch_size, forward_pass=_described)

    def _described(model: Model, signals: torch.Tensor) -> None:
        with Folding(model.module):
            model.module(signals)
        compare_with_natural(signals, signals, model.domain)
        describe(signals, model.domain, cutoff)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        made = metamers_of(context, "character")
        context.progress.start(sum(1 + len(each.layers) for each in made), "character")
        with running(context), torch.no_grad():
            dataset = join([_character(each, context, cutoff, batch_size) for each in made])
        dataset["summary"] = _summary(dataset)
        dataset.attrs = {
            "title": "What the metamers are like",
            "description": "Distance from the stimulus, spectrum, diversity over seeds, and what folds in the network.",
            "reading_order": ["summary", "diversity", "aliasing"],
            "read_first": "Down a column, a measure changes from layer to layer; the values of natural signals are in "
            "the columns natural_….",
            "cutoff": cutoff,
            **made[0].priors,
        }
        return dataset

    return evaluate


def _character(made: ModelMetamers, context: Context, cutoff: float, batch_size: int) -> xr.Dataset:
    module, domain = made.model.module, made.domain
    measured = measured_layers(made.model, ["input", *made.layers])
    natural: dict[str, list[Floats]] = {}
    folded: list[dict[str, Floats]] = []
    for _, signals in made.naturals(batch_size):
        with Folding(module) as folding:
            module(signals)
        folded.append(_arrays(folding.shares))
        for name, values in _arrays(describe(signals, domain, cutoff)).items():
            natural.setdefault(name, []).append(values)
    context.progress.advance()
    steps = list(folded[0])
    names = list(measured_layers(made.model, [*measured, *steps]))
    each = (len(made.layers), len(made.stimuli), len(made.seeds))
    found = {name: np.full(each, np.nan) for name in measures_of(domain)}
    aliasing, diversity = (np.full((*shape, len(names)), np.nan) for shape in (each, each[:2]))
    for layer in range(len(made.layers)):
        spread = {name: Diversity() for name in measured}
        for batch in made.batches(layer, batch_size):
            at = (layer, batch.stimulus, batch.seed)
            activations = dict.fromkeys(measured, batch.metamers)
            if len(batch.metamers):
                taken = describe(batch.metamers, domain, cutoff)
                taken |= compare_with_natural(batch.metamers, batch.paired, domain)
                for name, values in _arrays(taken).items():
                    found[name][at] = values
                with made.model.tap(measured) as tap, Folding(module) as folding:
                    activations = tap(batch.metamers)
                for name, values in _arrays(folding.shares).items():
                    aliasing[(*at, names.index(name))] = values
            for name, activation in activations.items():
                for row in range(len(batch.natural)):
                    spread[name].add(activation[batch.row == row])
        for name, own in spread.items():
            diversity[layer, :, names.index(name)] = own.result().cpu().numpy()
        context.progress.advance()
    variables: dict[str, Any] = {}
    for name, values in found.items():
        what, units = ABOUT[name]
        variables[name] = (("site", "stimulus", "seed"), values, {"long_name": what, "units": units})
        if name in natural:
            table = np.tile(np.concatenate(natural[name]), (each[0], 1))
            about = {"long_name": f"{what}, of the natural signal", "units": units}
            variables[f"natural_{name}"] = (("site", "stimulus"), table, about)
    what = "distance between seeds relative to that between stimuli"
    dims = ("site", "stimulus", "measured_layer")
    about = {"long_name": what, "units": "1", "missing": "diversity is of several seeds and several stimuli"}
    variables["diversity"] = (dims, diversity, about)
    what = "share of the activation's energy that folds where it is subsampled"
    table = np.full((*each[:2], len(names)), np.nan)
    for step in steps:
        table[:, :, names.index(step)] = np.concatenate([part[step] for part in folded])
    variables["natural_aliasing"] = (dims, table, {"long_name": f"{what}, of natural signals", "units": "1"})
    variables["aliasing"] = (("site", "stimulus", "seed", dims[-1]), aliasing, {"long_name": what, "units": "1"})
    return xr.Dataset(variables, {**made.coordinates, "measured_layer": names})


def _summary(dataset: xr.Dataset) -> xr.DataArray:
    """The mean of each measure at each site, ``(site, metric)``; diversity is that of the signals."""
    signals = dataset.assign(diversity=dataset["diversity"].sel(measured_layer="input", drop=True))
    means = signals.map(lambda array: array.mean([dim for dim in array.dims if dim != "site"]))
    table = means.to_dataarray("metric").assign_coords(metric=list(means.data_vars)).drop_attrs()
    return table.transpose("site", "metric").assign_attrs(long_name="mean over stimuli and seeds", units=METRIC_UNITS)


def _arrays(values: Mapping[str, torch.Tensor]) -> dict[str, Floats]:
    return {name: value.double().cpu().numpy() for name, value in values.items()}
