"""Studies in memory: results of `synthesise` and of evaluators, in the form that `open_study` returns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from ...framework.errors import MetameryError, unknown
from ...framework.folders import check_input
from ...framework.groups import check_apart, check_result_name, result_name
from ...framework.remote import RemotePath, folder_at
from ...framework.results import open_study
from ...framework.schema import (
    SCHEMA_VERSION,
    check_dataset,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    stimuli_variables,
    success_variables,
)
from ...framework.store import Group
from ..proof.success import judge
from .damage import without_lost

Results = str | Path | RemotePath | xr.DataTree | xr.Dataset | Mapping[str, xr.Dataset]
"""A study's folder, an open study, what `synthesise` or an evaluator returned, or several of these by name."""

_OF_STUDY = ("metamery_version", "torch_version", "device", "threads", "settings", "seed", "answers")
"""Attributes of a synthesised Dataset that belong to the study; the others belong to the model."""


def as_study(
    metamers: xr.Dataset | Mapping[str, xr.Dataset],
    null: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
    results: Mapping[str, xr.Dataset] | None = None,
) -> xr.DataTree:
    """Assemble results in memory as a study, in the form that `open_study` returns.

    Parameters
    ----------
    metamers
        What `synthesise` returned; for several models, a mapping from their names, all with the same stimuli. The
        model of a single Dataset is named ``model``.
    null
        What `null_distribution` returned for the model, or a mapping for several. Success of the metamers is then
        judged against it.
    results
        What evaluators returned, by the name of their group, such as ``{"recognition": recognised}``.

    Returns
    -------
    xarray.DataTree
        The groups ``stimuli``, ``models/KEY/…`` and those of `results`.

    Raises
    ------
    MetameryError
        A Dataset is not from `synthesise`, the models' stimuli differ, a null belongs to none of the models, or a
        result does not pass `check_dataset`.

    Examples
    --------
    >>> from metamery.analysis import as_study, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), layers=["1"], steps=5)
    >>> [node.path for node in as_study({"small": metamers})["models"].subtree][1:]
    ['/models/small', '/models/small/stimuli', '/models/small/metamers', '/models/small/match']
    """
    models = {"model": metamers} if isinstance(metamers, xr.Dataset) else dict(metamers)
    nulls = {next(iter(models)): null} if isinstance(null, xr.Dataset) else dict(null or {})
    _check(models, nulls)
    first = next(iter(models.values()))
    about = {"schema_version": SCHEMA_VERSION, "names": [*models], **_attributes(first, of_study=True)}
    nodes: dict[str, xr.Dataset] = {
        "/": xr.Dataset(attrs=about),
        "/stimuli": _part(first, stimuli_variables()),
    }
    check_apart([model_key(name) for name in models], [])
    for name, dataset in models.items():
        nodes |= _model(name, dataset, nulls.get(name))
    for name, result in (results or {}).items():
        check_result_name(name)
        check_dataset(result)
        nodes[f"/{name}"] = result
    return xr.DataTree.from_dict(nodes)


@contextmanager
def opened(results: Results, kinds: Sequence[str] = ("study",)) -> Iterator[xr.DataTree]:
    """Open results of any form in `Results`; lost metamers of a folder are marked as missing.

    Parameters
    ----------
    results
        Folder of the results, or the results themselves.
    kinds
        Kinds of folders that are accepted.

    Raises
    ------
    MetameryError
        The folder or the object is something else.
    """
    if isinstance(results, str | Path | RemotePath):
        folder = check_input(folder_at(results), kinds, "a study's folder")
        with open_study(folder) as tree:
            yield without_lost(folder, tree)
    else:
        yield study_tree(results)


