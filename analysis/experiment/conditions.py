"""Conditions of an experiment: models with their layers, and natural signals; and what is shown in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...framework.errors import MetameryError, unknown
from ...framework.schema import STATES, VERDICTS
from .key import NATURAL, Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.model_results import ModelResults
    from .settings import Conditions


@dataclass(frozen=True, eq=False)
class Condition:
    """One condition.

    Parameters
    ----------
    results
        Model whose signals are shown.
    layer
        Layer of the metamers, or ``natural``.
    model
        Name of the model; empty for natural signals that all models share.
    """

    results: ModelResults
    layer: str
    model: str

    def signals(self, seed: int) -> Iterator[tuple[str, NDArray[np.float32] | None]]:
        """Yield the name and the intended signal of each stimulus; None where there is none."""
        if self.layer == NATURAL:
            yield from self.natural()
            return
        layer, position = self.results.layers.index(self.layer), self.results.seeds.index(seed)
        for name, signals in zip(self.results.stimuli, self.results.metamer_signals(layer), strict=True):
            yield name, signals[position]

    def natural(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield the name and the natural signal of each stimulus.

        Raises
        ------
        MetameryError
            A signal is not there yet.
        """
        for name, signal in zip(self.results.stimuli, self.results.natural_signals(), strict=True):
            if signal is None:
                raise MetameryError(f"the natural signal of '{name}' is missing: finish the study first")
            yield name, signal


def chosen_models(models: Sequence[ModelResults], settings: Conditions) -> list[ModelResults]:
    """Return the models that settings name, in the study's order.

    Raises
    ------
    MetameryError
        The study lacks a model or the seed, or the models take pictures and sounds.
    """
    known = [model.name for model in models]
    for name in settings.models:
        if name not in known:
            raise unknown("model of the study", name, known)
    chosen = [model for model in models if not settings.models or model.name in settings.models]
    for model in chosen:
        if settings.seed not in model.seeds:
            raise MetameryError(f"conditions.seed is {settings.seed}, the study has {', '.join(map(str, model.seeds))}")
    if len({model.domain.kind for model in chosen}) > 1:
        raise MetameryError("the study has models of pictures and of sounds: name some in conditions.models")
    return chosen


def conditions_of(models: Sequence[ModelResults], settings: Conditions) -> list[Condition]:
    """Return the conditions: natural signals, once if all models get the same ones, and each model's layers.

    Raises
    ------
    MetameryError
        No model has a layer that is named, or nothing is left.
    """
    layers = list(dict.fromkeys(layer for model in models for layer in model.layers))
    for layer in settings.layers:
        if layer not in layers:
            raise unknown("layer of the study", layer, layers)
    shared = len({model.domain for model in models}) == 1
    conditions = []
    for index, model in enumerate(models):
        if settings.natural and (index == 0 or not shared):
            conditions.append(Condition(model, NATURAL, "" if shared else model.name))
        conditions += [
            Condition(model, layer, model.name)
            for layer in model.layers
            if not settings.layers or layer in settings.layers
        ]
    if not conditions:
        raise MetameryError("the experiment has no conditions")
    return conditions


def shown(
    conditions: Sequence[Condition],
    answers: Mapping[str, str],
    settings: Conditions,
    heard: Mapping[tuple[str, str, str], int] | None = None,
    alternatives: Mapping[tuple[str, str, str], tuple[str, ...]] | None = None,
) -> list[dict[str, Item | None]]:
    """Return for each condition what is shown of each stimulus; None where it is left out.

    Parameters
    ----------
    conditions
        Conditions, from `conditions_of`.
    answers
        Right answer to each stimulus that is shown.
    settings
        What stands for metamers that are missing or not successful.
    heard
        Verdicts on metamers as their files hold them, by model, layer and stimulus, where these were measured again;
        otherwise the study's own on the quantised signal count.
    alternatives
        Answers that are offered on a signal, by model, layer and stimulus, where these are not all.
    """
    made = []
    for condition in conditions:
        verdicts = {} if condition.layer == NATURAL else verdicts_on(condition, settings.seed)
        measured = {
            stimulus: verdict
            for (model, layer, stimulus), verdict in (heard or {}).items()
            if (model, layer) == (condition.model, condition.layer)
        }
        made.append(
            {
                name: _shown(
                    Item(
                        "main",
                        answer,
                        name,
                        condition.model,
                        condition.layer,
                        shown="natural",
                        alternatives=(alternatives or {}).get((condition.model, condition.layer, name), ()),
                    ),
                    verdicts.get(name),
                    measured.get(name),
                    settings,
                )
                for name, answer in answers.items()
            }
        )
    return made


def verdicts_on(condition: Condition, seed: int) -> dict[str, tuple[int, int]]:
    """Return for each stimulus the state of its metamer, and whether that is successful after quantisation."""
    results = condition.results
    at = results.layers.index(condition.layer), slice(None), results.seeds.index(seed)
    states = results.metamers["state"].transpose("layer", "stimulus", "seed").values[at]
    success = results.answers("quantised_success", VERDICTS["missing"])[at]
    return dict(zip(results.stimuli, zip(states.tolist(), success.tolist(), strict=True), strict=True))


def _shown(natural: Item, verdict: tuple[int, int] | None, measured: int | None, settings: Conditions) -> Item | None:
    if verdict is None:
        return natural
    (state, rounded), intended = verdict, replace(natural, seed=settings.seed)
    if state != STATES["done"]:
        why = "failed" if state == STATES["failed"] else "missing"
        return replace(intended, reason=why) if settings.missing == "natural" else None
    why = ""
    if rounded == VERDICTS["no"]:
        why = "not successful after rounding"
    elif measured == VERDICTS["no"]:
        why = "not successful as its file holds it"
    if not why or settings.unsuccessful == "show":
        return replace(intended, shown="metamer", reason=why)
    return replace(intended, reason=why) if settings.unsuccessful == "natural" else None
