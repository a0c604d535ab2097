"""The easiest and the hardest to recognise of all metamers of a stimulus that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ...framework.model_results import ModelResults
from ...framework.models import Model
from ...framework.schema import STATES, VERDICTS
from ...framework.stimuli import Stimulus
from ..recognition.labels import Labels
from ..recognition.recognise import NATURAL, ask
from ..statistics.intervals import draws, means, percentiles, with_ends
from ..studies.metamers import ModelMetamers
from .variants import Variants

_MISSING = "no other model was asked that knows a right answer to these signals, or no metamer succeeds"


@dataclass(frozen=True, eq=False)
class Recognised:
    """Answers of recognisers: 1 right, 0 wrong, −1 missing, such as of metamers that do not succeed.

    Parameters
    ----------
    names
        Recognisers.
    correct, ordinary
        To maximally different metamers and to those that they began with, ``(site, recogniser, stimulus, variant)``.
    natural
        To natural signals, ``(site, recogniser, stimulus)``.
    is_other
        Whether a recogniser is another model than the one that a site belongs to, ``(site, recogniser)``.
    """

    names: Sequence[str]
    correct: NDArray[np.int8]
    ordinary: NDArray[np.int8]
    natural: NDArray[np.int8]
    is_other: NDArray[np.bool_]


def recognised(
    made: Sequence[ModelMetamers],
    found: Mapping[str, Mapping[str, Variants]],
    recognisers: Mapping[str, Model],
    stimuli: Sequence[Stimulus],
    labels: Labels | None,
    device: torch.device,
) -> Recognised:
    """Ask models with labels what metamers show, those that take the same kind of signals.

    Parameters
    ----------
    found
        Metamers by model and layer.
    labels
        Categories in which models answer; by default each model's own classes.
    """
    names = [name for name, model in recognisers.items() if model.labels is not None]
    parts: list[NDArray[np.int8]] = []
    naturals: list[NDArray[np.int8]] = []
    for each in made:
        own = found[each.name]
        k = next(iter(own.values())).success.shape[1]
        shape = (len(own), len(names), len(stimuli), 2 * k)
        parts.append(np.full(shape, -1, dtype=np.int8))
        naturals.append(np.full(shape[:-1], -1, dtype=np.int8))
        asked = {name: recognisers[name] for name in names if recognisers[name].domain.kind == each.domain.kind}
        if asked:
            columns = [names.index(name) for name in asked]
            correct = ask(asked, [_results(each, own)], stimuli, labels, device=device)["correct"]
            is_natural = correct["layer"].values == NATURAL
            parts[-1][:, columns] = correct.values[~is_natural]
            naturals[-1][:, columns] = correct.values[is_natural, ..., 0]
    whole = np.concatenate(parts)
    is_other = np.array([[name != each.name for name in names] for each in made for _ in each.layers], dtype=bool)
    half = whole.shape[-1] // 2
    return Recognised(names, whole[..., half:], whole[..., :half], np.concatenate(naturals), is_other)


def extremes(shown: Recognised, generator: np.random.Generator, resamples: int) -> dict[str, Any]:
    """Return the proportions of right answers to the easiest and to the hardest metamers, as variables of a dataset.

    Of each metamer the proportion of other models that are right counts; of these the highest and the lowest of each
    stimulus, averaged over stimuli, with 95 % percentile intervals of a bootstrap over stimuli.
    """
    either = np.concatenate([shown.ordinary, shown.correct], axis=-1)
    shares = _shares(either, shown.is_other)  # (site, stimulus, 2 k)
    known = np.isfinite(shares).any(axis=-1)
    highest = np.where(known, np.where(np.isfinite(shares), shares, -np.inf).max(axis=-1), np.nan)
    lowest = np.where(known, np.where(np.isfinite(shares), shares, np.inf).min(axis=-1), np.nan)
    whole = _shares(shown.natural[..., None], shown.is_other)[..., 0]
    stimuli = whole.shape[1]
    counts = np.concatenate([np.ones((1, stimuli)), draws(stimuli, resamples, generator)])
    variables: dict[str, Any] = {}
    for name, values, what in (
        ("easiest", highest, "the metamer of each stimulus that most of them recognise"),
        ("hardest", lowest, "the metamer of each stimulus that fewest of them recognise"),
        ("natural_recognised", whole, "the natural signals"),
    ):
        samples = means(values, counts)
        ends = np.where(np.isfinite(values).sum(axis=-1) > 1, percentiles(samples[1:]), np.nan)
        about = f"proportion of other models' answers that are right, of {what}"
        variables |= with_ends(name, ["site"], samples[0], ends, about)
        variables[name][2]["missing"] = _MISSING
    return variables


def _results(made: ModelMetamers, found: Mapping[str, Variants]) -> ModelResults:
    """Return results of a model with the ordinary metamers and then the others as its seeds; only successful ones."""
    signals = np.stack([np.concatenate([each.ordinary, each.signals], axis=1) for each in found.values()])
    verdicts = np.stack([np.concatenate([each.ordinary_success, each.success], axis=1) for each in found.values()])
    dims = ("layer", "stimulus", "seed")
    state = np.where(verdicts == VERDICTS["yes"], STATES["done"], STATES["missing"])
    metamers = xr.Dataset(
        {"signal": ((*dims, *made.domain.dims), signals), "state": (dims, state)},
        {"layer": list(found), "stimulus": made.stimuli, "seed": np.arange(signals.shape[2])},
    )
    natural = made.results.natural.isel(stimulus=slice(len(made.stimuli)))
    return replace(made.results, natural=natural, metamers=metamers)


def _shares(correct: NDArray[np.int8], is_other: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Proportion of right answers over other recognisers, ``(site, stimulus, …)``; NaN without any."""
    counts = (correct >= 0) & is_other[:, :, None, None]
    number = counts.sum(axis=1)
    shares = np.full(number.shape, np.nan)
    np.divide((counts & (correct == 1)).sum(axis=1), number, out=shares, where=number > 0)
    return shares
