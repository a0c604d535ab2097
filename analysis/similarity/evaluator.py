"""Similarity of layers: CKA and RSA between any two layers of any two models, on natural signals and on metamers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, number, whole
from ...framework.context import Context
from ...framework.domains import Domain
from ...framework.errors import MetameryError, unknown
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.schema import site_coordinates
from ...framework.stimuli import Stimuli
from ..recognition.recognise import shown
from ..studies.batches import drawn_seed, fit, running
from ..studies.metamers import ModelMetamers, metamers_of
from .cka import BANDWIDTH
from .comparison import FEWEST, FEWEST_DRAWN, bootstrap, check_count, check_measure, draw_stimuli, similarity_of
from .labelled import BOTH, COUNTED, PAIRS, Similarities, ceiling_variables, reading_order
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

    - ``natural``: all pairs of sites, on the natural signals, which are fitted to each model's own domain.
    - ``metamers``: all pairs of sites, on the metamers that were made at one site, `made_at`; the mean over seeds.
    - ``both``: ``site`` is where metamers were made and ``other_site`` where activations are read; activations to the
      metamers are compared with those to their natural signals. The mean over seeds.

    Metamers, and the natural signals that they are compared with, are converted for other models from the generator's
    domain, rounded to 8-bit pictures or 16-bit sound, see `recognise.shown`. A stimulus does not count at a site where
    one of its metamers failed or is missing. If there are several seeds, ``ceiling_lower`` and ``ceiling_upper`` bound
    the similarity of any representation to the metamers of all seeds, see `ceilings`.

    Memory, in addition to that of the networks, is bounded by `memory`; a comparison that needs more is refused
    (`metamery.analysis.similarity.streaming.plan`). ``attrs["memory_bytes"]`` is the planned memory. Activations that
    do not fit are computed again.

    Parameters
    ----------
    measures
        Names in `metamery.analysis.similarity.comparison.MEASURES`, such as ``cka_linear``, ``biased_cka_rbf`` or
        ``rsa_euclidean_kendall``.
    layers
        Names of layers; a model is compared at those that it has. By default each model's own.
    made_at
        Site of the metamers: ``MODEL LAYER``, or the layer alone if there is one model; for ``both``, all by default.
    bandwidth
        Bandwidth of the RBF kernel, as a fraction of the median distance.
    resamples
        Number of resamples of the bootstrap; 0 for none. There are no intervals for fewer than ten stimuli, nor for a
        biased CKA.
    limit
        Largest number of stimuli; drawn at random if there are more.
    memory
        Memory limit in GiB.
    batch_size
        Number of signals that pass through the networks at once.
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

    def compared(context: Context) -> tuple[list[tuple[str, str]], list[ModelMetamers], int]:
        """Return the sites, the models whose metamers are compared, and the number of stimuli."""
        generators = [] if signals == "natural" else _generators(context, made_at, signals)
        available = len(generators[0].stimuli) if generators else len(context.stimuli)
        return choose_sites(context.models, layers), generators, available

    def reader(context: Context, sites: Sequence[tuple[str, str]]) -> AbstractContextManager[LayerReader]:
        return open_layers(
            context.models,
            sites,
            device=context.device,
            batch_size=batch_size,
            memory=memory,
            progress=context.progress,
        )

    def passes(context: Context) -> Passes:
        sites, generators, available = compared(context)
        kept: Sequence[int] = range(available)
        if signals == "metamers":
            kept = generators[0].complete(generators[0].layers[0], kept)
        count = min(len(kept), limit)
        check_count(count)
        together, total = _sets(signals, generators)
        with running(context), reader(context, sites) as work:
            if generators:
                first = _signals(generators[0], generators[0].natural, range(available), work.domains)
            else:
                first = _fitted(context.stimuli, range(available), work)
            planned = work.plan(first, count, len(sites) * together)
        return Passes(1 + total * planned.batches * batch_size, batch_size=batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        sites, generators, available = compared(context)
        indices = _draw(available, limit, context.generator)
        draws = _Draws(resamples, drawn_seed(context))
        with running(context), reader(context, sites) as work:
            if signals == "natural":
                result = _on_natural(work, context.stimuli, sites, indices, measures, bandwidth, draws)
            elif signals == "metamers":
                (made,) = generators
                result = _on_metamers(work, sites, made, indices, measures, bandwidth, draws)
            else:
                result = _on_both(work, sites, generators, indices, measures, bandwidth, draws)
        result.attrs |= {"bandwidth": bandwidth, "resamples": resamples, "signals": signals}
        return result

    return evaluate


@dataclass(frozen=True)
class _Draws:
    """Draws of the bootstrap: the same for the same number of stimuli."""

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
    indices: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Compare all pairs of sites on natural signals."""
    signals = _fitted(stimuli, indices, work)
    check_count(len(indices))
    planned = work.plan(signals, len(indices), len(sites))
    work.progress.start(planned.batches, "similarity")
    inners = work.grams(signals, len(indices), planned.held, lambda position: stimuli[indices[position]].name)
    drawn = draws.of(len(indices))
    found = Similarities((len(measures), len(sites), len(sites)), drawn is not None)
    for row, measure in enumerate(measures):
        work.progress.describe(measure)
        found.put(row, *_measured(inners, measure, bandwidth, drawn))
    what = "similarity of two layers on natural signals"
    variables = found.variables(what, ("metric", "site", "other_site"))
    variables["counted"] = ((), len(indices), COUNTED)
    coordinates = {"metric": list(measures), **site_coordinates(sites), **site_coordinates(sites, "other_site")}
    about = {"title": "Similarity of layers", "memory_bytes": planned.memory}
    return xr.Dataset(variables, coordinates, about | reading_order(variables, PAIRS))


