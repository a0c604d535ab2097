"""Invariance: how little each layer of a model changes when a signal is shifted, turned, blurred or made softer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, whole
from ...framework.context import Context
from ...framework.domains import Domain, ImageDomain
from ...framework.errors import MetameryError
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from ...framework.schema import site_coordinates
from ...framework.stimuli import Stimulus
from ..statistics.intervals import draws, percentiles, with_ends
from ..studies.batches import batch_count, drawn_seed, fit, running
from .curves import Curves, Recorder, area
from .families import NOUNS, TRANSFORMATIONS, check_strengths, named, outside, through_aperture, transform
from .moves import check_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

Strengths = Mapping[str, tuple[float, ...]]
"""Strengths by transformation."""

_MEASURES = {
    "invariance": (
        Curves.invariance,
        "1 less the distance from the unchanged signal's activation over that of unrelated signals",
    ),
    "correlation": (
        Curves.by_correlation,
        "Pearson's r with the unchanged signal's activation, from 0 for unrelated signals to 1",
    ),
    "equivariance": (
        Curves.equivariance,
        "1 less the distance from the unchanged signal's map, moved alike, over that of unrelated signals",
    ),
}


def invariance(
    transformations: Sequence[str] | Mapping[str, Sequence[float]] | None = None,
    edges: str = "reflect",
    aperture: bool = False,
    resamples: int = 1000,
    batch_size: int = 16,
) -> Evaluator:
    """Build the evaluator: invariance and equivariance of each model's layers over the strength of transformations.

    A value of 1 means that the layer does not change, or that it moves with the signal; 0 means that the changed signal
    is as far from the unchanged one as unrelated signals are from each other, on average over all pairs of the stimuli,
    of which there must be at least two. Level 0 is no change. Intervals are percentiles of a bootstrap over stimuli,
    with the distance between unrelated ones kept fixed. Noise is seeded from the seed and the stimulus's name alone and
    is the same at all strengths. Memory: a batch's activations of all models, and 32 bytes for each unit of their
    layers.

    Parameters
    ----------
    transformations
        Names, or strengths by name; by default all for the models' kind of signal, with their default strengths.
        Strengths lead further and further from no change, to one side.
    edges
        What enters over the edges when a signal moves: the signal mirrored there (``reflect``), its other end
        (``circular``), or black or silence (``zero``). `outside` in the result is its share.
    aperture
        Whether pictures are shown, changed or not, through a disc that does not move, so that nothing enters with
        a rotation.
    resamples
        Number of resamples of the bootstrap.
    batch_size
        Number of signals that are processed at once.
    """
    requested = _requested(transformations)
    check_edges(edges)
    whole("resamples", resamples, 1, MANY)
    whole("batch_size", batch_size, 1)

    def passes(context: Context) -> Passes:
        steps = sum(map(len, _selected(context, requested, aperture).values()))
        of_layouts = 1 + max(len(model.layers) for model in context.models.values())
        return Passes((1 + steps) * len(context.stimuli) + of_layouts, batch_size=batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        selected = _selected(context, requested, aperture)
        seed = drawn_seed(context)
        steps = [(name, strength) for name, strengths in selected.items() for strength in strengths]
        domains = {model.domain for model in context.models.values()}
        context.progress.start(batch_count(context, batch_size) * (1 + len(steps)), "transformations")
        with ExitStack() as stack:
            stack.enter_context(running(context))
            recorders = {
                name: stack.enter_context(Recorder(model, steps, edges, context.device))
                for name, model in context.models.items()
            }
            for first in range(0, len(context.stimuli), batch_size):
                last = min(first + batch_size, len(context.stimuli))
                stimuli = [context.stimuli[index] for index in range(first, last)]
                fitted = fit(stimuli, domains, context.device)
                shown = {domain: _shown(signals, domain, aperture) for domain, signals in fitted.items()}
                for recorder in recorders.values():
                    recorder.unchanged(shown[recorder.model.domain])
                context.progress.advance()
                for name, strengths in selected.items():
                    noise = {domain: _noise(name, domain, stimuli, seed) for domain in domains}
                    for strength in strengths:
                        for domain, signals in fitted.items():
                            changed = transform(name, signals, strength, domain, edges=edges, noise=noise[domain])
                            shown[domain] = _shown(changed, domain, aperture)
                        for recorder in recorders.values():
                            recorder.changed(name, strength, shown[recorder.model.domain])
                        context.progress.advance()
            curves = [recorder.finish() for recorder in recorders.values()]
        drawn = draws(len(context.stimuli), resamples, np.random.default_rng(seed))
        about = {"long_name": "share of the changed signal that came in over its edges", "units": "1"}
        outsides = _outside(context, selected, edges, aperture)
        dataset = _dataset(context, selected, curves, drawn)
        dataset["outside"] = (("transformation", "strength", "site"), outsides, about)
        dataset.attrs = {
            "title": "Invariance",
            "reading_order": ["profile", "invariance", "equivariance"],
            "read_first": "At 1 a layer ignores a transformation at every strength, at 0 the changed signal is as far "
            "away as an unrelated one; layers further on should ignore more.",
            "edges": edges,
            "aperture": int(aperture),
            "resamples": resamples,
        }
        return dataset

    return evaluate


def _requested(transformations: Sequence[str] | Mapping[str, Sequence[float]] | None) -> Strengths | None:
    if transformations is None:
        return None
    if isinstance(transformations, str) or not isinstance(transformations, Sequence | Mapping) or not transformations:
        raise MetameryError(
            f"transformations are {transformations!r}, expected names, such as ['rotation'], or strengths by name"
        )
    if not isinstance(transformations, Mapping):
        return {name: named(name).strengths for name in transformations}
    for name, strengths in transformations.items():
        check_strengths(name, strengths)
    return {name: tuple(strengths) for name, strengths in transformations.items()}


def _selected(context: Context, requested: Strengths | None, aperture: bool) -> Strengths:
    """Return the transformations and strengths for these models and stimuli, or raise `MetameryError`."""
    if len(context.stimuli) < 2:
        raise MetameryError("invariance is relative to unrelated signals: expected at least two stimuli")
    if aperture and any(not isinstance(model.domain, ImageDomain) for model in context.models.values()):
        raise MetameryError("aperture is for pictures, and the models take sounds")
    kinds = {model.domain.kind for model in context.models.values()}
    if len(kinds) > 1:
        raise MetameryError(
            "the models take pictures and sounds, which have different transformations: expected one kind"
        )
    kind = kinds.pop()
    if requested is None:
        return {name: family.strengths for name, family in TRANSFORMATIONS.items() if family.kind == kind}
    for name in requested:
        if named(name).kind != kind:
            raise MetameryError(
                f"transformation '{name}' is for {NOUNS[named(name).kind]}, and the models take {NOUNS[kind]}"
            )
    return requested


def _shown(signals: torch.Tensor, domain: Domain, aperture: bool) -> torch.Tensor:
    return through_aperture(signals, domain) if aperture and isinstance(domain, ImageDomain) else signals


def _noise(name: str, domain: Domain, stimuli: Sequence[Stimulus], seed: int) -> torch.Tensor | None:
    """Each stimulus's own noise, ``(B, …)``, if the transformation adds any."""
    if not named(name).noisy:
        return None
    own = [torch.Generator().manual_seed(derived_seed(seed, name, stimulus.name)) for stimulus in stimuli]
    return torch.stack(
        [torch.randn(domain.shape, generator=generator, dtype=torch.float32, device="cpu") for generator in own]
    )


