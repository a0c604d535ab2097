"""Similarity of layers: CKA and RSA between any two layers of any two models, on natural signals and on metamers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, number, whole
from ...framework.context import Context
from ...framework.domains import Domain
from ...framework.errors import MetameryError, unknown
from ...framework.protocols import Evaluator
from ...framework.schema import site_coordinates
from ...framework.stimuli import Stimuli
from ..recognition.recognise import shown
from ..statistics.intervals import percentiles, with_ends
from ..studies.batches import drawn_seed, fit, running
from ..studies.metamers import ModelMetamers, metamers_of
from .cka import BANDWIDTH
from .comparison import FEWEST, FEWEST_DRAWN, bootstrap, check_measure, draw_stimuli, similarity_of
from .sites import LayerReader, Signals, choose_sites, open_layers
from .streaming import Gram

SIGNALS = ("natural", "metamers", "both")


def similarity(
    measures: Sequence[str] = ("cka_linear", "cka_rbf", "rsa_correlation_spearman"),
    signals: str = "natural",
    layers: Sequence[str] | None = None,
    made_at: str | None = None,
    bandwidth: float = BANDWIDTH,
    resamples: int = 200,
    limit: int = 1000,
    memory: float = 4.0,
    batch_size: int = 32,
) -> Evaluator:
    """Build the evaluator: how alike sites, that is layers of models, are, with 95 % bootstrap intervals over stimuli.

    Three comparisons, by `signals`:

    - ``natural``: each site with each other, on the natural signals, which each model gets in its own domain.
    - ``metamers``: each site with each other, on the metamers that were made at one site, `made_at`; the mean over
      seeds.
    - ``both``: ``site`` is where metamers were made and ``other_site`` where activations are read; compared are those
      to the metamers and those to the natural signals that they are of. The mean over seeds.

    Metamers, and the natural signals that they are held against, are brought to other models as the generator has them,
    rounded to 8-bit pictures or 16-bit sound, see `recognise.shown`. A stimulus of which a metamer failed or is missing
    does not count there. Where there are several seeds, ``ceiling_lower`` and ``ceiling_upper`` bound how alike
    anything could be to the metamers of all seeds, see `ceilings`.

    Memory is bounded by `memory`, beside what the networks themselves need, or what is asked for is refused
    (`metamery.analysis.similarity.streaming.plan`); ``attrs["memory_bytes"]`` has what was counted on. Activations that
    it cannot hold are computed again.

    Parameters
    ----------
    measures
        Names in `metamery.analysis.similarity.comparison.MEASURES`, such as ``cka_linear``, ``biased_cka_rbf`` or
        ``rsa_euclidean_kendall``.
    layers
        Names of layers; a model is compared at those that it has. By default each model's own.
    made_at
        ``MODEL LAYER``, or the layer alone where there is one model; for ``both``, all by default.
    bandwidth
        Of the RBF kernel, a fraction of the median distance.
    resamples
        Of the bootstrap; 0 for none. There are no intervals for fewer than ten stimuli, nor of a biased CKA.
    limit
        Take this many stimuli at most, at random where there are more.
    memory
        In GiB.
    batch_size
        Signals that pass through the networks at once.
    """
    if isinstance(measures, str) or not isinstance(measures, Sequence) or not measures:
        raise MetameryError(f'measures is {measures!r}, expected a list of names, such as ["cka_linear"]')
    for measure in measures:
        check_measure(measure)
    if repeated := [name for name in measures if list(measures).count(name) > 1]:
        raise MetameryError(f"measure '{repeated[0]}' is named twice")
    if signals not in SIGNALS:
        raise unknown("signals", str(signals), SIGNALS)
    if layers is not None and (isinstance(layers, str) or not isinstance(layers, Sequence) or not layers):
        raise MetameryError(f'layers is {layers!r}, expected a list of names, such as ["layer3", "output"]')
    whole("resamples", resamples, 0, MANY)
    for name, count, least in (("limit", limit, FEWEST), ("batch_size", batch_size, 1)):
        whole(name, count, least)
    for name, size in (("bandwidth", bandwidth), ("memory", memory)):
        number(name, size, above=0)
    if made_at is not None and signals == "natural":
        raise MetameryError(f"made_at is '{made_at}', which is for signals 'metamers' or 'both', not 'natural'")

    def evaluate(context: Context) -> xr.Dataset:
        sites = choose_sites(context.models, layers)
        generators = [] if signals == "natural" else _chosen(context, made_at, signals)
        available = len(context.stimuli) if signals == "natural" else len(generators[0].stimuli)
        places = _draw(available, limit, context.generator)
        draws = _Draws(resamples, drawn_seed(context))
        read = open_layers(
            context.models,
            sites,
            device=context.device,
            batch_size=batch_size,
            memory=memory,
            progress=context.progress,
        )
        with running(context), read as work:
            if signals == "natural":
                result = _on_natural(work, context.stimuli, sites, places, measures, bandwidth, draws)
            elif signals == "metamers":
                (made,) = generators
                result = _on_metamers(work, sites, made, places, measures, bandwidth, draws)
            else:
                result = _on_both(work, sites, generators, places, measures, bandwidth, draws)
        result.attrs |= {"bandwidth": bandwidth, "resamples": resamples, "signals": signals}
        return result

    return evaluate


@dataclass(frozen=True)
class _Draws:
    """Of the bootstrap: the same for the same number of stimuli."""

    number: int
    seed: int

    def of(self, count: int) -> torch.Tensor | None:
        if not self.number or count < FEWEST_DRAWN:
            return None
        return draw_stimuli(count, self.number, torch.Generator().manual_seed(self.seed))


def _on_natural(
    work: LayerReader,
    stimuli: Stimuli,
    sites: Sequence[tuple[str, str]],
    places: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Each site with each on natural signals."""

    def signals(some: slice) -> Mapping[Domain, torch.Tensor]:
        return fit([stimuli[place] for place in places[some]], work.domains, work.device)

    _check_count(len(places))
    planned = work.plan(signals, len(places), len(sites))
    work.progress.start(planned.batches, "similarity")
    inners = work.grams(signals, len(places), planned.held, lambda place: stimuli[places[place]].name)
    drawn = draws.of(len(places))
    found = _Found((len(measures), len(sites), len(sites)), drawn is not None)
    for row, measure in enumerate(measures):
        work.progress.describe(measure)
        found.put(row, *_measured(inners, measure, bandwidth, drawn))
    what = "similarity of two layers on natural signals"
    variables = found.variables(what, ("metric", "site", "other_site"))
    variables["counted"] = ((), len(places), _COUNTED)
    coordinates = {"metric": list(measures), **site_coordinates(sites), **site_coordinates(sites, "other_site")}
    return xr.Dataset(variables, coordinates, {"title": "Similarity of layers", "memory_bytes": planned.memory})


