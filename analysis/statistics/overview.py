"""Analyses of a table of people's recognition: networks against people, against each other, and as predictors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from .anova import mixed_anova, repeated_measures_anova, stage_anova
from .people import select_models, select_observers, spelt_alike
from .permutation import Scheme
from .prediction import other_model_prediction

_PARTS = ("modality", "experiment", "model")


def overview(
    people: xr.Dataset,
    recognised: xr.DataArray | None = None,
    compared: Sequence[str] = (),
    *,
    generator: np.random.Generator,
    shuffles: int = 10_000,
    scheme: Scheme = "proper",
) -> dict[str, xr.Dataset]:
    """Analyse a table as Feather et al. (2023) do theirs.

    Parameters
    ----------
    people
        From `read_participants`.
    recognised
        From `read_recognition`: how well models recognise each other's metamers.
    compared
        Models to compare with each other, in every experiment that has at least two of them.
    generator, shuffles, scheme
        Options of the permutation tests, as in `mixed_anova`.

    Returns
    -------
    dict of xr.Dataset
        ``stages (model, term)``: `stage_anova` of people alone on each experiment's models, called
        ``MODALITY EXPERIMENT MODEL``; ``observers (model, term)``: `mixed_anova` of those whose own recognition is in
        the table;
        ``between_models (model, term)``, where some are compared: `repeated_measures_anova`, called
        ``MODALITY EXPERIMENT``;
        and ``prediction_MODALITY``, where models are to predict people: `other_model_prediction`.

    Raises
    ------
    MetameryError
        A model is in no experiment, or in none with another that is compared; the design is not balanced; or the
        tables share no modality.
    """
    options: _Tests = {"generator": generator, "shuffles": shuffles, "scheme": scheme}
    sites = list(dict.fromkeys(zip(*(people[name].values.tolist() for name in _PARTS), strict=True)))
    of_experiment: dict[tuple[str, str], list[str]] = {}
    for modality, experiment, model in sites:
        of_experiment.setdefault((modality, experiment), []).append(model)
    for name in compared:
        if name not in (models := list(dict.fromkeys(model for _, _, model in sites))):
            raise unknown("model", name, models)
    both = {" ".join(site): select_observers(people, *site) for site in sites}
    alone = {name: stage_anova(scores.sel(recogniser="human", drop=True), **options) for name, scores in both.items()}
    known = {name: scores for name, scores in both.items() if bool(scores.sel(recogniser="network").notnull().all())}
    results = {}
    if known:
        each = {name: mixed_anova(scores, **options) for name, scores in known.items()}
        results["observers"] = _joined(each, "People against each network")
    about = "An effect tells that recognition differs between the stages; not how it differs."
    results["stages"] = _joined(alone, "People over the stages of each network", about)
    if len(known) < len(both):
        lacking = ", ".join(name for name in both if name not in known)
        line = f"people alone are analysed, as the table does not have the network's own recognition: {lacking}"
        results["stages"].attrs["warnings"] = [line]
    against = {
        " ".join(experiment): select_models(people, *experiment, own_names)
        for experiment, known_models in of_experiment.items()
        if len(own_names := [name for name in compared if name in known_models]) > 1
    }
    for name in compared:
        if not any(name in own_names and len({*own_names} & {*compared}) > 1 for own_names in of_experiment.values()):
            raise MetameryError(f"model '{name}' is in no experiment with another of the models {', '.join(compared)}")
    if against:
        tested = {name: repeated_measures_anova(scores, **options) for name, scores in against.items()}
        results["between_models"] = _joined(tested, f"People on {', '.join(compared)}")
    if recognised is not None:
        recognised = spelt_alike(recognised, people)
        for modality in _shared_modalities(people, recognised):
            predicted = other_model_prediction(people, recognised, modality, generator=generator)
            results[f"prediction_{modality}"] = predicted.assign_attrs(title=f"{predicted.attrs['title']}: {modality}")
    return results


def _shared_modalities(people: xr.Dataset, recognised: xr.DataArray) -> list[str]:
    """The modalities that both tables have; those that one of them lacks are named in a warning."""
    both = [list(dict.fromkeys(table["modality"].values.tolist())) for table in (people, recognised)]
    shared = [name for name in both[0] if name in both[1]]
    if not shared:
        of_people, of_models = (", ".join(each) for each in both)
        raise MetameryError(f"modalities of people are {of_people}, of models {of_models}: expected one in both tables")
    for names, others in (both, both[::-1]):
        for name in names:
            if name not in others:
                whose = "models" if names is both[0] else "people"
                warnings.warn(f"nothing is predicted for {name}: the table of {whose} has no rows of it", stacklevel=3)
    return shared


class _Tests(TypedDict):
    generator: np.random.Generator
    shuffles: int
    scheme: Scheme


_INTERACTION = "Only the interaction tells whether recognition falls differently over the stages."


def _joined(parts: Mapping[str, xr.Dataset], title: str, read_first: str = _INTERACTION) -> xr.Dataset:
    joined = xr.concat(parts.values(), "model", combine_attrs="drop_conflicts").assign_coords(model=list(parts))
    return joined.transpose("model", "term").assign_attrs(title=title, read_first=read_first)
