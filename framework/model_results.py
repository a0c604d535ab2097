"""The results of each model of a study, read in parts, since a study may be larger than the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .domains import Domain, domain_from
from .errors import MetameryError
from .schema import (
    STATES,
    fitted_variables,
    match_variables,
    metamer_variables,
    null_variables,
    success_variables,
)

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

STATE_NAMES = {number: name for name, number in STATES.items()}


@dataclass(frozen=True)
class ModelResults:
    """The results of one model of a study, read lazily.

    Parameters
    ----------
    key
        Name of the model's group.
    attributes
        Attributes of the group: provenance.
    natural, metamers, match, null
        Datasets of the model; `match` and `null` are None in a study without them.
    """

    key: str
    attributes: Mapping[str, Any]
    natural: xr.Dataset
    metamers: xr.Dataset
    match: xr.Dataset | None
    null: xr.Dataset | None = None

    @property
    def name(self) -> str:
        """Qualified name, such as ``vision:efficientnet-lite0``."""
        return str(self.attributes.get("model", self.key))

    @property
    def layers(self) -> list[str]:
        return [str(name) for name in self.metamers["layer"].values]

    @property
    def stimuli(self) -> list[str]:
        return [str(name) for name in self.metamers["stimulus"].values]

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.metamers["seed"].values]

    @property
    def measured_layers(self) -> list[str]:
        """Layers at which metamers were measured, in the network's order; empty in a study without match."""
        if self.match is None or "match" not in self.match:
            return []
        return [str(name) for name in self.match["measured_layer"].values]

    @property
    def settings(self) -> dict[str, Any]:
        """Resolved settings of the synthesis; empty if the store has none."""
        return dict(json.loads(self.metamers.attrs.get("settings") or "{}"))

    @property
    def domain(self) -> Domain:
        """The domain of the model.

        Raises
        ------
        MetameryError
            The store names a kind of domain that this version does not know.
        """
        sizes = {str(dim): size for dim, size in self.natural["signal"].sizes.items()}
        return domain_from(self.attributes, sizes)

    def label(self, number: int) -> str:
        """Return the name of a class; empty if the model gave no answer (a number below 0)."""
        labels = self.attributes.get("labels") or []
        if number < 0:
            return ""
        return str(labels[number]) if number < len(labels) else f"class {number}"

    def answers(self, name: str, missing: float) -> NDArray[Any]:
        """Read a variable of the match, ``(layer, stimulus, seed)``; filled with `missing` if it does not exist."""
        if self.match is None or name not in self.match:
            return np.full((len(self.layers), len(self.stimuli), len(self.seeds)), missing)
        return np.asarray(self.match[name].values)

    @cached_property
    def matches(self) -> xr.DataArray | None:
        """Match of each metamer at all layers, ``(layer, measured_layer, stimulus, seed, metric)``, read on access.

        Of many layers and stimuli it is large: read one layer at a time.
        """
        if self.match is None or "match" not in self.match:
            return None
        match = self.match["match"].transpose("layer", "measured_layer", "stimulus", "seed", "metric")
        return match if match["layer"].values.tolist() == self.layers else match.reindex(layer=self.layers)

    @cached_property
    def own_matches(self) -> xr.DataArray | None:
        """Match of each metamer at its own layer, ``(layer, stimulus, seed, metric)``, in memory; NaN where missing."""
        if self.matches is None:
            return None
        match = self.matches
        rows = np.full([match.sizes[dim] for dim in match.dims if dim != "measured_layer"], np.nan, match.dtype)
        for index, layer in enumerate(self.layers):
            if layer in self.measured_layers:
                rows[index] = match.isel(layer=index).sel(measured_layer=layer).values
        return match.isel(measured_layer=0, drop=True).copy(data=rows)

    def own_match(self, metric: str) -> NDArray[np.float32]:
        """Return the match of each metamer at its own layer, ``(layer, stimulus, seed)``; NaN where it is missing."""
        if self.own_matches is None or metric not in self.own_matches["metric"].values:
            return self._unknown
        return np.asarray(self.own_matches.sel(metric=metric).values)

    def judged(self, name: str, metric: str) -> NDArray[np.float32]:
        """Read a variable ``(layer, stimulus, seed, metric)`` of the match at one metric; NaN if it does not exist."""
        if self.match is None or name not in self.match or metric not in self.match["metric"].values:
            return self._unknown
        return np.asarray(self.match[name].sel(metric=metric).transpose("layer", "stimulus", "seed").values)

    def of_null(self, name: str, metric: str) -> xr.DataArray | None:
        """Read a variable of the null at one metric, for the layers of the model; None if it does not exist."""
        if self.null is None or name not in self.null or metric not in self.null["metric"].values:
            return None
        values = self.null[name].sel(metric=metric)
        return (values.reindex(layer=self.layers) if "layer" in values.dims else values).load()

    @property
    def _unknown(self) -> NDArray[np.float32]:
        return np.full((len(self.layers), len(self.stimuli), len(self.seeds)), np.nan, dtype=np.float32)

    @cached_property
    def final_loss(self) -> xr.DataArray:
        """Distance of each metamer after its last update, ``(layer, stimulus, seed)``; NaN where it is not done."""
        import xarray as xr

        parts = []
        for block in _slices(self.metamers["loss"]):
            part = self.metamers[["loss", "steps", "state"]].isel(stimulus=block).load()
            last = part["loss"].isel(step=part["steps"].clip(min=0)).drop_vars("step", errors="ignore")
            parts.append(last.where(part["state"] == STATES["done"]))
        joined: xr.DataArray = xr.concat(parts, "stimulus").transpose("layer", "stimulus", "seed")
        return joined

    def losses(self, layer: int, updates: Sequence[int] | slice = slice(None)) -> NDArray[np.float32]:
        """Read the losses at one layer, ``(stimulus, seed, step)``; the last is repeated after an early stop.

        In memory are those of one block of stimuli, and of all stimuli those at some `updates`; by default at all.
        """
        loss = self.metamers["loss"].isel(layer=layer).transpose("stimulus", "seed", "step")
        return np.concatenate([_continued(block)[..., updates] for block in _blocks(loss)])

    def signals(self, layer: str, count: int | None = None) -> NDArray[np.float32]:
        """Read the metamers of one layer, ``(stimulus, seed, …)``, of the first `count` stimuli; NaN where not done."""
        own = self.metamers[["signal", "state"]].sel(layer=layer).isel(stimulus=slice(count)).load()
        done: NDArray[np.float32] = (
            own["signal"].where(own["state"] == STATES["done"]).transpose("stimulus", "seed", ...).values
        )
        return done

    def natural_signals(self, count: int | None = None) -> Iterator[NDArray[np.float32] | None]:
        """Yield the natural signals in order; None for one that has not been written yet."""
        for block in _blocks(self.natural["signal"].transpose("stimulus", ...), count):
            yield from (_complete(signal) for signal in block)

    def metamer_signals(self, layer: int, count: int | None = None) -> Iterator[list[NDArray[np.float32] | None]]:
        """Yield a layer's metamers for each stimulus: a list over seeds, with None for one that is missing."""
        for block in _blocks(self.metamers["signal"].isel(layer=layer).transpose("stimulus", "seed", ...), count):
            yield from ([_complete(signal) for signal in seeds] for seeds in block)


