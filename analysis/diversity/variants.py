"""Maximally different metamers of one model's stimuli: where they start, and what they become."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ...framework.errors import MetameryError
from ...framework.joint import with_terms
from ...framework.progress import Progress
from ...framework.running import signal_type
from ...framework.schema import STATES, VERDICTS
from ..proof.distances import relative_l2
from ..proof.measures import NULL_METRICS
from ..studies.metamers import ModelMetamers
from ..synthesis.driver import NaturalSignals, make_metamers
from ..synthesis.passes import pull
from ..synthesis.procedure import Procedure
from ..synthesis.settings import Settings, resolve_settings
from .apart import Apart
from .region import Region, bounds_at
from .spreading import PushSettings, mean_distance, push_apart

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Variants:
    """Metamers of S stimuli at one layer, k of each.

    Parameters
    ----------
    signals, ordinary
        Maximally different ones and those that they began with, both rounded to what is shown, ``(S, k, …)``; NaN
        where one of the k that they begin with failed.
    success, ordinary_success
        Verdict on each, by the margin, ``(S, k)``.
    spread, ordinary_spread
        Mean distance between those that succeed, ``(S,)``; NaN with fewer than two.
    """

    signals: NDArray[np.float32]
    ordinary: NDArray[np.float32]
    success: NDArray[np.int8]
    ordinary_success: NDArray[np.int8]
    spread: NDArray[np.float64]
    ordinary_spread: NDArray[np.float64]


def study_settings(made: ModelMetamers) -> Settings:
    """The settings of a study's synthesis."""
    return resolve_settings(made.results.settings)


def study_seed(tree: xr.DataTree | None) -> int:
    """The seed of a study, stored or in memory."""
    attributes = {} if tree is None else tree.attrs
    given = tomllib.loads(str(attributes["study"])) if "study" in attributes else attributes
    return int(given.get("seed", 0))


def study_null(made: ModelMetamers) -> xr.Dataset:
    """The null of a study's model, in memory.

    Raises
    ------
    MetameryError
        It has none.
    """
    if made.results.null is None:
        raise MetameryError(f"model '{made.name}' has no null, by which metamers are judged: expected a study with one")
    return made.results.null.load()


def variants_of(
    made: ModelMetamers,
    layer: str,
    null: xr.Dataset,
    procedure: Procedure,
    *,
    k: int,
    unexplained: float,
    settings: PushSettings,
    seed: int,
    batch_size: int,
    apart: Apart,
    progress: Progress,
) -> Variants:
    """Push k metamers of each stimulus apart at one layer.

    They begin as the study's metamers of its first k seeds; those of further seeds are made as the study would make
    them.

    Parameters
    ----------
    made
        Metamers of a model.
    layer
        Their layer.
    null
        From `study_null`.
    procedure
        Procedure of the study.
    unexplained
        See `settled_from`.
    settings
        How they are pushed apart.
    seed
        Seed of the study.
    batch_size
        Number of signals that are pushed at once; at least those of one stimulus.
    apart
        Function of signals whose values are pushed apart.
    """
    stimuli, domain = len(made.stimuli), made.domain
    dtype, device = signal_type(made.model.module), made.device
    bounds = bounds_at(null, layer, unexplained)
    verdicts = np.full((2, stimuli, k), VERDICTS["missing"] if not isinstance(bounds, int) else bounds, dtype=np.int8)
    signals = np.full((2, stimuli, k, *domain.shape), np.nan, dtype=np.float32)
    spreads = np.full((2, stimuli), np.nan)
    if isinstance(bounds, int):
        progress.advance(stimuli * k * settings.steps)
        return Variants(*signals, *verdicts, *spreads)
    starts = starting_metamers(made, layer, null, procedure, k, seed)
    whole = np.flatnonzero(np.isfinite(starts).reshape(stimuli, -1).all(axis=1))
    progress.advance((stimuli - len(whole)) * k * settings.steps)
    alone = replace(procedure.settings, total_variation=0.0, bounds=0.0, precision="float32")
    plain = replace(procedure, settings=alone, distance=relative_l2)
    natural = made.natural.isel(stimulus=slice(stimuli)).transpose("stimulus", *domain.dims).values
    step = max(1, batch_size // k)
    for first in range(0, len(whole), step):
        rows = whole[first : first + step]
        start = torch.from_numpy(starts[rows]).to(device, dtype)
        region = Region(made.model, torch.from_numpy(natural[rows]).to(device, dtype), bounds)
        targets = tuple(target.repeat_interleave(k, dim=0) for target in region.targets)
        with made.model.tap([*bounds]) as tap:
            pushed = push_apart(
                start,
                partial(pull, targets=targets, tap=tap, procedure=plain, domain=domain),
                region.radii,
                region,
                domain,
                settings,
                apart,
                progress.advance,
            )
        ordinary = domain.quantise(start)
        inside = region(ordinary)
        with torch.no_grad():
            spread = mean_distance(apart(ordinary.flatten(0, 1)).reshape(len(rows), k, -1), inside)
        signals[:, rows] = torch.stack([pushed.signals, ordinary]).float().cpu().numpy()
        verdicts[:, rows] = torch.stack([pushed.inside, inside]).to(torch.int8).cpu().numpy()
        spreads[:, rows] = torch.stack([pushed.spread, spread]).double().cpu().numpy()
    return Variants(*signals, *verdicts, *spreads)


def needed_stimuli(made: ModelMetamers) -> Sequence[str]:
    """Stimuli that metamers of further seeds are made of: those asked for, and all where each starts at another."""
    every = made.results.stimuli
    return every if study_settings(made).start == "other" else every[: len(made.stimuli)]


def starting_metamers(
    made: ModelMetamers, layer: str, null: xr.Dataset, procedure: Procedure, k: int, seed: int
) -> NDArray[np.float32]:
    """Return k metamers of each stimulus at a layer, ``(S, k, …)``; NaN where one failed or is missing.

    The study's own of its first k seeds; those of further seeds are made here, as the study would make them, apart from
    rounding where it has further stimuli in a batch.
    """
    own = made.signals(layer)[:, :k]
    if own.shape[1] == k:
        return own
    every = needed_stimuli(made)
    made_here = np.full((len(every), k, *own.shape[2:]), np.nan, dtype=np.float32)
    natural = made.natural.transpose("stimulus", *made.domain.dims)

    def write(group: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        if group == "metamers":
            signals = np.array(values["signal"])  # (1, B, 1, …)
            signals[np.asarray(values["state"]) != STATES["done"]] = np.nan
            made_here[region["stimulus"], region["seed"]] = signals[0]

    exists = np.ones((1, len(every), k), dtype=bool)
    exists[:, : len(own), own.shape[1] :] = False
    make_metamers(
        made.model,
        NaturalSignals(every, lambda block: torch.from_numpy(np.asarray(natural.isel(stimulus=block).values))),
        [layer],
        with_terms([layer]),
        replace(procedure, settings=replace(procedure.settings, seeds=k)),
        seed=seed,
        write=write,
        done=exists,
        metrics=NULL_METRICS,
        null=null,
        device=made.device,
    )
    made_here[: len(own), : own.shape[1]] = own
    return made_here[: len(own)]
