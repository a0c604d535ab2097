"""From the results of a card's study to the card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import xarray as xr

from ...framework.manager import own_version
from ...framework.model_results import ModelResults, models_of
from ...framework.models import Model
from ...framework.schema import STATES
from ...framework.study import Study
from ..proof.success import success_by_layer
from ..recognition.labels import Labels
from ..recognition.recognise import NATURAL
from .contents import (
    SCHEMA_VERSION,
    Card,
    Estimate,
    Juror,
    LayerCard,
    PeopleFacts,
    RobustAccuracy,
    StimuliFacts,
    short,
)
from .human_fit import MODALITIES, HumanFit, published_fit
from .protocol import VERSION

_ENDS = ("", "_low", "_high")


def card_of(tree: xr.DataTree, labels: Labels | None, jury: Mapping[str, Model], are_bundled: bool) -> Card:
    """Return the card of a finished study that has all of the protocol's evaluations.

    Parameters
    ----------
    tree
        The open study, of one network.
    labels
        Categories in which the jury answers; None for each network's own classes.
    jury
        The networks of the jury by qualified name.
    are_bundled
        Whether the stimuli are the protocol's own.
    """
    made = models_of(tree)[0]
    recognition, robustness, shifts, character, diversity = (
        tree[name].to_dataset().load()
        for name in ("recognition", "robustness", "shift-consistency", "character", "diversity")
    )
    asked = Study.from_toml(str(tree.attrs["study"]))
    choices = {name: _choices(labels, model) for name, model in jury.items()}
    mean_choices = 1 / float(np.mean([1 / each for each in choices.values()]))
    natural = recognition.sel(site=f"{made.name} {NATURAL}")
    fit = published_fit(MODALITIES[made.domain.kind])
    states = made.metamers["state"].values
    return Card(
        schema=SCHEMA_VERSION,
        protocol=VERSION,
        metamery=own_version(),
        torch=str(robustness.attrs["torch_version"]),
        network=made.name,
        options=json.dumps(dict(asked.models[0].options), sort_keys=True, default=str),
        weights_sha256=str(made.attributes["weights_sha256"]),
        domain=str(made.domain),
        kind=made.domain.kind,
        choices=len(made.attributes["labels"]),
        labels=labels.name if labels else "",
        jury=tuple(
            Juror(name, model.weights_sha256(), choices[name], _estimate(natural.sel(recogniser=name), "recognised"))
            for name, model in jury.items()
        ),
        stimuli=StimuliFacts(
            _stimuli_name(asked), len(made.stimuli), int(natural["counted"]), _stimuli_sha256(tree), are_bundled
        ),
        made=int((states == STATES["done"]).sum()),
        failed=int((states == STATES["failed"]).sum()),
        null_signals=int(made.null.attrs["signals"]) if made.null is not None else 0,
        own_natural=_estimate(natural, "own"),
        others_natural=_estimate(natural, "others"),
        layers=tuple(_layers(made, recognition, character, diversity, fit, len(jury), mean_choices)),
        accuracy=_estimate(robustness.isel(model=0).sel(epsilon=0), "accuracy"),
        norm=str(robustness.attrs["norm"]),
        robust=tuple(
            RobustAccuracy(_number(epsilon), _estimate(robustness.isel(model=0).sel(epsilon=epsilon), "accuracy"))
            for epsilon in robustness["epsilon"].values[1:].tolist()
        ),
        shift_consistency=_estimate(shifts.isel(model=0), "consistency"),
        aliasing=_mean(character["natural_aliasing"]),
        people=PeopleFacts(
            fit.modality,
            fit.choices,
            fit.points,
            fit.line.groups,
            fit.pearson,
            fit.coverage,
            fit.jury(len(jury)).coverage,
            fit.error,
            fit.by_relatives,
            fit.by_strangers,
        ),
    )


def _layers(
    made: ModelResults,
    recognition: xr.Dataset,
    character: xr.Dataset,
    diversity: xr.Dataset,
    fit: HumanFit,
    members: int,
    choices: float,
) -> list[LayerCard]:
    assert made.match is not None
    success = success_by_layer(made.match)
    cards = []
    for layer in made.layers:
        site = f"{made.name} {layer}"
        judged, at_site, apart = success.sel(layer=layer), recognition.sel(site=site), diversity.sel(site=site)
        others, counted = float(at_site["others"]), int(at_site["counted"])
        people, is_extrapolated = Estimate(), False
        if np.isfinite(others):
            predicted = fit.predict(others, members=members, choices=choices, stimuli=counted)
            people = Estimate(*map(short, (predicted.value, predicted.low, predicted.high)))
            is_extrapolated = predicted.is_extrapolated
        cards.append(
            LayerCard(
                name=layer,
                success=_estimate(judged, "success"),
                same_label=_estimate(judged, "agrees"),
                judged=int(judged["success_counted"]),
                unattainable=int(judged["unattainable"]),
                own=_estimate(at_site, "own"),
                others=_estimate(at_site, "others"),
                idiosyncrasy=_estimate(at_site, "idiosyncrasy"),
                easiest=_estimate(apart, "easiest"),
                hardest=_estimate(apart, "hardest"),
                searched=_searched(apart, made.name),
                people=people,
                is_extrapolated=is_extrapolated,
                aliasing=_mean(character["aliasing"].sel(site=site)),
            )
        )
    return cards


def _searched(apart: xr.Dataset, network: str) -> int:
    """Number of stimuli of whose metamers at one site other networks' answers are known."""
    others = apart[["correct", "ordinary_correct"]].sel(recogniser=apart["recogniser"] != network)
    known = (others >= 0).any(["recogniser", "variant"])
    return int((known["correct"] | known["ordinary_correct"]).sum())


def _choices(labels: Labels | None, model: Model) -> int:
    """Number of different answers that a network chooses from."""
    return len({each for each in labels.answers("", model) if each}) if labels else len(model.class_names)


def _estimate(dataset: xr.Dataset, name: str) -> Estimate:
    return Estimate(*(short(float(dataset[f"{name}{end}"])) for end in _ENDS))


def _mean(values: xr.DataArray) -> float | None:
    """Mean of the numbers that are known: aliasing is one at the steps where a network subsamples."""
    known = values.values[np.isfinite(values.values)]
    return short(float(known.mean())) if known.size else None


def _number(value: float) -> float:
    found = short(value)
    assert found is not None
    return found


def _stimuli_name(asked: Study) -> str:
    """Return the stimuli as people name them: a folder by its own name, wherever it is."""
    use = asked.stimuli
    path = use.options.get("path")
    return str(path).rstrip("/").rpartition("/")[2] if path else use.name


def _stimuli_sha256(tree: xr.DataTree) -> str:
    """Return a digest of the natural signals' names and right answers."""
    names = [str(name) for name in tree["stimuli"].dataset["stimulus"].values]
    answers: Any = json.loads(tree.attrs.get("answers", "{}"))
    plain = [[name, {space: sorted(map(str, own)) for space, own in answers.get(name, {}).items()}] for name in names]
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
