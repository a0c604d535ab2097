"""Controversial signals as a study of their own, which `experiment build` takes: trials for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ...framework.domains import domain_from
from ...framework.errors import MetameryError, unknown
from ...framework.folders import check_output, has_results
from ...framework.model_results import models_of, stimulus_facts
from ...framework.provenance import provenance
from ...framework.remote import on_disk
from ...framework.schema import (
    STATES,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    stimuli_variables,
    success_variables,
)
from ...framework.store import Group, StudyStore
from ..studies.in_memory import Results, opened

GROUP = "controversial"
"""Group of the evaluator's results in a study."""

_FACTS = ("category", "source", "licence")

_Facts = Mapping[str, Mapping[str, str]]


def controversial_trials(study: Results, folder: str | Path, categories: Sequence[str] = ()) -> int:
    """Write controversial signals as a study of their own, from which `experiment build` makes trials for people.

    Its stimuli are those that have signals. For each ordered pair of networks it has a model ``A against B``, and for
    each pair of their layers a layer ``a / b``, whose metamer of a stimulus is the signal that A takes for it and B
    for another. So a participant who answers the stimulus's category sees as A does, one who answers the other's as B
    does. Its group ``controversial`` states the other stimulus of each signal, both categories, which are also the
    trial's ``alternatives`` for `experiment build`, and the verdict.

    Parameters
    ----------
    study
        A study with results of the evaluator `controversial`.
    folder
        Folder of the new study.
    categories
        Two categories between which participants choose: only signals for one of them and against the other are
        written. By default all are, and participants choose among all categories.

    Returns
    -------
    int
        Number of signals.

    Raises
    ------
    MetameryError
        The study has no such results, or none that fit; the folder holds something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from metamery.analysis import as_study, controversial_trials, evaluate, null_distribution, synthesise
    >>> from metamery.framework import Stimulus
    >>> from metamery.framework.testing import example_model, example_signals
    >>> models = {"one": example_model(), "two": example_model(seed=1)}
    >>> dark, light = 0.2 * example_signals(models["one"], 2), 1 - 0.2 * example_signals(models["one"], 2)
    >>> stimuli = [Stimulus(each, "night", name=f"n{index}") for index, each in enumerate(dark)]
    >>> stimuli += [Stimulus(each, "day", name=f"d{index}") for index, each in enumerate(light)]
    >>> made = {name: synthesise(model, stimuli, ["1"], steps=1) for name, model in models.items()}
    >>> nulls = {name: null_distribution(model, stimuli, ["1"]) for name, model in models.items()}
    >>> found = evaluate("controversial", as_study(made, nulls), models=models, steps=20)
    >>> with TemporaryDirectory() as folder:
    ...     controversial_trials(as_study(made, nulls, {"controversial": found}), f"{folder}/trials")
    8
    """
    if categories and len({*categories}) != 2:
        raise MetameryError(f"categories are {', '.join(categories)}: expected two, between which people choose")
    folder = on_disk(folder)
    check_output(folder, "study")
    if has_results(folder):
        raise MetameryError(f"'{folder}' is a study already: choose another folder")
    with opened(study) as tree:
        if GROUP not in tree.children or "signal" not in tree[GROUP]:
            raise MetameryError("the study has no controversial signals: expected those of the evaluator controversial")
        found, facts = tree[GROUP].to_dataset().load(), stimulus_facts(tree)
        known = {each["category"] for each in facts.values()}
        if strange := sorted({*categories} - known):
            raise unknown("category of the study", strange[0], known)
        is_shown = _are_shown(found, facts, categories)
        if not is_shown.any():
            raise MetameryError("the study has no controversial signals of these categories")
        found = found.isel(stimulus=is_shown.any(axis=0))
        is_shown = is_shown[:, is_shown.any(axis=0)]
        groups, contents, names = _parts(tree, found, is_shown, facts)
        answers = json.loads(tree.attrs.get("answers") or "{}")
        attributes = {
            "study": tree.attrs.get("study", "seed = 0\n"),
            "names": names,
            "answers": json.dumps({str(name): answers.get(str(name), {}) for name in found["stimulus"].values}),
            **provenance(),
        }
        with StudyStore.creating(folder) as draft:
            draft.set_attributes(attributes)
            for path, group in groups.items():
                draft.add_group(path, group)
                draft.write(path, {}, contents.get(path, {}))
            draft.add(GROUP, _described(found, is_shown, facts))
    return int(is_shown.sum())