def models_of(tree: xr.DataTree) -> list[ModelResults]:
    """Return the results of each model of a study, in the study's order; evaluations and runs have none.

    Raises
    ------
    MetameryError
        A group or a variable does not follow the schema.

    Examples
    --------
    ``{results.name: results.layers for results in models_of(open_study("study"))}``
    """
    groups = tree["models"].children if "models" in tree.children else {}
    order = {name: position for position, name in enumerate(tree.attrs.get("names", ()))}
    models = [_model(key, node) for key, node in sorted(groups.items())]
    return sorted(models, key=lambda model: order.get(model.name, len(order)))


def _model(key: str, node: xr.DataTree) -> ModelResults:
    parts: dict[str, xr.Dataset | None] = {}
    for part in ("stimuli", "metamers", "match", "null"):
        parts[part] = node.children[part].to_dataset() if part in node.children else None
    natural, metamers = parts["stimuli"], parts["metamers"]
    if natural is None or metamers is None:
        raise MetameryError(f"the results are damaged: model '{key}' has no group 'stimuli' or 'metamers'")
    signal_dims = tuple(str(dim) for dim in natural["signal"].dims if dim != "stimulus") if "signal" in natural else ()
    expected = {
        "stimuli": fitted_variables(signal_dims),
        "metamers": metamer_variables(signal_dims),
        "match": {**match_variables(joint=True), **success_variables(joint=True)},
        "null": null_variables(),
    }
    for part, dataset in parts.items():
        for name, variable in expected[part].items():
            if dataset is not None and name in dataset and {*dataset[name].dims} != {*variable.dims}:
                dims = ", ".join(map(str, dataset[name].dims))
                raise MetameryError(
                    f"the results are damaged: 'models/{key}/{part}/{name}' has dimensions ({dims}), "
                    f"expected ({', '.join(variable.dims)})"
                )
    attributes = {str(name): value for name, value in node.attrs.items()}
    return ModelResults(key, attributes, natural, metamers, parts["match"], parts["null"])


def stimulus_facts(tree: xr.DataTree) -> dict[str, dict[str, str]]:
    """Return category, source and licence of every stimulus, by name; empty text where unknown."""
    if "stimuli" not in tree.children:
        return {}
    stimuli = tree["stimuli"].to_dataset()
    wanted = ("category", "source", "licence")
    columns = {name: stimuli[name].values for name in wanted if name in stimuli}
    return {
        str(stimulus): {name: str(columns[name][index]) if name in columns else "" for name in wanted}
        for index, stimulus in enumerate(stimuli["stimulus"].values)
    }


def _blocks(values: xr.DataArray, count: int | None = None) -> Iterator[NDArray[np.float32]]:
    """Read values ``(stimulus, …)`` block by block."""
    return (np.asarray(values[block].values) for block in _slices(values, count))


def _slices(values: xr.DataArray, count: int | None = None) -> Iterator[slice]:
    """Yield slices of the stimuli, one for each chunk of the store, so that none is decompressed twice."""
    total = values.sizes["stimulus"] if count is None else min(count, values.sizes["stimulus"])
    length = values.encoding.get("preferred_chunks", {}).get("stimulus", 1)
    return (slice(first, min(first + length, total)) for first in range(0, total, length))


def _continued(loss: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return losses ``(…, step)`` with the last one repeated where there is none."""
    known = np.where(np.isfinite(loss), np.arange(loss.shape[-1]), 0)
    return np.take_along_axis(loss, np.maximum.accumulate(known, axis=-1), axis=-1)


def _complete(signal: NDArray[np.float32]) -> NDArray[np.float32] | None:
    return signal if np.isfinite(signal).all() else None
