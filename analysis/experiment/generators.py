"""What the generating networks answer to the very signals that people were given, from the study's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...framework.errors import MetameryError, unknown
from ...framework.model_results import ModelResults, models_of
from ..studies.unchanged import right_answers
from .key import NATURAL, Key

if TYPE_CHECKING:
    import xarray as xr

SOURCES: Mapping[str, str] = {
    "recognition": "answers in the study's results of the evaluator recognition",
    "classes": "the network's class, by the right answers that the study stores",
    "agreement": "agreement with the network's own class of the natural signal: no right answers are known",
    "": "not known: the network has no classes",
}
"""How the answers of a generating network are judged, the first that the study allows."""

COLUMNS = ("model", "layer", "stimulus", "seed", "network")


def generator_answers(tree: xr.DataTree, key: Key) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return whether each model recognises its own metamers and the natural signals, as far as it is known.

    Metamers are judged as people get them, in 8-bit pictures or 16-bit sound.

    Returns
    -------
    (pd.DataFrame, dict of str)
        Rows with the columns `COLUMNS`, ``network`` being 0 or 1, and a natural signal's seed −1; and for each model
        how it was judged, one of `SOURCES`.

    Raises
    ------
    MetameryError
        The study lacks one of the experiment's models, layers or stimuli.
    """
    stored = {results.name: results for results in models_of(tree)}
    frames, judged = [], {}
    for name, layers in key.models.items():
        if name not in stored:
            raise MetameryError(f"the experiment is not of this study: {unknown('model', name, stored)}")
        _check(stored[name], layers, key)
        frame, judged[name] = _answers(tree, stored[name])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS)), judged


def _check(results: ModelResults, layers: tuple[str, ...], key: Key) -> None:
    stimuli = dict.fromkeys(results.stimuli)
    for layer in layers:
        if layer not in results.layers:
            raise MetameryError(f"the experiment is not of this study: {unknown('layer', layer, results.layers)}")
    for item in key.items.values():
        if item.role == "main" and item.stimulus not in stimuli:
            raise MetameryError(f"the experiment is not of this study: {unknown('stimulus', item.stimulus, stimuli)}")


def _answers(tree: xr.DataTree, results: ModelResults) -> tuple[pd.DataFrame, str]:
    for source, found in (
        ("recognition", _from_recognition(tree, results)),
        ("classes", _from_classes(tree, results)),
        ("agreement", _from_agreement(results)),
    ):
        if found is not None and (found[0] >= 0).any() and (found[1] >= 0).any():
            return _frame(results, *found), source
    return pd.DataFrame(columns=list(COLUMNS)), ""


_Found = tuple[np.ndarray, np.ndarray]
"""Answers to natural signals ``(stimulus)`` and to metamers ``(layer, stimulus, seed)``: 1, 0, or −1 if not known."""


def _from_recognition(tree: xr.DataTree, results: ModelResults) -> _Found | None:
    if "recognition" not in tree.children:
        return None
    kept = tree.children["recognition"].to_dataset()
    if "correct" not in kept or results.name not in kept["recogniser"].values:
        return None
    own = kept["correct"].isel(site=np.flatnonzero(kept["model"].values == results.name)).sel(recogniser=results.name)
    layers = own["layer"].values.tolist()
    if {NATURAL, *results.layers} - {*layers}:
        return None
    dims = ("site", "stimulus", "seed")
    at = {"stimulus": results.stimuli, "seed": results.seeds}
    values = own.reindex(at, fill_value=-1).transpose(*dims).values
    order = [layers.index(layer) for layer in results.layers]
    return values[layers.index(NATURAL)].max(axis=-1), values[order]


def _from_classes(tree: xr.DataTree, results: ModelResults) -> _Found | None:
    labels = results.attributes.get("labels") or []
    space = str(results.attributes.get("label_space", "category"))
    answers = right_answers(tree)
    right = [_numbers(labels, answers.get(name, {}).get(space, frozenset())) for name in results.stimuli]
    if not any(right):
        return None
    natural = np.asarray(results.natural["predicted"].values)
    made = results.answers("quantised_predicted", -1)
    known = np.array([bool(each) for each in right])

    def judged(predicted: np.ndarray, stimulus_axis: int) -> np.ndarray:
        moved = np.moveaxis(predicted, stimulus_axis, 0)
        correct = np.stack([np.isin(one, list(own)) for one, own in zip(moved, right, strict=True)])
        shape = (-1, *[1] * (moved.ndim - 1))
        found = np.where(known.reshape(shape) & (moved >= 0), correct.astype(np.int8), -1)
        return np.moveaxis(found, 0, stimulus_axis)

    return judged(natural, 0), judged(made, 1)


def _from_agreement(results: ModelResults) -> _Found | None:
    natural = np.where(np.asarray(results.natural["predicted"].values) >= 0, 1, -1)
    return natural, results.answers("quantised_agrees", -1)


def _numbers(labels: list[str], answers: frozenset[str | int]) -> frozenset[int]:
    return frozenset(number for number, label in enumerate(labels) if number in answers or label in answers)


def _frame(results: ModelResults, natural: np.ndarray, made: np.ndarray) -> pd.DataFrame:
    stimuli, seeds = np.array(results.stimuli, dtype=object), np.array(results.seeds)
    whole = pd.DataFrame({"layer": NATURAL, "stimulus": stimuli, "seed": -1, "network": natural})
    layer, stimulus, seed = (index.ravel() for index in np.indices(made.shape))
    parts = pd.DataFrame(
        {
            "layer": np.array(results.layers, dtype=object)[layer],
            "stimulus": stimuli[stimulus],
            "seed": seeds[seed],
            "network": made.ravel(),
        }
    )
    both = pd.concat([whole, parts], ignore_index=True)
    return both[both["network"] >= 0].assign(model=results.name)[list(COLUMNS)]