def _are_shown(found: xr.Dataset, facts: _Facts, categories: Sequence[str]) -> NDArray[np.bool_]:
    """Whether there is a signal, of the categories, ``(site, stimulus)``."""
    there = np.isfinite(found["signal"].values).all(axis=tuple(range(2, found["signal"].ndim)))
    if categories:
        own, other = _categories(found, facts)
        there &= ((own[None] == categories[0]) & (other == categories[1])) | (
            (own[None] == categories[1]) & (other == categories[0])
        )
    return np.asarray(there)


def _categories(found: xr.Dataset, facts: _Facts) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """The categories of the stimuli, ``(stimulus,)``, and of the other ones, ``(site, stimulus)``."""
    of = {name: each["category"] for name, each in facts.items()} | {"": ""}
    own = np.array([of[str(name)] for name in found["stimulus"].values], dtype=str)
    others = found["other_stimulus"].values
    return own, np.array([of[str(name)] for name in others.flat], dtype=str).reshape(others.shape)


def _parts(
    tree: xr.DataTree, found: xr.Dataset, is_shown: NDArray[np.bool_], facts: _Facts
) -> tuple[dict[str, Group], dict[str, dict[str, Any]], list[str]]:
    """The groups of the study of trials, their contents, and the names of its models."""
    stimuli = [str(name) for name in found["stimulus"].values]
    models, layers = ([str(name) for name in found[dim].values] for dim in ("model", "layer"))
    sizes = {str(dim): size for dim, size in found["signal"].sizes.items() if dim not in ("site", "stimulus")}
    domain = domain_from(found.attrs, sizes)
    stored = {results.name: results for results in models_of(tree)}
    # the models of largest input have the signals' own domain
    reference = next(each for each in stored.values() if each.domain.shape == domain.shape)
    natural = reference.natural.sel(stimulus=stimuli)["signal"].transpose("stimulus", *domain.dims).values
    groups = {"stimuli": Group(stimuli_variables(), {"stimulus": stimuli})}
    contents: dict[str, dict[str, Any]] = {
        "stimuli": {fact: np.array([facts[name][fact] for name in stimuli], dtype=object) for fact in _FACTS}
    }
    names = list(dict.fromkeys(models))
    for name in names:
        sites = [index for index, model in enumerate(models) if model == name]
        one = stored[str(found["one_model"].values[sites[0]])]
        labels = [str(label) for label in one.attributes.get("labels") or ()]
        each: dict[str, list[Any]] = {"layer": [layers[site] for site in sites], "stimulus": stimuli, "seed": [0]}
        at = {**each, "measured_layer": each["layer"], "metric": [str(metric) for metric in found["metric"].values]}
        path = f"models/{model_key(name)}"
        groups |= {
            path: Group(attributes={**one.attributes, **domain.attributes(), "model": name}),
            f"{path}/stimuli": Group(fitted_variables(domain.dims), {"stimulus": stimuli}, sizes),
            f"{path}/metamers": Group(metamer_variables(domain.dims), {**each, "step": [0]}, sizes),
            f"{path}/match": Group({**match_variables(), **success_variables()}, at),
        }
        contents |= {
            f"{path}/stimuli": {
                "signal": natural,
                **{
                    fact: one.natural[fact].sel(stimulus=stimuli).values
                    for fact in ("predicted", "confidence", "correct")
                },
            },
            f"{path}/metamers": _signals(found.isel(site=sites), is_shown[sites]),
            f"{path}/match": _verdicts(found.isel(site=sites), is_shown[sites], labels),
        }
    return groups, contents, names


