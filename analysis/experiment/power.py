"""Power by simulation: how often an experiment would find each effect, if observers had stated accuracies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError
from ..statistics.decomposition import Effect, mixed, one_way
from ..statistics.proportions import proportion
from .key import NATURAL, Item, Key
from .observers import Accuracy

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 0.05
TERMS = ("layer", "recogniser:layer")
"""The effect of stage on people alone, and the interaction of observer (people, the generating model) and stage."""

MAX_SCORES = 2**22
"""Number of scores in memory at once."""


def power(
    key: Key,
    participants: int,
    people: Accuracy,
    network: Accuracy,
    *,
    experiments: int,
    generator: np.random.Generator,
    alpha: float = ALPHA,
) -> xr.Dataset:
    """Simulate experiments, and count in how many each effect is found.

    An effect is found where the p with Greenhouse and Geisser's correction is at most `alpha`; an effect without any
    error is found, and one without any effect is not.

    Parameters
    ----------
    participants
        Number of participants of each experiment, who fill the lists in turn.
    people, network
        Accuracies of people, and of the generating model on the signals that each person gets.
    experiments
        Number of simulated experiments.

    Returns
    -------
    xr.Dataset
        ``power (model, term)`` with the ends of its 95 % Wilson interval; ``p`` and ``p_GG (model, term, seed)``,
        without and with correction, for each simulated experiment, NaN where F is.

    Raises
    ------
    MetameryError
        There are fewer than two participants, or a participant of the experiment lacks a stage.
    """
    if participants < 2:
        raise MetameryError(f"participants is {participants}, expected at least 2")
    p_values = np.stack(
        [_p_values(key, model, participants, people, network, experiments, generator) for model in key.models]
    )
    plain, corrected = p_values[:, 0], p_values[:, 1]  # (model, term, experiment)
    what = f"share of simulated experiments in which the effect is found at α = {alpha:g}"
    variables: dict[str, Any] = proportion(
        "power", ["model", "term"], (corrected <= alpha).sum(axis=-1), experiments, what
    )
    dims = ("model", "term", "seed")
    variables["p"] = (dims, plain, {"long_name": "p of the F distribution", "units": "1"})
    variables["p_GG"] = (dims, corrected, {"long_name": "p, Greenhouse–Geisser", "units": "1"})
    coordinates = {"model": list(key.models), "term": list(TERMS), "seed": range(experiments)}
    about = {
        "title": f"Power with {participants} participants",
        "reading_order": ["power"],
        "participants": participants,
        "experiments": experiments,
    }
    return xr.Dataset(variables, coordinates, about)


def _trials(key: Key, model: str, participants: int) -> NDArray[np.int64]:
    """Number of trials of each participant at each stage ``(participant, stage)`` that show what was intended."""
    stages = _stages(key, model)
    counts = np.zeros((len(key.lists), len(stages)), np.int64)
    for list_ in range(len(key.lists)):
        for name in key.trials(list_):
            item = key.items[name]
            if _counts(item, model):
                counts[list_, stages.index(item.layer)] += 1
    if bad := np.argwhere(counts == 0).tolist():
        raise MetameryError(
            f"list {bad[0][0]} has no trial of '{stages[bad[0][1]]}' of '{model}': expected each stage in each list"
        )
    return counts[np.arange(participants) % len(key.lists)]


def _stages(key: Key, model: str) -> list[str]:
    shown = {item.layer for item in key.items.values() if _counts(item, model)}
    stages = [layer for layer in (NATURAL, *key.models[model]) if layer in shown]
    if len(stages) < 2:
        raise MetameryError(f"the experiment has {len(stages)} stage of '{model}', expected at least 2")
    return stages


def _counts(item: Item, model: str) -> bool:
    intended = "natural" if item.layer == NATURAL else "metamer"
    return item.role == "main" and item.shown == intended and item.model in ("", model)


def _p_values(
    key: Key,
    model: str,
    participants: int,
    people: Accuracy,
    network: Accuracy,
    experiments: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """P without and with correction, ``(2, term, experiment)``."""
    trials = _trials(key, model, participants)
    accuracies = [np.array([each.by_layer[stage] for stage in _stages(key, model)]) for each in (people, network)]
    step = max(1, MAX_SCORES // trials.size)
    blocks = []
    for first in range(0, experiments, step):
        shape = (min(step, experiments - first), *trials.shape)
        scores = np.stack([generator.binomial(trials, each, shape) / trials for each in accuracies], axis=1)
        effects = one_way(scores[:, :1]), mixed(scores)[2]
        blocks.append([[_p(effect, corrected) for effect in effects] for corrected in (False, True)])
    return np.concatenate(blocks, axis=-1)


def _p(effect: Effect, corrected: bool) -> NDArray[np.float64]:
    """P of an effect; without any error it is 0 where there is an effect, NaN where there is none."""
    exact = np.where(effect.ss_effect > 0, 0.0, np.nan)
    return np.where(effect.ss_error > 0, effect.p(corrected), exact)
