"""``/human``: people's recognition as a Dataset with the study's own models, layers and stimuli."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from ...framework.errors import MetameryError
from ...framework.schema import site_coordinates
from ..statistics.intervals import LEVEL
from ..statistics.resampling import bootstrap_mean
from .key import NATURAL, Key

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000

MODALITIES = {"picture": "vision", "sound": "audio"}


def counted(trials: pd.DataFrame, key: Key, generators: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that proportions count, each with its site, and what the generating model answers.

    These are the main trials of participants who are not excluded, on which the signal that was intended was shown.
    A natural signal that belongs to no model counts for each.

    Parameters
    ----------
    trials
        From `trials.trials`.
    generators
        From `generators.generator_answers`.
    """
    kept = trials[(trials["role"] == "main") & (trials["excluded"] == "") & ~is_replaced(trials)]
    shared = kept["model"] == ""
    repeated = [kept[shared].assign(model=model) for model in key.models]
    own = pd.concat([kept[~shared], *repeated], ignore_index=True)
    own["seed"] = own["seed"].fillna(-1).astype(int)
    known = generators.astype({"network": float})
    return own.merge(known, how="left", on=["model", "layer", "stimulus", "seed"])


def is_replaced(trials: pd.DataFrame) -> pd.Series[bool]:
    """Return whether another signal was shown than intended, such as the natural one for a metamer that failed."""
    return (trials["role"] == "main") & (trials["shown"] != np.where(trials["layer"] == NATURAL, "natural", "metamer"))


def human_dataset(
    counted: pd.DataFrame, key: Key, *, generator: np.random.Generator, resamples: int = RESAMPLES
) -> xr.Dataset:
    """Summarise people's answers.

    Parameters
    ----------
    counted
        From `counted`.
    generator, resamples
        Random generator and number of resamples of the bootstrap over participants.

    Returns
    -------
    xr.Dataset
        Over ``site``, a layer of a model with ``natural`` first: ``recognised`` in [0, 1] with the ends of its 95 %
        bootstrap interval over participants, NaN with fewer than two; ``generator``, the proportion of the same trials
        that the generating model gets right; ``reaction_time``, the median in s. ``trials``, ``right`` and
        ``participant_reaction_time (site, participant)``; ``recognised_by (site, participant)``; ``stimulus_trials``
        and ``stimulus_right (site, stimulus)``; ``confusions (site, category, answer)``, numbers of trials.

    Raises
    ------
    MetameryError
        No trial counts.
    """
    if counted.empty:
        raise MetameryError("no trial counts: none has an answer to a signal that was intended")
    sites = [(model, layer) for model, layers in key.models.items() for layer in (NATURAL, *layers)]
    participants = list(dict.fromkeys(counted["participant"].tolist()))
    stimuli = list(dict.fromkeys(item.stimulus for item in key.items.values() if item.role == "main"))
    site = _codes(list(zip(counted["model"], counted["layer"], strict=True)), sites)
    person, stimulus = _codes(counted["participant"], participants), _codes(counted["stimulus"], stimuli)
    right = counted["correct"].to_numpy(dtype=float)
    by_person = (len(sites), len(participants))
    tried, passed = _sums(by_person, (site, person)), _sums(by_person, (site, person), right)
    share = _ratio(passed, tried)
    by_network = counted["network"].to_numpy(dtype=float)
    is_known = np.isfinite(by_network)
    known = _sums(by_person, (site[is_known], person[is_known]))
    network = _ratio(_sums(by_person, (site[is_known], person[is_known]), by_network[is_known]), known)
    times = counted["reaction_time"].to_numpy(dtype=float, na_value=np.nan)
    of_stimulus = (len(sites), len(stimuli))
    choices = list(key.choices)
    category, answer = _codes(counted["category"], choices), _codes(counted["answer"], choices)
    is_choice = (category >= 0) & (answer >= 0)
    cells = (site[is_choice], category[is_choice], answer[is_choice])
    variables: dict[str, Any] = {
        **_recognised(share, generator, resamples),
        "generator": _site(_means(network), "proportion of the same signals that the generating model gets right"),
        "reaction_time": _site(_medians(times, site, len(sites)), "median reaction time", "s"),
        "recognised_by": _by_participant(share, "proportion of signals that the participant recognises"),
        "trials": _by_participant(tried.astype(np.int32), "number of trials"),
        "right": _by_participant(passed.astype(np.int32), "number of trials with the right answer"),
        "participant_reaction_time": _by_participant(
            _medians(times, np.ravel_multi_index((site, person), by_person), tried.size).reshape(by_person),
            "median reaction time of the participant",
            "s",
        ),
        "stimulus_trials": _by_stimulus(_sums(of_stimulus, (site, stimulus)), "number of trials with the stimulus"),
        "stimulus_right": _by_stimulus(
            _sums(of_stimulus, (site, stimulus), right), "number of trials with the stimulus and the right answer"
        ),
        "confusions": (
            ("site", "category", "answer"),
            _sums((len(sites), len(choices), len(choices)), cells).astype(np.int32),
            {"long_name": "number of trials with each answer to each category", "units": "1"},
        ),
    }
    coordinates = {
        **site_coordinates(sites),
        "participant": participants,
        "stimulus": stimuli,
        "category": choices,
        "answer": choices,
    }
    about = {
        "title": "Recognition by people",
        "reading_order": ["recognised", "reaction_time"],
        "read_first": "A layer whose metamers the model itself recognises and people do not is blind to what people "
        "go by, or goes by what people do not see or hear.",
        "experiment": key.experiment,
        "experiment_title": key.title,
        "chance": key.chance,
        "resamples": resamples,
    }
    return xr.Dataset(variables, coordinates, about)


