"""Which small changes of a signal tell models apart best, and where each model stands between the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, flag, names, number, whole
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
from ..statistics.intervals import draws, means, percentiles, with_ends
from ..studies.batches import drawn_seed, fit, running
from .ascent import Bounds
from .eigendistortions import distorted
from .evaluator import one_domain
from .jacobian import BLOCK, Jacobians
from .principal_distortions import PrincipalDistortions, most_products
from .principal_distortions import principal_distortions as search

_NAME = "principal-distortions"

_CONVERGED = 0.01  # largest late rise that is no warning


def principal_distortions(
    layers: Sequence[str] | None = None,
    limit: int = 4,
    steps: int = 200,
    starts: int = 4,
    floor: float = 0.1,
    size: float = 0.05,
    bounded: bool = True,
    probes: int = 32,
    resamples: int = 2000,
    batch_size: int = 4,
) -> Evaluator:
    """Build the evaluator: the principal distortions of the models at the first stimuli, see the function of this name.

    The pair of distortions that spreads the models' sensitivities most (Feather, Lipshutz, Harvey, Williams &
    Simoncelli 2025); by how much more each model notices the first one than the second one is its position, and the
    difference of two positions their distance. Intervals are percentiles of a bootstrap over stimuli. Random numbers
    depend on the seed and the stimulus's name only.

    Cost for each model and stimulus, in vectors that pass through the network to its layer and back: the number of
    units or of samples if the smaller of them is at most 512, otherwise up to ``4 · starts · (steps + 1) + probes``.
    The passes of all models are in memory at once, with ``2 · batch_size`` signals in each, and about ``64 · starts``
    vectors for each signal.

    Parameters
    ----------
    layers
        One layer of all models, or one for each in their order; by default their result, ``output``.
    limit
        Number of stimuli, from the first.
    steps, starts
        Largest number of steps of the search, and number of random pairs from which it starts.
    floor
        Least sensitivity to a distortion, relative to that to a random one; above 0, at most 1. Without it a direction
        to which a model is blind would be infinitely far from one that it notices.
    size
        Root mean square of a distortion as it is shown, and bounded, as a fraction of the signals' range.
    bounded
        Whether the search is restricted to distortions of this size that keep the signal in its range. If not, signals
        are clamped when they are shown.
    probes
        Number of random vectors from which a large layer's sensitivity to random distortions is estimated.
    resamples
        Number of resamples of the bootstrap.
    batch_size
        Number of stimuli that are searched at once; each is searched as if it were alone.

    Raises
    ------
    MetameryError
        An option is out of range; or, when run, there is one model, the models' domains differ, a model lacks a layer,
        or the number of layers is neither 1 nor that of the models.
    """
    counts = {"limit": limit, "steps": steps, "starts": starts, "probes": probes, "resamples": resamples}
    for name, value in (counts | {"batch_size": batch_size}).items():
        whole(name, value, 1, MANY)
    number("floor", floor, above=0, most=1)
    number("size", size, above=0, most=1)
    flag("bounded", bounded)
    if layers is not None and not names("layers", layers):
        raise MetameryError("layers is [], expected a list of names")

    def passes(context: Context) -> Passes:
        samples = math.prod(one_domain(context, _NAME).shape)
        products = []
        for name, layer in _sites(context, layers):
            units = {each.name: each.units for each in examine(context.models[name], [layer]).outline}
            products.append(most_products(samples, units.get(layer, samples), starts, steps, probes))
        return Passes(0, max(products) * min(limit, len(context.stimuli)), BLOCK * batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        sites = _sites(context, layers)
        domain = one_domain(context, _NAME)
        seed = drawn_seed(context)
        stimuli = [context.stimuli[index] for index in range(min(limit, len(context.stimuli)))]
        natural = fit(stimuli, {domain}, context.device)[domain]
        norm = size * (domain.high - domain.low) * math.sqrt(natural[0].numel())
        context.progress.start(len(stimuli), "stimuli")
        found: list[PrincipalDistortions] = []
        with running(context):
            for first in range(0, len(stimuli), batch_size):
                some = slice(first, first + batch_size)
                signals = natural[some]
                jacobians = [_jacobians(context, name, layer, signals) for name, layer in sites]
                bounds = _bounds(signals, domain, norm) if bounded else None
                seeds = [derived_seed(seed, _NAME, stimulus.name) for stimulus in stimuli[some]]
                own = [torch.Generator().manual_seed(each) for each in seeds]
                found += search(jacobians, own, starts=starts, steps=steps, floor=floor, probes=probes, bounds=bounds)
                del jacobians  # before the next batch's, which take as much memory
                context.progress.advance(len(signals))
        dataset = _dataset(found, sites, stimuli, natural.cpu(), domain, norm)
        return dataset.assign_coords(site_coordinates(sites, "other_site")).assign(
            _positions(dataset, np.random.default_rng(seed), resamples)
        )

    return evaluate


def _sites(context: Context, layers: Sequence[str] | None) -> list[tuple[str, str]]:
    count = len(context.models)
    if count < 2:
        raise MetameryError(f"{_NAME} compares models: {count} given, expected at least two")
    one_domain(context, _NAME)
    named = list(layers or ["output"])
    if len(named) not in (1, count):
        raise MetameryError(f"layers has {len(named)} names for {count} models, expected one for all or one for each")
    sites = list(zip(context.models, named * count if len(named) == 1 else named, strict=True))
    for name, layer in sites:
        examine(context.models[name], [layer])  # refuses a wrong name before anything is computed
    return sites


def _jacobians(context: Context, name: str, layer: str, signals: torch.Tensor) -> Jacobians:
    model = context.models[name]
    axes = examine(model, [layer]).axes
    return Jacobians(model.module, layer, signals.to(signal_type(model.module)), axes=axes)


def _bounds(signals: torch.Tensor, domain: Domain, norm: float) -> Bounds:
    """Bounds of distortions of unit norm that are added to signals ``(S, …)`` with a norm: ``(S, samples)`` each."""
    flat = signals.flatten(1)
    return Bounds(((domain.low - flat) / norm).clamp(max=0), ((domain.high - flat) / norm).clamp(min=0))


def _dataset(
    found: Sequence[PrincipalDistortions],
    sites: list[tuple[str, str]],
    stimuli: Sequence[Stimulus],
    natural: torch.Tensor,
    domain: Domain,
    norm: float,
) -> xr.Dataset:
    def stacked(field: str) -> np.ndarray:
        return np.stack([getattr(each, field).numpy() for each in found])

    def described(dims: tuple[str, ...], values: Any, meaning: str, units: str = "1", **attributes: str) -> Any:
        return dims, values, {"long_name": meaning, "units": units, **attributes}

    pairs = stacked("distortions").astype(np.float32)
    shown = np.stack(
        [
            torch.stack([distorted(signal, each, norm, domain) for each in torch.from_numpy(pair)]).numpy()
            for signal, pair in zip(natural, pairs, strict=True)
        ]
    )
    of_signal = ("stimulus", "distortion", *domain.dims)
    logs = np.moveaxis(stacked("log_sensitivities"), 0, 1)  # (site, stimulus, distortion)
    spread = (logs[..., 0] - logs[..., 1]).std(axis=0)
    variables = {
        "log_sensitivity": described(
            ("site", "stimulus", "distortion"),
            logs,
            "natural logarithm of how much more a model notices a distortion than a random one of its size",
            display="map",
        ),
        "spread": described(("stimulus",), spread, "standard deviation over models of their positions"),
        "objective": described(
            ("stimulus", "seed", "step"),
            stacked("objective"),
            "variance over models of their positions, of the best pair up to each step of the search",
        ),
        "late_rise": described(
            ("stimulus",),
            _late_rise(stacked("objective")),
            "fraction of the best start's objective that was gained in the last tenth of the steps",
        ),
        "gain": described(
            ("site", "stimulus"),
            stacked("gains").T,
            "root mean square movement of the layer along a random direction",
            "the layer's units per unit of the signal",
        ),
        "natural": described(("stimulus", *domain.dims), natural.numpy(), "natural signal, as the models get it"),
        "principal_distortion": described(of_signal, pairs, "principal distortion of unit norm", display="scaled"),
        "distorted": described(of_signal, shown, "natural signal with the distortion added"),
    }
    steps, starts = stacked("objective").shape[:0:-1]
    coordinates = {
        **site_coordinates(sites),
        "stimulus": [stimulus.name for stimulus in stimuli],
        "distortion": ["first", "second"],
        "seed": np.arange(starts),
        "step": np.arange(1, steps + 1),
    }
    dataset = xr.Dataset(variables, coordinates)
    dataset["distortion"].attrs = {
        "long_name": f"the first is the one that {sites[0][0]} notices more, compared with the models' mean",
        "units": "1",
    }
    dataset.attrs = {
        "title": "Principal distortions",
        "reading_order": ["position", "log_sensitivity", "distance", "spread", "late_rise", "objective"],
        "read_first": "A model's position is the logarithm of how much more it notices the first distortion than the "
        f"second, minus the mean of all models; {sites[0][0]}'s is positive at every stimulus. Among all pairs of "
        "distortions this one spreads the models' positions most.",
        "low": domain.low,
        "high": domain.high,
        "warnings": _warnings(found, sites, stimuli),
    }
    if isinstance(domain, WaveformDomain):
        dataset.attrs["sample_rate"] = domain.sample_rate
    return dataset


def _late_rise(objective: np.ndarray) -> np.ndarray:
    """How far the search of each stimulus is from its end, of objectives ``(stimulus, seed, step)``."""
    best = objective[np.arange(len(objective)), objective[..., -1].argmax(axis=1)]  # (stimulus, step)
    rise = best[:, -1] - best[:, -1 - -(-best.shape[1] // 10)] if best.shape[1] > 1 else best[:, -1]
    return np.asarray(np.divide(rise, best[:, -1], out=np.zeros_like(rise), where=best[:, -1] != 0))


def _positions(dataset: xr.Dataset, generator: np.random.Generator, resamples: int) -> dict[str, Any]:
    """Positions of models and their distances, with intervals over stimuli; none for a single stimulus."""
    logs = dataset["log_sensitivity"].values
    ratios = logs[..., 0] - logs[..., 1]  # (site, stimulus)
    ratios = ratios - ratios.mean(axis=0)
    distances = np.abs(ratios[:, None] - ratios[None])  # (site, other_site, stimulus)
    count = ratios.shape[-1]
    drawn = draws(count, resamples, generator)

    def averaged(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = percentiles(means(values, drawn))
        return means(values, np.ones((1, count)))[0], ends if count > 1 else np.full_like(ends, np.nan)

    found = with_ends(
        "position",
        ["site"],
        *averaged(ratios),
        "log sensitivity to the first distortion minus that to the second, relative to the mean of all models",
    )
    found["position"][2]["display"] = "map"
    found |= with_ends(
        "distance",
        ["site", "other_site"],
        *averaged(distances),
        "distance of two models: difference of positions",
    )
    at_one = {"long_name": "position of a model at one stimulus", "units": "1"}
    found["position_at"] = (("site", "stimulus"), ratios, at_one)
    return found


def _warnings(
    found: Sequence[PrincipalDistortions], sites: list[tuple[str, str]], stimuli: Sequence[Stimulus]
) -> list[str]:
    missing = [
        f"{name} {layer}: its Jacobian at '{stimulus.name}' is {'not finite' if math.isnan(gain) else '0'}, so that "
        "there are no principal distortions"
        for stimulus, pair in zip(stimuli, found, strict=True)
        for (name, layer), gain in zip(sites, pair.gains.tolist(), strict=True)
        if not gain > 0
    ]
    rises = _late_rise(np.stack([pair.objective.numpy() for pair in found]))
    rising = int((rises > _CONVERGED).sum())
    if not rising:
        return missing
    return [
        *missing,
        f"at {rising} of {len(found)} stimuli the search gained more than {_CONVERGED:.0%} in the last tenth of its "
        "steps: the spread is a lower bound, which more steps raise",
    ]
