"""Controversial signals of a study's models (Golan et al. 2020): each network takes one for another stimulus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ...framework.checks import names, one_of, whole
from ...framework.context import Context
from ...framework.contract import require_logits
from ...framework.domains import Domain
from ...framework.errors import MetameryError, unknown
from ...framework.manager import Plugins
from ...framework.model_results import stimulus_facts
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.schema import METRIC_UNITS, VERDICTS, site_coordinates
from ..diversity.region import bounds_at
from ..diversity.variants import study_null, study_seed, study_settings
from ..proof.measures import NULL_METRICS
from ..statistics.proportions import proportion
from ..studies.batches import running
from ..studies.metamers import ModelMetamers, metamers_of
from ..synthesis.procedure import Procedure
from ..synthesis.settings import MAX_COUNT, Settings
from ..synthesis.together import common_domain
from .making import Controversial, make_controversial
from .pairs import Contest, contests, partners

OBJECTIVES = ("match", "classes")

_PROBES = 20
"""Largest number of signals that pass through a network while two are joined, and examined as one."""

_SIDES = ("", "other_")
"""Prefixes of what is measured in the first network of a site, and in the second."""

Verdicts = NDArray[np.int8]


def controversial(
    *,
    plugins: Plugins,
    objective: str = "match",
    between: Sequence[str] = (),
    steps: int | None = None,
    limit: int | None = 10,
    batch_size: int = 8,
) -> Evaluator:
    """Build the evaluator: signals that match one stimulus in one network and another stimulus in the other.

    For each ordered pair of a study's models, and each stimulus s with a partner t of another category (`partners`), a
    signal is made that matches s at a layer of the first model and t at a layer of the second, from noise, by the
    study's own settings. The models' layers are paired by relative depth. So with both orders each model takes one
    signal for s and another for t. Models of different input share the largest domain (`common_domain`).

    Every variable is over ``site``, a pair of models ``A against B`` and of their layers, which the coordinates
    ``one_model``, ``one_layer``, ``other_model`` and ``other_layer`` name, and ``stimulus``, s; ``other_stimulus`` is
    t. All is measured after rounding to an 8-bit picture or 16-bit sound. ``match``, ``matches``, ``agrees`` and
    ``probability`` are of the first model and s, ``other_match`` and so on of the second model and t. ``success``: both
    match better than their nulls' maxima, and both give the class of their stimulus; ``unattainable`` where a null's
    maximum cannot be exceeded. ``told_apart (site)`` is the proportion of signals to which the two models give these
    two classes: how often an answer of someone who is one of the two tells which. ``confidence`` is the smaller of the
    two probabilities.

    Parameters
    ----------
    objective
        ``match``, at layers; or ``classes``: the probabilities of both classes are raised, and success is that both
        models give them.
    between
        Models of the study that are compared; all by default.
    steps
        Number of updates; the study's by default.
    limit
        Number of stimuli, the first ones, among which the pairs are; None takes all.
    batch_size
        Number of signals that are made at once.

    Raises
    ------
    MetameryError
        An option is out of range; there is no study, it has a single model, models that cannot share a signal, a
        single stimulus or category, or a model without a null or, for the objective ``classes``, without classes.
    """
    one_of("objective", objective, OBJECTIVES)
    names("between", between, '["NAME", "NAME"]')
    if steps is not None:
        whole("steps", steps, 1, MAX_COUNT)
    if limit is not None:
        whole("limit", limit, 1)
    whole("batch_size", batch_size, 1)

    def settings_of(made: ModelMetamers) -> Settings:
        own = study_settings(made)
        return replace(own, steps=steps or own.steps, stop="steps", start="noise", batch_size=batch_size)

    def compared(context: Context) -> list[ModelMetamers]:
        made = metamers_of(context, "controversial", limit)
        known = [each.name for each in made]
        wanted = [name if name in known else plugins.qualified("model", name) for name in between]
        for name, qualified in zip(between, wanted, strict=True):
            if qualified not in known:
                raise unknown("model of the study", name, known)
        chosen = [each for each in made if not wanted or each.name in wanted]
        if len(chosen) < 2:
            raise MetameryError(f"evaluator 'controversial' compares models, and '{chosen[0].name}' is alone")
        common_domain({each.name: each.model for each in chosen})
        for each in chosen:
            if objective == "classes":
                require_logits(each.name, each.model)
            else:
                study_null(each)
        shown = _categories(context, chosen[0])
        if len({*shown} - {""}) < 2:
            raise MetameryError(
                f"the study's first {len(shown)} stimuli are of one category or none: expected two categories"
            )
        return chosen

    def passes(context: Context) -> Passes:
        made = compared(context)
        every = contests(made, objective)
        sites = max(sum(each.name in (one.one.name, one.other.name) for one in every) for each in made)
        signals = sites * len(made[0].stimuli)
        updates = max(settings_of(each).steps for each in made) + 2
        return Passes(3 * signals + _PROBES * sites, updates * signals, batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        made = compared(context)
        every = contests(made, objective)
        shown, seed = _categories(context, made[0]), study_seed(context.study)
        common = common_domain({each.name: each.model for each in made})
        pairs = [partners(each.one, each.other, shown, seed) for each in every]
        found: list[Controversial | None] = []
        context.progress.start(
            sum(len(own) * settings_of(each.one).steps for each, own in zip(every, pairs, strict=True)), "controversial"
        )
        with running(context):
            for contest, own in zip(every, pairs, strict=True):
                made_here = None
                if own:
                    made_here = make_controversial(
                        contest,
                        own,
                        common,
                        Procedure.load(settings_of(contest.one), plugins),
                        objective=objective,
                        seed=seed,
                        device=context.device,
                        advance=context.progress.advance,
                    )
                found.append(made_here)
        return _dataset(every, pairs, found, common, objective)

    return evaluate


def _categories(context: Context, made: ModelMetamers) -> list[str]:
    facts = {} if context.study is None else stimulus_facts(context.study)
    return [facts.get(name, {}).get("category", "") for name in made.stimuli]


def _dataset(
    every: Sequence[Contest],
    pairs: Sequence[dict[int, int]],
    found: Sequence[Controversial | None],
    common: Domain,
    objective: str,
) -> xr.Dataset:
    stimuli = every[0].one.stimuli
    each = (len(every), len(stimuli))
    signal = np.full((*each, *common.shape), np.nan, dtype=np.float32)
    match = np.full((2, *each, len(NULL_METRICS)), np.nan, dtype=np.float32)
    agrees, matches = (np.full((2, *each), VERDICTS["missing"], dtype=np.int8) for _ in range(2))
    probability = np.full((2, *each), np.nan)
    answer, partner = (np.full(shape, "", dtype=object) for shape in ((2, *each), each))
    for site, (contest, own, made) in enumerate(zip(every, pairs, found, strict=True)):
        if made is None:
            continue
        rows = [*own]
        partner[site, rows] = [stimuli[other] for other in own.values()]
        signal[site, rows] = made.signals
        for side, (model, layer) in enumerate(((contest.one, contest.layer), (contest.other, contest.other_layer))):
            match[side, site, rows], agrees[side, site, rows] = made.match[side], made.agrees[side]
            probability[side, site, rows] = made.probability[side]
            answer[side, site, rows] = [model.results.label(int(number)) for number in made.answer[side]]
            if objective == "match":
                matches[side, site, rows] = _verdicts(made.match[side], model, layer)
    success = _success(matches if objective == "match" else agrees, agrees)
    variables: dict[str, Any] = {}
    per = ("site", "stimulus")
    flags: dict[str, Any] = {"units": "1", "flag_values": [*VERDICTS.values()], "flag_meanings": " ".join(VERDICTS)}
    same: dict[str, Any] = {"units": "1", "flag_values": [-1, 0, 1], "flag_meanings": "missing other same"}
    whose = ("the first network and the stimulus", "the second network and the other stimulus")
    for side, (prefix, what) in enumerate(zip(_SIDES, whose, strict=True)):
        about = {"long_name": f"how closely the signal's activations fit: {what}", "units": METRIC_UNITS}
        variables[f"{prefix}match"] = ((*per, "metric"), match[side], about)
        if objective == "match":
            about = {"long_name": f"whether every measure is above the null's maximum: {what}", **flags}
            variables[f"{prefix}matches"] = (per, matches[side], about)
        about = {"long_name": f"whether the network gives the signal the stimulus's class: {what}", **same}
        variables[f"{prefix}agrees"] = (per, agrees[side], about)
        about = {"long_name": f"softmax probability of that class: {what}", "units": "1"}
        variables[f"{prefix}probability"] = (per, probability[side], about)
        about = {"long_name": f"class that the network gives the signal: {what}", "units": "1"}
        variables[f"{prefix}answer"] = (per, answer[side], about)
    about = {"long_name": "the other stimulus", "units": "1"}
    variables["other_stimulus"] = (per, partner, about)
    about = {"long_name": "whether both networks take it for their stimulus", **flags}
    variables["success"] = (per, success, about)
    about = {"long_name": "smaller of the two probabilities", "units": "1", "missing": "a model has no classes"}
    variables["confidence"] = (per, probability.min(axis=0), about)
    variables["signal"] = ((*per, *common.dims), signal, {"long_name": "controversial signal, quantised", "units": "1"})
    variables |= _counts(success, agrees)
    return _described(xr.Dataset(variables, _coordinates(every)), every, common, objective)


def _verdicts(match: NDArray[np.float32], made: ModelMetamers, layer: str) -> Verdicts:
    """Whether measures ``(n, metric)`` exceed the null's maximum at a layer."""
    bounds = bounds_at(study_null(made), layer, 1.0)
    if isinstance(bounds, int):
        return np.full(len(match), bounds, dtype=np.int8)
    exceeds = np.asarray((match > [bounds[layer][metric] for metric in NULL_METRICS]).all(axis=1))
    verdict = exceeds.astype(np.int8)
    verdict[np.isnan(match).any(axis=1)] = VERDICTS["missing"]
    return verdict


