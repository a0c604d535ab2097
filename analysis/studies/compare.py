"""Several studies side by side: the same measures of all their models, in one dataset each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import xarray as xr

from ...framework.errors import MetameryError
from ...framework.model_results import models_of
from ...framework.schema import METRIC_UNITS, site_coordinates
from ..proof.success import success_by_layer
from .in_memory import Results, opened

_EACH = {"stimulus", "seed", "step", "participant", "channel", "y", "x", "time"}
_OWN = ("stimuli", "models")
_MODELS = ("model", "other_model", "recogniser")
_SITES = {"site": ("model", "layer"), "other_site": ("other_model", "other_layer")}


def compare(studies: Mapping[str, Results]) -> dict[str, xr.Dataset]:
    """Compare the models of several studies side by side.

    Parameters
    ----------
    studies
        Open studies, their folders, or what `synthesise` returned, by name. Models of the same name are distinguished
        as ``MODEL (NAME)``.

    Returns
    -------
    dict of xr.Dataset
        ``synthesis``: the proportion of metamers that succeed and how closely they match, over ``site``, each model's
        layers. Then the results of each evaluator that all studies have, with its intervals, over ``site`` or
        ``model``. Values of single stimuli, seeds or people are left out.

    Raises
    ------
    MetameryError
        There are fewer than two studies, or one holds no metamers.

    Examples
    --------
    >>> from metamery.analysis import compare, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> few, more = (synthesise(example_model(), example_stimuli(), ["1"], steps=steps) for steps in (2, 9))
    >>> compare({"few": few, "more": more})["synthesis"].site.values.tolist()
    ['model (few) 1', 'model (more) 1']
    """
    with ExitStack() as stack:
        return _compared({name: stack.enter_context(opened(study)) for name, study in studies.items()})


def _compared(studies: Mapping[str, xr.DataTree]) -> dict[str, xr.Dataset]:
    if len(studies) < 2:
        raise MetameryError(f"compare is given {', '.join(studies) or 'no study'}, expected at least two studies")
    renamed = _names(studies)
    synthesis = [_synthesis(name, tree, renamed[name]) for name, tree in studies.items()]
    found = {"synthesis": _joined(synthesis, "site").assign_attrs(_about(studies, renamed))}
    shared = [{*tree.children} - {*_OWN} for tree in studies.values()]
    for group in sorted(set.intersection(*shared)):
        parts = [_part(tree.children[group].to_dataset(inherit=False), renamed[name]) for name, tree in studies.items()]
        dim = next((dim for dim in ("site", "model") if all(dim in part.dims for part in parts)), None)
        if dim is not None:
            attributes = next(iter(studies.values())).children[group].attrs
            found[group] = _joined(parts, dim)
            about = {"title": attributes.get("title", group), "read_first": attributes.get("read_first")}
            about["reading_order"] = [name for name in attributes.get("reading_order", ()) if name in found[group]]
            found[group].attrs |= {name: value for name, value in about.items() if value}
    return found


def _about(studies: Mapping[str, xr.DataTree], names: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the attributes of the comparison of metamers, with a warning where losses are of different distances."""
    distances: dict[str, list[str]] = {}
    for study, tree in studies.items():
        for results in models_of(tree):
            distances.setdefault(str(results.settings.get("distance", "")), []).append(names[study][results.name])
    by = "; ".join(f"{distance} at {', '.join(models)}" for distance, models in distances.items())
    return {
        "title": "Metamers",
        "studies": [*studies],
        "reading_order": ["success", "agrees", "match", "loss"],
        "read_first": "Success, the same label and a match above chance, is comparable between studies; losses are so "
        "only where they are of one distance.",
        "warnings": [f"losses are of different distances, and are not comparable: {by}"] if len(distances) > 1 else [],
    }


def _names(studies: Mapping[str, xr.DataTree]) -> dict[str, dict[str, str]]:
    """Return the names of each study's models in the comparison."""
    own = {study: [results.name for results in models_of(tree)] for study, tree in studies.items()}
    for study, models in own.items():
        if not models:
            raise MetameryError(f"'{study}' holds no metamers, expected a study")
    count = Counter(model for models in own.values() for model in models)
    return {
        study: {model: model if count[model] == 1 else f"{model} ({study})" for model in models}
        for study, models in own.items()
    }


def _synthesis(study: str, tree: xr.DataTree, names: Mapping[str, str]) -> xr.Dataset:
    parts = []
    for results in models_of(tree):
        if results.match is None or results.own_matches is None:
            raise MetameryError(f"'{study}' holds no match of '{results.name}', expected a finished study")
        result = success_by_layer(results.match)
        fit = results.own_matches.median(("stimulus", "seed"))
        result["loss"] = results.final_loss.median(("stimulus", "seed")).assign_attrs(
            long_name="distance to the stimulus after the last update, median", units="1"
        )
        result["match"] = fit.assign_attrs(
            long_name="how closely metamers fit at their own layer, median", units=METRIC_UNITS
        )
        parts.append(_at_sites(result, names[results.name]))
    return _joined(parts, "site")


def _at_sites(dataset: xr.Dataset, model: str) -> xr.Dataset:
    layers = [str(layer) for layer in dataset["layer"].values]
    moved = dataset.drop_vars("layer").rename_dims(layer="site")
    return moved.assign_coords(site_coordinates([(model, layer) for layer in layers]))


def _part(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Return the part of an evaluator's dataset that goes into a comparison, with its models renamed."""
    kept = dataset[[name for name, array in dataset.data_vars.items() if not _EACH & {*array.dims}]]
    kept = kept[[name for name, array in kept.data_vars.items() if array.dtype.kind in "biuf"]].load()
    for coordinate in _MODELS:
        if coordinate in kept.coords:
            values = [names.get(str(name), str(name)) for name in kept[coordinate].values]
            kept = kept.assign_coords({coordinate: (kept[coordinate].dims, values, kept[coordinate].attrs)})
    for site, (model, layer) in _SITES.items():
        if site in kept.coords:
            labels = [f"{m} {name}" for m, name in zip(kept[model].values, kept[layer].values, strict=True)]
            kept = kept.assign_coords({site: labels})
    return kept


def _joined(parts: list[xr.Dataset], dim: str) -> xr.Dataset:
    """Concatenate parts; values that a part lacks along other dimensions are NaN, or empty text."""
    texts = {name for part in parts for name, variable in part.variables.items() if variable.dtype.kind in "OTU"}
    joined = xr.concat(
        parts,
        dim,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        fill_value=dict.fromkeys(texts, ""),
        combine_attrs="drop",
    )
    for other in {*joined.dims} - {dim}:  # an outer join sorts: restore the order of the parts
        order = dict.fromkeys(value for part in parts if other in part.coords for value in part[other].values.tolist())
        joined = joined.sel({other: list(order)})
        for name in texts - {other}:
            if name in joined.coords and joined[name].dims == (other,):  # the values of the first part only
                known = {
                    value: text
                    for part in reversed(parts)
                    if name in part.coords
                    for value, text in zip(part[other].values.tolist(), part[name].values.tolist(), strict=True)
                }
                joined = joined.assign_coords({name: (other, [known[value] for value in order], joined[name].attrs)})
    for name, array in joined.data_vars.items():
        array.attrs = dict(parts[0][name].attrs) if name in parts[0] else {}
    return joined