def _dataset(context: Context, selected: Strengths, curves: Sequence[Curves], drawn: NDArray[np.float64]) -> xr.Dataset:
    each_once = np.ones((1, drawn.shape[1]))
    at = ("transformation", "strength", "site")
    variables: dict[str, Any] = {}
    for what, (take, meaning) in _MEASURES.items():
        own, samples = (  # (1, T, S) and (R, T, S)
            _from_identity(selected, np.concatenate([take(each, stimuli) for each in curves], axis=-1), 1.0)
            for stimuli in (each_once, drawn)
        )
        ends = zip(*(percentiles(values) for values in samples), strict=True)
        variables |= with_ends(what, at, _padded([values[0] for values in own]), map(_padded, ends), meaning)
        if what == "equivariance":
            variables[what][2]["missing"] = "no map of the layer moves with the signal"
        if what == "invariance":
            areas = np.stack([area(values) for values in samples], axis=1)  # (R, transformation, S)
            profile = np.stack([area(values[0]) for values in own])
            about = "area under the curve of invariance over levels, from 0 to 1"
            variables |= with_ends("profile", at[::2], profile, percentiles(areas), about)
    relative = np.concatenate([each.relative() for each in curves], axis=1).transpose(2, 0, 1)  # (K, T, S)
    distance = np.moveaxis(_padded(_from_identity(selected, relative, 0.0)), 0, -1).astype(np.float32)
    about = "distance from the unchanged signal's activation over that of unrelated signals"
    variables["distance"] = ((*at, "stimulus"), distance, {"long_name": about, "units": "1"})
    return xr.Dataset(variables, _coordinates(context, selected))


