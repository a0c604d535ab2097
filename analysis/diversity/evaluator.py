"""Diversity: how different metamers of one layer can be, and the easiest and the hardest of them to recognise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ...framework.checks import MANY, number, text, whole, wrong
from ...framework.context import Context
from ...framework.contract import on_device
from ...framework.domains import WaveformDomain
from ...framework.manager import Plugins
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.running import frozen
from ...framework.schema import VERDICTS, site_coordinates
from ..recognition.evaluator import load_recognisers, shared_labels, stimuli_named
from ..statistics.intervals import draws, means, percentiles, with_ends
from ..statistics.proportions import proportion
from ..studies.batches import drawn_seed, running
from ..studies.metamers import ModelMetamers, metamers_of
from ..synthesis.procedure import Procedure
from ..synthesis.starts import check_start
from .apart import Apart, at_layer, itself, named_layer
from .extremes import Recognised, extremes, recognised
from .spreading import LOOK_EVERY, PushSettings, pairwise
from .variants import Variants, needed_stimuli, study_null, study_seed, study_settings, variants_of

Floats = NDArray[np.float64]

_EACH = ("site", "stimulus", "variant")
_PAIRS = "mean root mean square difference between"


def diversity(
    *,
    plugins: Plugins,
    k: int = 4,
    steps: int = 400,
    step_size: float = 0.02,
    unexplained: float = 0.5,
    apart: str = "",
    limit: int | None = 10,
    recognisers: Sequence[str] = (),
    labels: str = "",
    resamples: int = 2000,
    batch_size: int = 16,
) -> Evaluator:
    """Build the evaluator: k metamers of each stimulus at each layer of a study, pushed apart while each remains one.

    They begin as the study's metamers of its first k seeds; if it has fewer, further ones are made as the study would
    make them. Then they are pushed apart (`push_apart`), each inside the region in which it is a metamer, rounded to an
    8-bit picture or a 16-bit sound: it has its stimulus's class, and its measures exceed the null's maximum by a margin
    (`settled_from`).

    ``spread (site, stimulus)`` is the mean root mean square difference between those that succeed, ``ordinary_spread``
    that of the k metamers that they began with; where all of these are inside, the former is at least the latter.
    ``relative_spread`` and ``ordinary_relative_spread (site)`` are their means over stimuli, relative to the mean
    difference between natural signals, ``between_stimuli``. ``success`` and ``ordinary_success (site, stimulus,
    variant)`` are the verdicts; ``signal`` and ``start`` the signals, if all models take the same.

    Every model of the same kind with labels, other than the one that a metamer is of, is asked what it shows:
    ``correct`` and ``ordinary_correct (site, recogniser, stimulus, variant)``. ``easiest`` and ``hardest (site)`` are
    the proportions of right answers for the best and the worst recognised of all metamers of each stimulus, on average
    over stimuli, with a 95 % bootstrap interval; ``natural_recognised`` that for natural signals. Whatever the start
    and the loss of a synthesis, what it shows of a layer lies between them, as far as the search has found the ends.

    Cost for each layer and stimulus: ``k · steps`` passes forward and back, and a fifth of that forward; and the
    synthesis of seeds that the study lacks.

    Parameters
    ----------
    k
        Number of metamers of each stimulus and layer, at least 2.
    steps, step_size
        See `PushSettings`.
    unexplained
        Part of what the null's best pair leaves unexplained that a metamer may leave: of 1 − r, of 1 − ρ, and of the
        power of the difference. With 1 it only has to exceed the maximum.
    apart
        ``MODEL LAYER``: a model of the study or a registered one, and its layer at which the metamers are pushed apart
        and their difference is measured; by default in the signals themselves.
    limit
        Number of stimuli, the first ones; None takes all.
    recognisers, labels, resamples
        See `recognition`.
    batch_size
        Number of signals that are pushed at once.

    Raises
    ------
    MetameryError
        An option is out of range; there is no study, or one of its models has no null or was not loaded.
    """
    whole("k", k, 2, MANY)
    settings = PushSettings(steps, step_size)
    number("unexplained", unexplained, most=1, above=0)
    text("apart", apart)
    if limit is not None:
        whole("limit", limit, 1)
    if isinstance(recognisers, str) or not isinstance(recognisers, Sequence):
        raise wrong("recognisers", recognisers, 'a list of models: ["NAME", "runs/FOLDER"]')
    whole("resamples", resamples, 1, MANY)
    whole("batch_size", batch_size, 1)
    categories = shared_labels(labels) if labels else None

    def passes(context: Context) -> Passes | None:
        made = metamers_of(context, "diversity", limit)
        for each in made:
            study_null(each)
        if recognisers or apart:
            return None
        signals = [k * len(each.stimuli) * len(each.layers) for each in made]
        made_here = [max(0, k - len(each.seeds)) * len(needed_stimuli(each)) * len(each.layers) for each in made]
        updates = [count * (study_settings(each).steps + 1) for count, each in zip(made_here, made, strict=True)]
        naturals = sum(len(each.results.stimuli) * (1 + 3 * len(each.layers)) for each in made)
        looks = (steps // LOOK_EVERY + 5) * max(signals)
        return Passes(
            looks + 2 * sum(signals) + 3 * max(made_here) + naturals,
            (steps + 1) * max(signals) + max(updates),
            batch_size,
        )

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        made = metamers_of(context, "diversity", limit)
        nulls = [study_null(each) for each in made]
        seed = drawn_seed(context)
        other = named_layer(apart, context.models, plugins) if apart else None
        found: dict[str, dict[str, Variants]] = {}
        between: list[float] = []
        context.progress.start(sum(k * steps * len(each.stimuli) * len(each.layers) for each in made), "diversity")
        with ExitStack() as stack:
            stack.enter_context(running(context))
            if other is not None and other[0] not in context.models.values():
                stack.enter_context(frozen(on_device(other[0], context.device)))
            for each, null in zip(made, nulls, strict=True):
                where = itself if other is None else at_layer(*other, each.name, each.model)
                procedure = Procedure.load(study_settings(each), plugins)
                check_start(procedure.start, each.results.metamers.attrs, f"the metamers of '{each.name}'")
                between += [_between(each, where, batch_size)] * len(each.layers)
                found[each.name] = {
                    layer: variants_of(
                        each,
                        layer,
                        null,
                        procedure,
                        k=k,
                        unexplained=unexplained,
                        settings=settings,
                        seed=study_seed(context.study),
                        batch_size=batch_size,
                        apart=where,
                        progress=context.progress,
                    )
                    for layer in each.layers
                }
        judges = load_recognisers(context.models, recognisers, plugins)
        shown = recognised(
            made,
            found,
            judges,
            stimuli_named(context, made[0].stimuli),
            categories,
            context.device,
        )
        generator = np.random.default_rng(seed)
        variables = {
            **_of_metamers(made, found),
            **_relative(found, np.array(between), generator, resamples),
            **(_answers(shown) | extremes(shown, generator, resamples) if shown.names else {}),
        }
        settled = {
            "unexplained": unexplained,
            "apart": apart or "the signals themselves",
            "recognisers_sha256": [model.weights_sha256() for model in judges.values()],
        }
        return _dataset(made, variables, shown.names, k, settled)

    return evaluate


def _between(made: ModelMetamers, apart: Apart, batch_size: int) -> float:
    """Mean difference between the natural signals; NaN with fewer than two."""
    with torch.no_grad():
        parts = [apart(signals).flatten(1) for _, signals in made.naturals(batch_size)]
    distances = pairwise(torch.cat(parts)[None])[0]
    count = len(distances)
    return float(distances.sum()) / (count * (count - 1)) if count > 1 else float("nan")


def _of_metamers(made: Sequence[ModelMetamers], found: Mapping[str, Mapping[str, Variants]]) -> dict[str, Any]:
    """Signals, verdicts and spreads."""
    every = [own for each in made for own in found[each.name].values()]
    verdict = "whether it has the stimulus's class and exceeds the null's maximum by the margin, quantised"
    flags = {"flag_values": [*VERDICTS.values()], "flag_meanings": " ".join(VERDICTS)}
    missing = "at least two metamers have to exceed the null's maximum by the margin"
    variables: dict[str, Any] = {}
    for prefix, which in (("", "maximally different metamers"), ("ordinary_", "the metamers that these began with")):
        success = np.stack([getattr(own, f"{prefix}success") for own in every])
        spread = np.stack([getattr(own, f"{prefix}spread") for own in every])
        about = {"long_name": f"{_PAIRS} {which}", "units": "1", "missing": missing}
        variables[f"{prefix}success"] = (_EACH, success, {"long_name": f"{which}: {verdict}", "units": "1"} | flags)
        variables[f"{prefix}spread"] = (_EACH[:2], spread, about)
    domain = made[0].domain
    if all(each.domain == domain for each in made):
        for name, values, which in (
            ("signal", [own.signals for own in every], "maximally different metamer"),
            ("start", [own.ordinary for own in every], "metamer that it began with"),
        ):
            about = {"long_name": f"{which}, quantised", "units": "1"}
            variables[name] = ((*_EACH, *domain.dims), np.stack(values), about)
    return variables


def _relative(
    found: Mapping[str, Mapping[str, Variants]], between: Floats, generator: np.random.Generator, resamples: int
) -> dict[str, Any]:
    """Mean spreads at each site, relative to the difference between natural signals, and the share of successes."""
    every = [own for layers in found.values() for own in layers.values()]
    about = {"long_name": f"{_PAIRS} natural signals", "units": "1"}
    variables: dict[str, Any] = {"between_stimuli": ("site", between, about)}
    stimuli = len(every[0].spread)
    counts = np.concatenate([np.ones((1, stimuli)), draws(stimuli, resamples, generator)])
    for prefix, which in (("", "maximally different metamers"), ("ordinary_", "the metamers that these began with")):
        values = np.stack([getattr(own, f"{prefix}spread") for own in every]) / between[:, None]
        samples = means(values, counts)
        ends = np.where(np.isfinite(values).sum(axis=-1) > 1, percentiles(samples[1:]), np.nan)
        what = f"{_PAIRS} {which}, relative to that between natural signals"
        variables |= with_ends(f"{prefix}relative_spread", ["site"], samples[0], ends, what)
        variables[f"{prefix}relative_spread"][2]["missing"] = "it needs two stimuli, and two metamers of one succeed"
        verdicts = np.stack([getattr(own, f"{prefix}success").ravel() for own in every])
        passed, tried = (verdicts == VERDICTS["yes"]).sum(axis=1), np.isin(verdicts, (0, 1)).sum(axis=1)
        variables |= proportion(f"{prefix}succeeded", ["site"], passed, tried, f"proportion that succeed of {which}")
    return variables


def _answers(shown: Recognised) -> dict[str, Any]:
    flags = {"units": "1", "flag_values": [-1, 0, 1], "flag_meanings": "missing wrong right"}
    dims = ("site", "recogniser", "stimulus", "variant")
    what = "whether the recogniser's answer is right, to"
    return {
        "correct": (dims, shown.correct, {"long_name": f"{what} maximally different metamers", **flags}),
        "ordinary_correct": (dims, shown.ordinary, {"long_name": f"{what} metamers that these began with", **flags}),
    }


def _dataset(
    made: Sequence[ModelMetamers],
    variables: Mapping[str, Any],
    recognisers: Sequence[str],
    k: int,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    coordinates: dict[str, Any] = {
        **site_coordinates([(each.name, layer) for each in made for layer in each.layers]),
        "stimulus": made[0].stimuli,
        "variant": np.arange(k),
        **({"recogniser": list(recognisers)} if recognisers else {}),
    }
    dataset = xr.Dataset(dict(variables), coordinates)
    dataset["variant"].attrs = {"long_name": "metamers that are pushed apart, by the seed of their start", "units": "1"}
    first = ("relative_spread", "ordinary_relative_spread", "easiest", "hardest", "natural_recognised", "succeeded")
    domain = made[0].domain
    dataset.attrs = {
        "title": "Maximally different metamers",
        "description": "Metamers of a stimulus, pushed apart while each stays one: the size of what a layer ignores.",
        "reading_order": [name for name in first if name in dataset],
        "read_first": "The larger the relative spread, the more a layer ignores; what a synthesis shows of recognition "
        "lies between the easiest and the hardest metamer, whatever its start and loss.",
        "low": domain.low,
        "high": domain.high,
        **settings,
    }
    if isinstance(domain, WaveformDomain):
        dataset.attrs["sample_rate"] = domain.sample_rate
    return dataset