def _on_metamers(
    work: LayerReader,
    sites: Sequence[tuple[str, str]],
    made: ModelMetamers,
    places: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Each site with each on the metamers of one layer, mean over seeds."""
    (layer,) = made.layers
    kept = made.complete(layer, places)
    _check_count(len(kept))
    metamers = made.metamers["signal"].sel(layer=layer)
    by_seed = [_signals(made, metamers.isel(seed=seed), kept, work.domains) for seed in range(metamers.sizes["seed"])]
    planned = work.plan(by_seed[0], len(kept), len(sites) * len(by_seed))
    work.progress.start(planned.batches * len(by_seed), "similarity")
    inners = [work.grams(signals, len(kept), planned.held, _called(made, kept)) for signals in by_seed]
    drawn = draws.of(len(kept))
    found = _Found((len(measures), len(sites), len(sites)), drawn is not None)
    ceilings = np.full((2, len(measures), len(sites)), np.nan)
    for row, measure in enumerate(measures):
        work.progress.describe(measure)
        measured = [_measured(own, measure, bandwidth, drawn) for own in inners]
        found.put(row, *(torch.stack(each).mean(dim=0) for each in zip(*measured, strict=True)))
        for column, repeated in enumerate(zip(*inners, strict=True)):
            ceilings[:, row, column] = similarity_of(repeated, measure, bandwidth).ceiling()
    what = "similarity of two layers on metamers, mean over seeds"
    variables = found.variables(what, ("metric", "site", "other_site"))
    variables["counted"] = ((), len(kept), _COUNTED)
    if len(by_seed) > 1:
        variables |= _ceilings(ceilings, ("metric", "site"), "a layer on metamers of all seeds")
    coordinates = {"metric": list(measures), **site_coordinates(sites), **site_coordinates(sites, "other_site")}
    about = {"title": f"Similarity of layers on metamers of {made.name} {layer}", "memory_bytes": planned.memory}
    return xr.Dataset(variables, coordinates, {**about, "made_at": f"{made.name} {layer}"})


def _on_both(
    work: LayerReader,
    sites: Sequence[tuple[str, str]],
    generators: Sequence[ModelMetamers],
    places: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Metamers and the natural signals that they are of, for each layer that they are of and each site."""
    rows = [(made, layer) for made in generators for layer in made.layers]
    seeds = {made.name: made.metamers.sizes["seed"] for made in generators}
    _check_count(len(places))
    natural = {made.name: _signals(made, made.natural, places, work.domains) for made in generators}
    planned = work.plan(natural[rows[0][0].name], len(places), len(sites) * (1 + max(seeds.values())))
    passes = len(generators) + sum(seeds[made.name] for made, _ in rows)
    work.progress.start(planned.batches * passes, "similarity")
    shape = (len(measures), len(rows), len(sites))
    found = _Found(shape, draws.number > 0)
    ceilings, counted = np.full((2, *shape), np.nan), np.zeros(len(rows), np.int64)
    for made in generators:
        originals = work.grams(natural[made.name], len(places), planned.held, _called(made, places))
        for row in (row for row, (own, _) in enumerate(rows) if own is made):
            layer = rows[row][1]
            kept = made.complete(layer, places)
            counted[row] = len(kept)
            if len(kept) < FEWEST:
                continue
            metamers = made.metamers["signal"].sel(layer=layer)
            by_seed = []
            for seed in range(seeds[made.name]):
                signals = _signals(made, metamers.isel(seed=seed), kept, work.domains)
                by_seed.append(work.grams(signals, len(kept), min(planned.held, len(kept)), _called(made, kept)))
            drawn = draws.of(len(kept))
            inside = np.flatnonzero(np.isin(places, kept)).tolist()
            for column, (original, *repeated) in enumerate(zip(originals, *by_seed, strict=True)):
                for metric, measure in enumerate(measures):
                    matrix, samples = _measured([original.some(inside), *repeated], measure, bandwidth, drawn)
                    found.put((metric, row, column), matrix[0, 1:].mean(), samples[:, 0, 1:].mean(dim=1))
                    if len(repeated) > 1:
                        ceilings[:, metric, row, column] = similarity_of(repeated, measure, bandwidth).ceiling()
    what = "similarity of activations to metamers and to their natural signals, mean over seeds"
    dims = ("metric", "site", "other_site")
    variables = found.variables(what, dims)
    variables["counted"] = ("site", counted, _COUNTED)
    if max(seeds.values()) > 1:
        variables |= _ceilings(ceilings, dims, "the metamers of all seeds")
    made_at = [(made.name, layer) for made, layer in rows]
    coordinates = {"metric": list(measures), **site_coordinates(made_at), **site_coordinates(sites, "other_site")}
    title = "Similarity of metamers and natural signals"
    return xr.Dataset(variables, coordinates, {"title": title, "memory_bytes": planned.memory})


class _Found:
    """Similarities and the ends of their intervals."""

    def __init__(self, shape: tuple[int, ...], intervals: bool) -> None:
        self.values = np.full(shape, np.nan)
        self.ends = np.full((2, *shape), np.nan) if intervals else None

    def put(self, place: int | tuple[int, ...], values: torch.Tensor, samples: torch.Tensor) -> None:
        """Put values where they belong, and the ends of their samples ``(draws, …)``, if there are any."""
        self.values[place] = values.cpu().numpy()
        if self.ends is not None and len(samples):
            for ends, own in zip(self.ends, percentiles(samples.cpu().numpy()), strict=True):
                ends[place] = own

    def variables(self, what: str, dims: tuple[str, ...]) -> dict[str, Any]:
        if self.ends is None:
            return {"similarity": (dims, self.values, {"long_name": what, "units": "1"})}
        return with_ends("similarity", dims, self.values, self.ends, what)


_COUNTED = {"long_name": "stimuli that count", "units": "1"}


def _ceilings(values: np.ndarray[Any, np.dtype[np.float64]], dims: tuple[str, ...], of: str) -> dict[str, Any]:
    about = (("lower", "mean similarity to the mean of the other seeds"), ("upper", "to the mean of all seeds"))
    return {
        f"ceiling_{bound}": (dims, own, {"long_name": f"noise ceiling of {of}, {bound}: {how}", "units": "1"})
        for own, (bound, how) in zip(values, about, strict=True)
    }


def _measured(
    inners: Sequence[Gram], measure: str, bandwidth: float, drawn: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A similarity, ``(N, N)``, and its samples, ``(draws, N, N)``.

    There are no samples of a biased CKA, whose bias grows where stimuli are drawn twice.
    """
    comparison = similarity_of(inners, measure, bandwidth)
    matrix = comparison.matrix()
    if drawn is None or measure.startswith("biased_"):
        return matrix, matrix[None][:0]
    return matrix, bootstrap(comparison, drawn)


def _chosen(context: Context, made_at: str | None, signals: str) -> list[ModelMetamers]:
    """The models whose metamers are asked for, with the layers that are."""
    if context.study is None:
        raise MetameryError(f"signals '{signals}' needs a study; of models alone there are 'natural' ones")
    generators = metamers_of(context, "similarity")
    known = [f"{made.name} {layer}" for made in generators for layer in made.layers]
    if made_at is None:
        if signals == "both" or len(known) == 1:
            return generators
        raise MetameryError(f"made_at is not given: expected one of {', '.join(known)}")
    asked = f"{generators[0].name} {made_at}" if len(generators) == 1 and made_at not in known else made_at
    if asked not in known:
        raise unknown("place where metamers were made", made_at, known)
    return [made.at(layer) for made in generators for layer in made.layers if f"{made.name} {layer}" == asked]


def _signals(made: ModelMetamers, stored: xr.DataArray, places: Sequence[int], domains: set[Domain]) -> Signals:
    """Some stimuli's metamers or natural signals ``(stimulus, …)`` in each domain, brought there as `shown` does.

    Raises `MetameryError` when they are read, if one is silent, and so cannot be brought into a domain of sounds.
    """

    def read(some: slice) -> Mapping[Domain, torch.Tensor]:
        asked = list(places[some])
        raw = torch.from_numpy(stored.isel(stimulus=asked).transpose("stimulus", *made.domain.dims).values)
        found = {}
        for domain in domains:
            found[domain], could = shown(raw, made.domain, domain)
            if not could.all():
                name = made.stimuli[asked[int(could.int().argmin())]]
                raise MetameryError(f"a signal of stimulus '{name}' is silent, and no model of {domain} takes it")
        return found

    return read


def _called(made: ModelMetamers, places: Sequence[int]) -> Callable[[int], str]:
    """What the stimuli at some places are called, by their place among these."""
    return lambda place: made.stimuli[places[place]]


def _draw(available: int, limit: int, generator: torch.Generator) -> list[int]:
    if available <= limit:
        return list(range(available))
    drawn = torch.randperm(available, generator=generator, device=generator.device)
    return sorted(drawn[:limit].tolist())


def _check_count(count: int) -> None:
    if count < FEWEST:
        raise MetameryError(f"similarity of {count} stimuli, expected {FEWEST} at least")