def _signals(found: xr.Dataset, is_shown: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Values of the group ``metamers`` of one pair of networks."""
    signal = np.where(is_shown.reshape(*is_shown.shape, *[1] * (found["signal"].ndim - 2)), found["signal"], np.nan)
    distance = 10 ** (-found["match"].sel(metric="snr_db").values / 20)  # ‖a − a₀‖ / ‖a₀‖
    values = {
        "loss": np.where(is_shown, distance, np.nan)[..., None],
        "steps": np.where(is_shown, 0, -1),
        "state": np.where(is_shown, STATES["done"], STATES["missing"]),
    }
    return {"signal": signal[:, :, None]} | {name: own[:, :, None] for name, own in values.items()}


def _verdicts(found: xr.Dataset, is_shown: NDArray[np.bool_], labels: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Values of the group ``match`` of one pair of networks: fit and answers of the first, and success in both."""
    fit = np.where(is_shown[..., None], found["match"].transpose("site", "stimulus", "metric"), np.nan)[:, :, None]
    everywhere = np.full((len(fit), *fit.shape), np.nan, dtype=np.float32)  # (layer, measured_layer, …)
    everywhere[np.arange(len(fit)), np.arange(len(fit))] = fit
    number = {label: index for index, label in enumerate(labels)}
    answers = [number.get(str(answer), -1) for answer in found["answer"].values.flat]
    values = {
        "predicted": (np.array(answers).reshape(is_shown.shape), -1),
        "confidence": (found["probability"].values, np.nan),
        "agrees": (found["agrees"].values, -1),
        "success": (found["success"].values, -1),
    }
    shown = {name: np.where(is_shown, own, missing)[..., None] for name, (own, missing) in values.items()}
    answers_of = {f"{prefix}{name}": own for prefix in ("", "quantised_") for name, own in shown.items()}
    return {"match": everywhere, "quantised_match": fit, **answers_of}


def _alternatives(own: NDArray[np.str_], other: NDArray[np.str_]) -> NDArray[np.object_]:
    """Alternatives of each trial, ``(site, stimulus)``, as `experiment.alternatives.stated_alternatives` reads them."""
    texts = [
        json.dumps(sorted({one, two}), ensure_ascii=False) if one != two else ""
        for row in other
        for one, two in zip(own.tolist(), row.tolist(), strict=True)
    ]
    return np.array(texts, dtype=object).reshape(other.shape)


def _described(found: xr.Dataset, is_shown: NDArray[np.bool_], facts: _Facts) -> xr.Dataset:
    """What each signal is, by the names of the study of trials."""
    own, other = _categories(found, facts)
    texts = {
        "category": (np.broadcast_to(own, other.shape), "what the stimulus shows, the answer of the first network"),
        "other_category": (other, "what the other stimulus shows, the answer of the second network"),
        "other_stimulus": (found["other_stimulus"].values, "the other stimulus"),
        "alternatives": (_alternatives(own, other), "both categories, a list in JSON; empty where they are the same"),
    }
    dims = ("site", "stimulus")
    variables: dict[str, Any] = {
        name: (dims, np.where(is_shown, values, "").astype(object), {"long_name": about, "units": "1"})
        for name, (values, about) in texts.items()
    }
    variables["success"] = (dims, np.where(is_shown, found["success"].values, -1), found["success"].attrs)
    coordinates = {name: found[name] for name in ("site", "model", "layer")}
    about = {
        "title": "Controversial signals as trials",
        "reading_order": ["success"],
        "read_first": "Who answers the "
        "stimulus's category sees as the first network does, who answers the other's as the second.",
    }
    return xr.Dataset(variables, {**coordinates, "stimulus": found["stimulus"].values}, about)