def _on_metamers(
    work: LayerReader,
    sites: Sequence[tuple[str, str]],
    made: ModelMetamers,
    indices: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Compare all pairs of sites on the metamers of one layer, mean over seeds."""
    (layer,) = made.layers
    kept = made.complete(layer, indices)
    check_count(len(kept))
    metamers = made.metamers["signal"].sel(layer=layer)
    by_seed = [_signals(made, metamers.isel(seed=seed), kept, work.domains) for seed in range(metamers.sizes["seed"])]
    together, total = _sets("metamers", [made])
    planned = work.plan(by_seed[0], len(kept), len(sites) * together)
    work.progress.start(planned.batches * total, "similarity")
    inners = [work.grams(signals, len(kept), planned.held, _names(made, kept)) for signals in by_seed]
    drawn = draws.of(len(kept))
    found = Similarities((len(measures), len(sites), len(sites)), drawn is not None)
    ceilings = np.full((2, len(measures), len(sites)), np.nan)
    for row, measure in enumerate(measures):
        work.progress.describe(measure)
        measured = [_measured(own, measure, bandwidth, drawn) for own in inners]
        found.put(row, *(torch.stack(each).mean(dim=0) for each in zip(*measured, strict=True)))
        for column, repeated in enumerate(zip(*inners, strict=True)):
            ceilings[:, row, column] = similarity_of(repeated, measure, bandwidth).ceiling()
    what = "similarity of two layers on metamers, mean over seeds"
    variables = found.variables(what, ("metric", "site", "other_site"))
    variables["counted"] = ((), len(kept), COUNTED)
    if len(by_seed) > 1:
        variables |= ceiling_variables(ceilings, ("metric", "site"), "a layer on metamers of all seeds")
    coordinates = {"metric": list(measures), **site_coordinates(sites), **site_coordinates(sites, "other_site")}
    made_at = f"{made.name} {layer}"
    about = {"title": f"Similarity of layers on metamers of {made_at}", "memory_bytes": planned.memory}
    return xr.Dataset(variables, coordinates, {**about, "made_at": made_at} | reading_order(variables, PAIRS))


def _on_both(
    work: LayerReader,
    sites: Sequence[tuple[str, str]],
    generators: Sequence[ModelMetamers],
    indices: Sequence[int],
    measures: Sequence[str],
    bandwidth: float,
    draws: _Draws,
) -> xr.Dataset:
    """Compare metamers with their natural signals, for each layer of the metamers and each site."""
    rows = [(made, layer) for made in generators for layer in made.layers]
    seeds = {made.name: made.metamers.sizes["seed"] for made in generators}
    check_count(len(indices))
    natural = {made.name: _signals(made, made.natural, indices, work.domains) for made in generators}
    together, total = _sets("both", generators)
    planned = work.plan(natural[rows[0][0].name], len(indices), len(sites) * together)
    work.progress.start(planned.batches * total, "similarity")
    shape = (len(measures), len(rows), len(sites))
    found = Similarities(shape, draws.number > 0)
    ceilings, counted = np.full((2, *shape), np.nan), np.zeros(len(rows), np.int64)
    for made in generators:
        originals = work.grams(natural[made.name], len(indices), planned.held, _names(made, indices))
        for row in (row for row, (own, _) in enumerate(rows) if own is made):
            layer = rows[row][1]
            kept = made.complete(layer, indices)
            counted[row] = len(kept)
            if len(kept) < FEWEST:
                continue
            metamers = made.metamers["signal"].sel(layer=layer)
            by_seed = []
            for seed in range(seeds[made.name]):
                signals = _signals(made, metamers.isel(seed=seed), kept, work.domains)
                by_seed.append(work.grams(signals, len(kept), min(planned.held, len(kept)), _names(made, kept)))
            drawn = draws.of(len(kept))
            inside = np.flatnonzero(np.isin(indices, kept)).tolist()
            for column, (original, *repeated) in enumerate(zip(originals, *by_seed, strict=True)):
                for metric, measure in enumerate(measures):
                    matrix, samples = _measured([original.some(inside), *repeated], measure, bandwidth, drawn)
                    found.put((metric, row, column), matrix[0, 1:].mean(), samples[:, 0, 1:].mean(dim=1))
                    if len(repeated) > 1:
                        ceilings[:, metric, row, column] = similarity_of(repeated, measure, bandwidth).ceiling()
    what = "similarity of activations to metamers and to their natural signals, mean over seeds"
    dims = ("metric", "site", "other_site")
    variables = found.variables(what, dims)
    variables["counted"] = ("site", counted, COUNTED)
    if max(seeds.values()) > 1:
        variables |= ceiling_variables(ceilings, dims, "the metamers of all seeds")
    made_at = [(made.name, layer) for made, layer in rows]
    coordinates = {"metric": list(measures), **site_coordinates(made_at), **site_coordinates(sites, "other_site")}
    title = "Similarity of metamers and natural signals"
    about = {"title": title, "memory_bytes": planned.memory}
    return xr.Dataset(variables, coordinates, about | reading_order(variables, BOTH))


def _measured(
    inners: Sequence[Gram], measure: str, bandwidth: float, drawn: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A similarity, ``(N, N)``, and its samples, ``(draws, N, N)``.

    There are no samples of a biased CKA, whose bias grows if stimuli are drawn twice.
    """
    comparison = similarity_of(inners, measure, bandwidth)
    matrix = comparison.matrix()
    if drawn is None or measure.startswith("biased_"):
        return matrix, matrix[None][:0]
    return matrix, bootstrap(comparison, drawn)


def _generators(context: Context, made_at: str | None, signals: str) -> list[ModelMetamers]:
    """Return the models whose metamers are compared, with the selected layers."""
    if context.study is None:
        raise MetameryError(f"signals '{signals}' needs a study; expected 'natural' for models alone")
    generators = metamers_of(context, "similarity")
    known = [f"{made.name} {layer}" for made in generators for layer in made.layers]
    if made_at is None:
        if signals == "both" or len(known) == 1:
            return generators
        raise MetameryError(f"made_at is not given: expected one of {', '.join(known)}")
    asked = f"{generators[0].name} {made_at}" if len(generators) == 1 and made_at not in known else made_at
    if asked not in known:
        raise unknown("site of metamers", made_at, known)
    return [made.at(layer) for made in generators for layer in made.layers if f"{made.name} {layer}" == asked]


def _sets(signals: str, generators: Sequence[ModelMetamers]) -> tuple[int, int]:
    """Return the number of sets of signals that are compared at once, and of all sets that pass through the models."""
    if signals == "natural":
        return 1, 1
    seeds = max(len(made.seeds) for made in generators)
    if signals == "metamers":
        return seeds, seeds
    return 1 + seeds, sum(1 + len(made.layers) * len(made.seeds) for made in generators)


def _fitted(stimuli: Stimuli, indices: Sequence[int], work: LayerReader) -> Signals:
    """Return a reader of some stimuli, fitted to each domain."""
    return lambda some: fit([stimuli[index] for index in indices[some]], work.domains, work.device)


def _signals(made: ModelMetamers, stored: xr.DataArray, indices: Sequence[int], domains: set[Domain]) -> Signals:
    """Return a reader of some stimuli's stored signals ``(stimulus, …)``, converted to each domain by `shown`.

    Reading raises `MetameryError` if a signal is silent, and so cannot be converted to another domain of sounds.
    """

    def read(some: slice) -> Mapping[Domain, torch.Tensor]:
        asked = list(indices[some])
        raw = torch.from_numpy(stored.isel(stimulus=asked).transpose("stimulus", *made.domain.dims).values)
        found = {}
        for domain in domains:
            found[domain], converted = shown(raw, made.domain, domain)
            if not converted.all():
                name = made.stimuli[asked[int(converted.int().argmin())]]
                raise MetameryError(f"a signal of stimulus '{name}' is silent, and cannot be converted to {domain}")
        return found

    return read


def _names(made: ModelMetamers, indices: Sequence[int]) -> Callable[[int], str]:
    """Return a function from a position among some stimuli to the name of the stimulus."""
    return lambda position: made.stimuli[indices[position]]


def _draw(available: int, limit: int, generator: torch.Generator) -> list[int]:
    if available <= limit:
        return list(range(available))
    drawn = torch.randperm(available, generator=generator, device=generator.device)
    return sorted(drawn[:limit].tolist())
