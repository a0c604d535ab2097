"""The metamers of a study's models in batches, with their natural signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ...framework.context import Context
from ...framework.domains import Domain
from ...framework.errors import MetameryError, unknown
from ...framework.model_results import ModelResults, models_of
from ...framework.models import Model
from ...framework.running import signal_type
from ...framework.schema import STATES, site_coordinates


@dataclass(frozen=True, eq=False)
class MetamerBatch:
    """Natural signals of some stimuli ``(b, …)`` and those of their metamers at one layer that are done, ``(n, …)``.

    `stimulus` and `seed`, ``(n,)``, are the indices of each metamer's stimulus and seed; `first` is the index of the
    batch's first stimulus.
    """

    natural: torch.Tensor
    metamers: torch.Tensor
    stimulus: NDArray[np.intp]
    seed: NDArray[np.intp]
    first: int

    @property
    def row(self) -> torch.Tensor:
        """Index of each metamer's stimulus within this batch, ``(n,)``."""
        return torch.from_numpy(self.stimulus - self.first).to(self.natural.device)

    @property
    def paired(self) -> torch.Tensor:
        """Natural signal of each metamer, ``(n, …)``."""
        return self.natural[self.row]


@dataclass(frozen=True, eq=False)
class ModelMetamers:
    """The metamers of one model of a study, with the model; signals are read from the store on access.

    Parameters
    ----------
    results
        Results of the model in the study.
    model
        The model itself.
    device
        Device that batches are moved to.
    limit
        Number of stimuli, the first ones; None takes all.
    """

    results: ModelResults
    model: Model
    device: torch.device = torch.device("cpu")
    limit: int | None = None

    @property
    def name(self) -> str:
        return self.results.name

    @property
    def domain(self) -> Domain:
        return self.model.domain

    @property
    def layers(self) -> list[str]:
        return self.results.layers

    @property
    def stimuli(self) -> list[str]:
        return self.results.stimuli[: self.limit]

    @property
    def seeds(self) -> list[int]:
        return self.results.seeds

    @property
    def natural(self) -> xr.DataArray:
        """The natural signals as fitted to the model, ``(stimulus, …)``."""
        return self.results.natural["signal"]

    @property
    def metamers(self) -> xr.Dataset:
        """The signals and states of the metamers, ``(layer, stimulus, seed, …)``."""
        return self.results.metamers[["signal", "state"]]

    def at(self, layer: str) -> ModelMetamers:
        """Return the metamers of one layer only."""
        return replace(self, results=replace(self.results, metamers=self.results.metamers.sel(layer=[layer])))

    @property
    def coordinates(self) -> dict[str, Any]:
        """Coordinates of values that are measured of each metamer."""
        return {
            **site_coordinates([(self.name, layer) for layer in self.layers]),
            "stimulus": self.stimuli,
            "seed": self.seeds,
        }

    @property
    def priors(self) -> dict[str, Any]:
        """The study's settings of the priors: the preset and the weights."""
        settings = self.results.settings
        return {name: settings[name] for name in ("preset", "total_variation", "bounds") if name in settings}

    def naturals(self, batch_size: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the natural signals in batches ``(b, …)``, each with the slice of its stimuli."""
        for first in range(0, len(self.stimuli), batch_size):
            part = slice(first, min(first + batch_size, len(self.stimuli)))
            yield part, self._tensor(self.natural.isel(stimulus=part).transpose("stimulus", *self.domain.dims))

    def batches(self, layer: int, batch_size: int) -> Iterator[MetamerBatch]:
        """Yield the metamers of one layer in batches; those of one stimulus stay together."""
        for part, natural in self.naturals(max(1, batch_size // max(1, len(self.seeds)))):
            here = self.metamers.isel(layer=layer, stimulus=part)
            done = here["state"].transpose("stimulus", "seed").values == STATES["done"]
            stimulus, seed = done.nonzero()
            signals = here["signal"].transpose("stimulus", "seed", *self.domain.dims)
            yield MetamerBatch(natural, self._tensor(signals)[stimulus, seed], part.start + stimulus, seed, part.start)

    def signals(self, layer: str) -> NDArray[np.float32]:
        """Read the metamers of one layer, ``(stimulus, seed, …)``; NaN where there is none."""
        return self.results.signals(layer, self.limit)

    def complete(self, layer: str, indices: Sequence[int]) -> list[int]:
        """Return the indices of those stimuli whose metamers at a layer are all done."""
        done = (self.metamers["state"].sel(layer=layer) == STATES["done"]).all("seed").values
        return [index for index in indices if done[index]]

    def _tensor(self, signals: xr.DataArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(signals.values)).to(self.device, signal_type(self.model.module))


def metamers_of(context: Context, evaluator: str, limit: int | None = None) -> list[ModelMetamers]:
    """Return the metamers of each model of a context's study, of the first `limit` stimuli.

    Raises
    ------
    MetameryError
        There is no study, it has no metamers, or the context lacks one of its models.
    """
    if context.study is None:
        raise MetameryError(f"evaluator '{evaluator}' needs a study")
    found = models_of(context.study)
    if not found:
        raise MetameryError(f"evaluator '{evaluator}' needs a study with metamers, and this one has none")
    for results in found:
        if results.name not in context.models:
            raise unknown("model of the study", results.name, context.models)
    return [ModelMetamers(results, context.models[results.name], context.device, limit) for results in found]


def join(parts: Sequence[xr.Dataset], fill: Mapping[str, int] | None = None) -> xr.Dataset:
    """Concatenate the results of several models along ``site``.

    A measured layer or a measure that a model lacks is NaN, or the value in `fill` for a variable.
    """
    joined = xr.concat(
        parts,
        "site",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value={**(fill or {})} or np.nan,
        combine_attrs="override",
    )
    names = dict.fromkeys(name for part in parts for name in part.data_vars)
    layers = dict.fromkeys(layer for part in parts for layer in part["measured_layer"].values)  # a join sorts them
    return joined[list(names)].sel(measured_layer=list(layers), stimulus=parts[0]["stimulus"].values)