def study_tree(results: xr.DataTree | xr.Dataset | Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Return results in memory as a tree: a study if they are metamers, otherwise a group for each."""
    if isinstance(results, xr.DataTree):
        return results
    named = {_name(results): results} if isinstance(results, xr.Dataset) else dict(results)
    are_metamers = [_is_synthesised(dataset) for dataset in named.values()]
    if any(are_metamers):
        return as_study(results)
    for name, dataset in named.items():
        check_dataset(dataset)
        check_apart([name], named)
    root = xr.Dataset(attrs={"schema_version": SCHEMA_VERSION, **_shared(named.values())})
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": dataset for name, dataset in named.items()}})


def _check(models: Mapping[str, xr.Dataset], nulls: Mapping[str, xr.Dataset]) -> None:
    if not models:
        raise MetameryError("there are no metamers, expected what synthesise returns")
    for name, dataset in models.items():
        if not _is_synthesised(dataset):
            raise MetameryError(
                f"'{name}' is not what synthesise returns, expected metamers; evaluators' results go into "
                "as_study(metamers, results={…})"
            )
    for name in nulls:
        if name not in models:
            raise unknown("model of the null", name, models)
    stimuli = {name: dataset["stimulus"].values.tolist() for name, dataset in models.items()}
    first = next(iter(stimuli))
    for name, names in stimuli.items():
        if names != stimuli[first]:
            raise MetameryError(f"'{name}' and '{first}' have different stimuli, expected the same")


def _model(name: str, dataset: xr.Dataset, null: xr.Dataset | None) -> dict[str, xr.Dataset]:
    """Return the groups of one model, by path."""
    dims = tuple(str(dim) for dim in dataset["natural"].dims if dim != "stimulus")
    judged = dataset.assign(_undecided(dataset) if null is None else judge(dataset, null))
    natural = {own: "natural" if own == "signal" else f"natural_{own}" for own in fitted_variables(dims)}
    path = f"/models/{model_key(name)}"
    return {
        path: xr.Dataset(attrs={"model": name, "options": "{}", **_attributes(dataset, of_study=False)}),
        f"{path}/stimuli": _part(dataset, natural.values()).rename({old: new for new, old in natural.items()}),
        f"{path}/metamers": _part(dataset, metamer_variables(dims)).assign_attrs(settings=dataset.attrs["settings"]),
        f"{path}/match": _part(judged, {**match_variables(joint=True), **success_variables(joint=True)}),
        **({} if null is None else {f"{path}/null": null}),
    }


def _part(dataset: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Return those of the variables that a Dataset has, with dimension coordinates only, without its attributes."""
    part = dataset[[name for name in names if name in dataset]]
    return part.drop_vars([name for name in part.coords if name not in part.dims]).drop_attrs(deep=False)


def _undecided(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the verdicts that a Dataset lacks, all marked as missing."""
    variables = success_variables(joint="quantised_term_match" in dataset)
    missing = {name: variable for name, variable in variables.items() if name not in dataset}
    at = {dim: dataset[dim].values.tolist() for dim in ("layer", "measured_layer", "stimulus", "seed", "metric")}
    return {str(name): array for name, array in Group(missing, at).empty().data_vars.items()}


def _attributes(dataset: xr.Dataset, *, of_study: bool) -> dict[str, Any]:
    return {str(name): value for name, value in dataset.attrs.items() if (name in _OF_STUDY) == of_study}


def _shared(datasets: Collection[xr.Dataset]) -> dict[str, Any]:
    """Return the versions that are the same in all results of evaluators."""
    names = ("metamery_version", "torch_version", "created")
    values = {name: {str(dataset.attrs.get(name, "")) for dataset in datasets} for name in names}
    return {name: found.pop() for name, found in values.items() if len(found) == 1 and found != {""}}


def _is_synthesised(dataset: xr.Dataset) -> bool:
    return {"natural", "signal", "loss"} <= {*dataset.data_vars} and "settings" in dataset.attrs


def _name(dataset: xr.Dataset) -> str:
    """Return the name of a result's group: its evaluator's, without the plugin's."""
    evaluator = str(dataset.attrs.get("evaluator", "")).partition(":")[2]
    return result_name(evaluator) or ("history" if "epoch" in dataset.dims else "results")
