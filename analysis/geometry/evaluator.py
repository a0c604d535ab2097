"""Local geometry: which changes of a signal each layer notices most and least, and how many it notices at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, names, number, whole
from ...framework.context import Context
from ...framework.contract import examine
from ...framework.domains import Domain, WaveformDomain
from ...framework.errors import MetameryError
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from ...framework.running import signal_type
from ...framework.schema import site_coordinates
from ...framework.stimuli import Stimulus
from ..studies.batches import drawn_seed, fit, running
from .eigendistortions import MAX_COMPONENTS, Geometry, local_geometry, most_products
from .jacobian import BLOCK, Jacobian

_PER_SITE = {
    "effective_dimension": "participation ratio of the Jacobian's squared singular values",
    "effective_dimension_error": "standard error of the effective dimension",
    "free_share": "share of the signal's dimensions that do not move the layer, at least",
    "gain": "root mean square movement of the layer along a random direction",
    "least_singular_value": "how much the layer moves along the least noticeable distortion",
    "least_residual": "how far that is from exact, relative to the gain squared",
    "exact": "whether the whole spectrum is known, so that the effective dimension and the free share are exact",
}

_PER_COMPONENT = {
    "singular_value": ("singular_values", "how much the layer moves along the most noticeable distortion"),
    "residual": ("residuals", "how far that is from exact, relative to the largest singular value squared"),
}


def geometry(
    components: int = 6,
    layers: Sequence[str] | None = None,
    limit: int = 2,
    probes: int = 16,
    iterations: int = 50,
    tolerance: float = 1e-4,
) -> Evaluator:
    """Build the evaluator: the local geometry of each layer at the first stimuli, see `local_geometry`.

    It computes the largest singular values of the layer's Jacobian, its most noticeable distortions and the least
    noticeable one (eigendistortions, Berardino et al. 2017), and the effective dimension of what the layer notices.
    Random numbers depend on the seed and the stimulus's name only. In float32 the distortions take ``4 · components +
    4`` bytes for each layer, stimulus and sample, 4 MB for a picture of 3 × 224 × 224; the search takes 300 MB for such
    a picture, in addition to the network.

    Cost for each layer and stimulus, in vectors that pass through the network to that layer and back: half the number
    of units or of samples if the smaller of them is at most 512, otherwise up to ``2 · iterations``; and ``2 ·
    components + probes`` more.

    Parameters
    ----------
    components
        Number of most noticeable distortions, 1 to 20.
    layers
        Layers of every model; by default its own.
    limit
        Number of stimuli, from the first.
    probes
        Number of random vectors for the effective dimension of large layers, at least 2.
    iterations, tolerance
        Largest number of iterations of the search in large layers, at least `components`, and the residual at which
        it stops.

    Raises
    ------
    MetameryError
        An option is out of range; or, when run, the models' domains differ, so that distortions would not fit in one
        array, or a model lacks a layer.
    """
    given = {"components": (components, 1), "limit": (limit, 1), "probes": (probes, 2)}
    for name, (value, least) in (given | {"iterations": (iterations, components)}).items():
        whole(name, value, least, MANY)
    if components > MAX_COMPONENTS:
        raise MetameryError(f"components is {components}, expected at most {MAX_COMPONENTS}")
    number("tolerance", tolerance, above=0)
    if layers is not None and not names("layers", layers):
        raise MetameryError("layers is [], expected a list of names")

    def passes(context: Context) -> Passes:
        domain = one_domain(context, "geometry")
        products = dict.fromkeys(context.models, 0)
        for name, layer in _sites(context, layers):
            units = {each.name: each.units for each in examine(context.models[name], [layer]).outline}
            samples = math.prod(domain.shape)
            products[name] += most_products(samples, units.get(layer, samples), components, probes, iterations)
        return Passes(0, max(products.values()) * min(limit, len(context.stimuli)), BLOCK)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        domain = one_domain(context, "geometry")
        seed = drawn_seed(context)
        sites = _sites(context, layers)
        stimuli = [context.stimuli[index] for index in range(min(limit, len(context.stimuli)))]
        natural = fit(stimuli, {domain}, context.device)[domain]
        context.progress.start(len(sites) * len(stimuli), "layers")
        found = []
        with running(context):
            for name, layer in sites:
                model = context.models[name]
                axes = examine(model, [layer]).axes
                row = []
                for stimulus, signal in zip(stimuli, natural.to(signal_type(model.module)), strict=True):
                    own = torch.Generator().manual_seed(derived_seed(seed, "geometry", stimulus.name))
                    jacobian = Jacobian(model.module, layer, signal, axes=axes)
                    row.append(
                        local_geometry(
                            jacobian,
                            own,
                            components=components,
                            probes=probes,
                            iterations=iterations,
                            tolerance=tolerance,
                        )
                    )
                    context.progress.advance()
                found.append(row)
        return _dataset(found, sites, stimuli, natural, domain)

    return evaluate


def one_domain(context: Context, what: str) -> Domain:
    """Return the domain that all models share; `what` names the evaluator.

    Raises
    ------
    MetameryError
        The models' domains differ.
    """
    domains = list(dict.fromkeys(model.domain for model in context.models.values()))
    if len(domains) > 1:
        raise MetameryError(
            f"the models take different signals ({'; '.join(map(str, domains))}): {what} expects models of one domain"
        )
    return domains[0]


def _sites(context: Context, layers: Sequence[str] | None) -> list[tuple[str, str]]:
    sites = []
    for name, model in context.models.items():
        names = list(dict.fromkeys(layers or model.layers))
        examine(model, names)  # refuses a wrong name before anything is computed
        sites += [(name, layer) for layer in names]
    return sites


def _dataset(
    found: list[list[Geometry]],
    sites: list[tuple[str, str]],
    stimuli: Sequence[Stimulus],
    natural: torch.Tensor,
    domain: Domain,
) -> xr.Dataset:
    def stacked(field: str) -> Any:
        return np.stack([np.stack([np.asarray(getattr(each, field)) for each in row]) for row in found])

    per = ("site", "stimulus")
    each, moved = (*per, "component"), "the layer's units per unit of the signal"
    units = {"gain": moved, "singular_value": moved, "least_singular_value": moved}
    variables: dict[str, Any] = {}
    for name, meaning in _PER_SITE.items():
        values = stacked(name).astype(np.int8 if name == "exact" else np.float64)
        variables[name] = (per, values, {"long_name": meaning, "units": units.get(name, "1")})
    variables["exact"][2].update(flag_values=[0, 1], flag_meanings="no yes")
    for name, (field, meaning) in _PER_COMPONENT.items():
        attributes = {"long_name": meaning, "units": units.get(name, "1")}
        variables[name] = (each, stacked(field).astype(np.float64), attributes)
    what = "distortion of unit norm that moves the layer"
    most, least = stacked("most").astype(np.float32), stacked("least").astype(np.float32)
    variables["most_noticeable"] = (
        (*each, *domain.dims),
        most,
        {"long_name": f"{what} most", "units": "1", "display": "scaled"},
    )
    variables["least_noticeable"] = (
        (*per, *domain.dims),
        least,
        {"long_name": f"{what} least", "units": "1", "display": "scaled"},
    )
    attributes = {"long_name": "natural signal, as the models get it", "units": "1"}
    variables["natural"] = (("stimulus", *domain.dims), natural.cpu().numpy(), attributes)
    coordinates = {
        **site_coordinates(sites),
        "stimulus": [stimulus.name for stimulus in stimuli],
        "component": np.arange(1, variables["residual"][1].shape[-1] + 1),
    }
    dataset = xr.Dataset(variables, coordinates)
    dataset["component"].attrs = {"long_name": "the most noticeable first", "units": "1"}
    dataset.attrs = {
        "title": "Local geometry",
        "reading_order": ["effective_dimension", "free_share", "singular_value", "gain"],
        "read_first": "The effective dimension is the number of directions that a layer notices about equally; the "
        "fewer, the more it ignores.",
        "low": domain.low,
        "high": domain.high,
        "warnings": [
            f"{name} {layer}: its Jacobian at '{stimulus.name}' is not finite"
            for (name, layer), row in zip(sites, found, strict=True)
            for stimulus, result in zip(stimuli, row, strict=True)
            if math.isnan(result.gain)
        ],
    }
    if isinstance(domain, WaveformDomain):
        dataset.attrs["sample_rate"] = domain.sample_rate
    return dataset