def _success(matches: Verdicts, agrees: Verdicts) -> Verdicts:
    """The verdict on both networks, of ``(2, …)``: the first of missing, no, unattainable and yes that applies."""
    found = np.full(matches.shape[1:], VERDICTS["yes"], dtype=np.int8)
    found[(matches == VERDICTS["unattainable"]).any(axis=0)] = VERDICTS["unattainable"]
    found[(matches == VERDICTS["no"]).any(axis=0) | (agrees == 0).any(axis=0)] = VERDICTS["no"]
    found[(matches == VERDICTS["missing"]).any(axis=0)] = VERDICTS["missing"]
    return found


def _counts(success: Verdicts, agrees: Verdicts) -> dict[str, Any]:
    passed, tried = (success == VERDICTS["yes"]).sum(axis=1), np.isin(success, (0, 1)).sum(axis=1)
    variables = proportion("succeeded", ["site"], passed, tried, "proportion of signals that both networks take so")
    variables["succeeded"][2]["missing"] = "no success is attainable, or there is no pair of stimuli"
    known = (agrees >= 0).all(axis=0)
    apart = (known & (agrees == 1).all(axis=0)).sum(axis=1)
    what = "proportion of signals to which the two networks give the two stimuli's classes"
    variables |= proportion("told_apart", ["site"], apart, known.sum(axis=1), what)
    unattainable = (success == VERDICTS["unattainable"]).sum(axis=1)
    about = {"long_name": "signals at layers where no match can be told from chance", "units": "1"}
    return variables | {"unattainable": ("site", unattainable, about)}


def _coordinates(every: Sequence[Contest]) -> dict[str, Any]:
    return {
        **site_coordinates([each.site for each in every]),
        "one_model": ("site", [each.one.name for each in every]),
        "one_layer": ("site", [each.layer for each in every]),
        "other_model": ("site", [each.other.name for each in every]),
        "other_layer": ("site", [each.other_layer for each in every]),
        "stimulus": every[0].one.stimuli,
        "metric": list(NULL_METRICS),
    }


def _described(dataset: xr.Dataset, every: Sequence[Contest], common: Domain, objective: str) -> xr.Dataset:
    equal = {
        frozenset((each.one.name, each.other.name))
        for each in every
        if each.one.model.weights_sha256() == each.other.model.weights_sha256()
    }
    dataset.attrs = {
        "title": "Controversial signals",
        "description": "One network takes the signal for one stimulus, the other for another: people decide.",
        "reading_order": ["told_apart", "succeeded", "confidence", "unattainable"],
        "read_first": "Where both networks take a signal for their own stimulus, what people call it speaks for one of "
        "them.",
        "objective": objective,
        **common.attributes(),
        "warnings": [
            f"{' and '.join(sorted(pair))} have the same weights: no signal can be controversial" for pair in equal
        ],
    }
    return dataset