def participant_rows(counted: pd.DataFrame, key: Key) -> tuple[list[dict[str, object]], list[str]]:
    """Return the table that `metamery statistics` reads, and the participants that it leaves out, one line each.

    A row has the columns `PARTICIPANT_COLUMNS`; ``network`` is empty text where the generating model's answers are not
    known. A participant who lacks a stage of a model is left out of that model: the analyses need a balanced design.
    """
    shares = counted.groupby(["model", "participant", "layer"], sort=False).agg(
        human=("correct", "mean"), network=("network", "mean")
    )
    values = {index: (float(human), float(network)) for index, human, network in shares.itertuples()}
    experiment = " ".join(key.title.split()) or "experiment"
    rows: list[dict[str, object]] = []
    remarks: list[str] = []
    for model, layers in key.models.items():
        own = set(counted.loc[counted["model"] == model, "layer"])
        stages = [layer for layer in (NATURAL, *layers) if layer in own]
        people = list(dict.fromkeys(counted.loc[counted["model"] == model, "participant"].tolist()))
        for person in people:
            if lacking := [stage for stage in stages if (model, person, stage) not in values]:
                remarks.append(
                    f"participant {person} has no trial of '{lacking[0]}' of '{model}' and is not in its statistics"
                )
                continue
            for index, stage in enumerate(stages):
                human, network = values[model, person, stage]
                rows.append(
                    {
                        "modality": MODALITIES[key.kind],
                        "experiment": experiment,
                        "model": model,
                        "participant": person,
                        "stage": stage,
                        "stage_index": index,
                        "human": human,
                        "network": "" if np.isnan(network) else network,
                    }
                )
    return rows, remarks


def exclusion_attributes(rules: Mapping[str, object], reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes that state the rules of exclusion, and how many sessions each reason excludes."""
    counts: dict[str, int] = {}
    for reason in reasons.values():
        for each in reason.split("; ") if reason else ():
            name = each.partition(":")[0]
            counts[name] = counts.get(name, 0) + 1
    return {
        "exclusion_rules": json.dumps(dict(rules)),
        "excluded": json.dumps(counts),
        "sessions": len(reasons),
        "sessions_excluded": sum(bool(reason) for reason in reasons.values()),
    }


def _recognised(share: NDArray[np.float64], generator: np.random.Generator, resamples: int) -> dict[str, Any]:
    what = "proportion of signals that people recognise"
    mean, low, high = _means(share), np.full(len(share), np.nan), np.full(len(share), np.nan)
    enough = np.isfinite(share).sum(axis=1) > 1
    if enough.any():
        scores = xr.DataArray(share[enough], dims=("site", "participant"))
        found = bootstrap_mean(
            scores, generator=generator, over=("participant",), resamples=resamples, level=LEVEL, method="percentile"
        )
        low[enough], high[enough] = found["mean_low"].values, found["mean_high"].values
    ends = {"low": low, "high": high}
    interval = f"end of the {100 * LEVEL:g} % percentile bootstrap interval over participants: {what}"
    return {
        "recognised": _site(mean, what),
        **{f"recognised_{end}": _site(values, f"{end} {interval}") for end, values in ends.items()},
    }


_Variable = tuple[tuple[str, ...], "NDArray[Any]", dict[str, str]]


def _site(values: NDArray[Any], long_name: str, units: str = "1") -> _Variable:
    return ("site",), values, {"long_name": long_name, "units": units}


def _by_participant(values: NDArray[Any], long_name: str, units: str = "1") -> _Variable:
    return ("site", "participant"), values, {"long_name": long_name, "units": units}


def _by_stimulus(values: NDArray[Any], long_name: str) -> _Variable:
    return ("site", "stimulus"), values.astype(np.int32), {"long_name": long_name, "units": "1"}


def _codes(values: Sequence[Any] | pd.Series[Any], known: Sequence[Any]) -> NDArray[np.intp]:
    index = {name: position for position, name in enumerate(known)}
    return np.array([index.get(value, -1) for value in values], dtype=np.intp)


def _sums(
    shape: tuple[int, ...], cells: tuple[NDArray[np.intp], ...], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    flat = np.ravel_multi_index(cells, shape)
    return np.bincount(flat, weights, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _medians(values: NDArray[np.float64], groups: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    found = pd.Series(values).groupby(groups).median()
    return np.asarray(found.reindex(range(count)), dtype=np.float64)