def _from_identity(selected: Strengths, values: NDArray[np.float64], identity: float) -> list[NDArray[np.float64]]:
    """Split ``(…, T, S)`` by transformation, and prepend the value for no change: ``(…, 1 + strengths, S)``."""
    parts = np.split(values, np.cumsum([len(strengths) for strengths in selected.values()])[:-1], axis=-2)
    return [np.concatenate([np.where(np.isnan(p[..., :1, :]), np.nan, identity), p], axis=-2) for p in parts]


def _padded(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Stack curves of different lengths, ``(…, transformation, strength, S)``; NaN after the end of shorter ones."""
    most = max(part.shape[-2] for part in parts)
    missing = [[(0, 0)] * (part.ndim - 2) + [(0, most - part.shape[-2]), (0, 0)] for part in parts]
    return np.stack([np.pad(p, m, constant_values=np.nan) for p, m in zip(parts, missing, strict=True)], axis=-3)


def _coordinates(context: Context, selected: Strengths) -> dict[str, Any]:
    sites = [(name, layer, index) for name, m in context.models.items() for index, layer in enumerate(m.layers)]
    lasts = [max(1, len(context.models[name].layers) - 1) for name, _, _ in sites]
    families = [named(name) for name in selected]
    values = _padded(
        [np.array([[f.identity], *[[s] for s in selected[n]]]) for n, f in zip(selected, families, strict=True)]
    )
    depth = "position among the model's layers, from 0 for the first to 1 for the last"
    return {
        "transformation": list(selected),
        "unit": ("transformation", [family.unit for family in families], {"long_name": "unit of `value`"}),
        "strength": ("strength", np.arange(values.shape[1]), {"long_name": "level, 0 for no change", "units": "1"}),
        "value": (
            ("transformation", "strength"),
            values[..., 0],
            {"long_name": "strength at each level", "units": "as `unit` says"},
        ),
        **site_coordinates([(name, layer) for name, layer, _ in sites]),
        "depth": (
            "site",
            [index / last for (_, _, index), last in zip(sites, lasts, strict=True)],
            {"long_name": depth, "units": "1"},
        ),
        "stimulus": [context.stimuli[index].name for index in range(len(context.stimuli))],
    }


def _outside(context: Context, selected: Strengths, edges: str, aperture: bool) -> NDArray[np.float64]:
    """The share of each changed signal that came in over its edges, ``(transformation, strength, site)``."""
    by_domain = {
        domain: [
            outside(name, s, domain, edges=edges, shown=aperture) for name, given in selected.items() for s in given
        ]
        for domain in {model.domain for model in context.models.values()}
    }
    columns = [by_domain[model.domain] for model in context.models.values() for _ in model.layers]
    return _padded(_from_identity(selected, np.array(columns).T, 0.0))
