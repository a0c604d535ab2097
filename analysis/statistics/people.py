"""Tables of recognition, by people and by models, as labelled arrays.

Two layouts, as plain CSV: one row for each participant, model and stage (`read_participants`), and one for each pair of
models and stage (`read_recognition`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from .rows import alike, read_rows

PARTICIPANT_COLUMNS = ("modality", "experiment", "model", "participant", "stage", "stage_index", "human", "network")
"""Columns that `read_participants` reads; ``network`` may be missing."""

RECOGNITION_COLUMNS = ("modality", "generating_model", "evaluating_model", "stage", "proportion_correct")
"""Columns that `read_recognition` needs."""


def read_participants(path: str | Path) -> xr.Dataset:
    """Read how well each participant recognised metamers of each model and stage.

    Parameters
    ----------
    path
        A CSV file with the columns `PARTICIPANT_COLUMNS`: ``human`` is the participant's proportion correct and
        ``network`` that of the generating model on the stimuli that this participant was given, both in [0, 1];
        ``stage_index`` numbers a model's stages from the natural signal on. ``network`` may be missing or empty
        throughout a model. Other columns are ignored.

    Returns
    -------
    xr.Dataset
        ``human`` and ``network (participant, site)``, NaN where a participant was in another experiment, and
        ``network`` also where it is not given. A participant
        is ``modality/experiment/number``, a site ``modality/experiment/model/stage``; their parts are coordinates:
        ``modality``, ``experiment``, and of a site ``model``, ``layer`` and ``stage_index``.

    Raises
    ------
    MetameryError
        The file or a column is missing, a value is not a number in its range, a row occurs twice, two stages have the
        same index, a participant lacks a stage of a model, or ``network`` is given in some rows of a model only.
    """
    cells: dict[tuple[str, ...], dict[tuple[str, ...], tuple[float, float]]] = {}  # site: participant: both
    indices: dict[tuple[str, ...], int] = {}
    named = ("modality", "experiment", "model", "participant", "stage")
    for row in read_rows(Path(path), PARTICIPANT_COLUMNS, named, optional=("network",)):
        experiment = (row["modality"], row["experiment"])
        participant: tuple[str, ...] = (*experiment, row["participant"])
        site: tuple[str, ...] = (*experiment, row["model"], row["stage"])
        both = row.proportion("human"), row.proportion("network") if row["network"] else math.nan
        if indices.setdefault(site, row.index("stage_index")) != row.index("stage_index"):
            raise MetameryError(f"'{path}', line {row.line}: stage '{row['stage']}' had index {indices[site]} before")
        if participant in cells.setdefault(site, {}):
            raise MetameryError(f"'{path}', line {row.line}: participant '{row['participant']}' has this stage twice")
        cells[site][participant] = both
    sites = sorted(cells, key=lambda site: (site[:3], indices[site]))
    _check_balance(path, sites, cells, indices)
    participants = list(dict.fromkeys(person for site in cells for person in cells[site]))
    row_of = {person: row for row, person in enumerate(participants)}
    values = np.full((2, len(participants), len(sites)), np.nan)
    for column, site in enumerate(sites):
        for person, both in cells[site].items():
            values[:, row_of[person], column] = both
    coordinates: dict[str, Any] = {
        "participant": ["/".join(person) for person in participants],
        "site": ["/".join(site) for site in sites],
        "participant_modality": ("participant", [person[0] for person in participants]),
        "participant_experiment": ("participant", [person[1] for person in participants]),
        "stage_index": ("site", [indices[site] for site in sites]),
    }
    for index, name in enumerate(("modality", "experiment", "model", "layer")):
        coordinates[name] = ("site", [site[index] for site in sites])
    about = {
        "human": "proportion of metamers that the participant recognises",
        "network": "proportion that the generating model recognises, of the same metamers",
    }
    return xr.Dataset(
        {
            name: (("participant", "site"), values[index], {"long_name": text, "units": "1"})
            for index, (name, text) in enumerate(about.items())
        },
        coordinates,
        {"title": "Recognition by participants"},
    )


def read_recognition(path: str | Path) -> xr.DataArray:
    """Read how well each model recognises each other model's metamers.

    Parameters
    ----------
    path
        A CSV file with the columns `RECOGNITION_COLUMNS`; others are ignored.

    Returns
    -------
    xr.DataArray
        ``recognised (recogniser, site)``, NaN where not measured. A site is ``modality/model/stage``; its parts are
        the coordinates ``modality``, ``model`` and ``layer``.

    Raises
    ------
    MetameryError
        The file or a column is missing, a value is not a number in [0, 1], or a row occurs twice.
    """
    cells: dict[tuple[str, ...], dict[str, float]] = {}
    for row in read_rows(Path(path), RECOGNITION_COLUMNS, RECOGNITION_COLUMNS[:-1]):
        site = (row["modality"], row["generating_model"], row["stage"])
        if row["evaluating_model"] in cells.setdefault(site, {}):
            raise MetameryError(f"'{path}', line {row.line}: this pair of models has stage '{row['stage']}' twice")
        cells[site][row["evaluating_model"]] = row.proportion("proportion_correct")
    recognisers = list(dict.fromkeys(name for site in cells.values() for name in site))
    values = [[cells[site].get(name, math.nan) for site in cells] for name in recognisers]
    return xr.DataArray(
        values,
        {
            "recogniser": recognisers,
            "site": ["/".join(site) for site in cells],
            **{
                name: ("site", [site[index] for site in cells])
                for index, name in enumerate(("modality", "model", "layer"))
            },
        },
        ("recogniser", "site"),
        "recognised",
        {"long_name": "proportion of metamers that the model recognises", "units": "1"},
    )


def select_stages(people: xr.Dataset, stages: Sequence[str] = (), without: Sequence[str] = ()) -> xr.Dataset:
    """Pick some stages of every model: those in `stages`, or all, less those in `without`.

    Models that keep fewer than two stages are left out, with a warning.

    Parameters
    ----------
    people
        From `read_participants`.

    Raises
    ------
    MetameryError
        No model has a stage of that name, or no model keeps two stages.
    """
    known = list(dict.fromkeys(people["layer"].values.tolist()))
    for name in (*stages, *without):
        if name not in known:
            raise unknown("stage", name, known)
    layers = people["layer"].values
    kept = people.isel(site=np.flatnonzero(np.isin(layers, list(stages) or known) & ~np.isin(layers, list(without))))
    parts = ("modality", "experiment", "model")
    models = list(zip(*(kept[name].values.tolist() for name in parts), strict=True))
    enough = [models.count(model) > 1 for model in models]
    if not any(enough):
        raise MetameryError("no model keeps two stages: expected more in --stages, or fewer in --without")
    selected = kept.isel(site=np.flatnonzero(enough))
    left = {tuple(each) for each in zip(*(selected[name].values.tolist() for name in parts), strict=True)}
    everyone = dict.fromkeys(zip(*(people[name].values.tolist() for name in parts), strict=True))
    for model in everyone:
        if model not in left:
            warnings.warn(f"model '{model[2]}' keeps fewer than two stages and is left out", stacklevel=2)
    return selected


def spelt_alike(recognised: xr.DataArray, people: xr.Dataset) -> xr.DataArray:
    """Give modalities, models and stages of `read_recognition` the spelling that they have in `read_participants`.

    Names that differ in capitals or spaces alone are the same; without this they would not be found.
    """
    parts = ("modality", "model", "layer")
    known = {name: {alike(each): each for each in people[name].values.tolist()} for name in parts}

    def renamed(name: str, values: Sequence[str]) -> list[str]:
        return [known[name].get(alike(each), each) for each in values]

    own = {name: renamed(name, recognised[name].values.tolist()) for name in known}
    return recognised.assign_coords(
        {name: ("site", values) for name, values in own.items()}
        | {
            "recogniser": renamed("model", recognised["recogniser"].values.tolist()),
            "site": ["/".join(parts) for parts in zip(*own.values(), strict=True)],
        }
    )


def select_observers(people: xr.Dataset, modality: str, experiment: str, model: str) -> xr.DataArray:
    """Pick one model of an experiment: what `mixed_anova` takes.

    Parameters
    ----------
    people
        From `read_participants`.

    Returns
    -------
    xr.DataArray
        ``(recogniser, participant, layer)``, the recognisers being ``human`` and ``network``.

    Raises
    ------
    MetameryError
        There is no such modality, experiment or model.
    """
    own = _of_model(people, modality, experiment, model)
    both = [own[name].drop_attrs() for name in ("human", "network")]
    return xr.concat(both, "recogniser").assign_coords(recogniser=["human", "network"])


def select_models(people: xr.Dataset, modality: str, experiment: str, names: Sequence[str]) -> xr.DataArray:
    """Pick people's recognition of several models of an experiment: what `repeated_measures_anova` takes.

    Parameters
    ----------
    people
        From `read_participants`.
    names
        Names of the models. Their stages are matched by their order; ``layer`` has the first model's names.

    Returns
    -------
    xr.DataArray
        ``(model, participant, layer)``.

    Raises
    ------
    MetameryError
        There is no such modality, experiment or model, a name is given twice, or the models differ in their number of
        stages.
    """
    if len(set(names)) < len(names):
        raise MetameryError(f"models are {', '.join(names)}: expected each once")
    own = [_of_model(people, modality, experiment, name)["human"].drop_attrs() for name in names]
    for name, scores in zip(names, own, strict=True):
        if scores.sizes["layer"] != own[0].sizes["layer"]:
            raise MetameryError(
                f"model '{name}' has {scores.sizes['layer']} stages, '{names[0]}' has {own[0].sizes['layer']}"
            )
    same = [scores.assign_coords(layer=own[0]["layer"]) for scores in own]
    return xr.concat(same, "model", join="outer").assign_coords(model=list(names))


def _of_model(people: xr.Dataset, modality: str, experiment: str, model: str) -> xr.Dataset:
    """``human`` and ``network (participant, layer)`` of one model, stages in order."""
    own = people
    for name, wanted in (("modality", modality), ("experiment", str(experiment)), ("model", model)):
        known = list(dict.fromkeys(own[name].values.tolist()))
        if wanted not in known:
            raise unknown(name, wanted, known)
        own = own.isel(site=np.flatnonzero(own[name].values == wanted))
    own = own.isel(participant=np.flatnonzero(own["human"].notnull().any("site").values))
    own = own.isel(site=np.argsort(own["stage_index"].values))
    layers = own["layer"].values
    kept = own.drop_vars([name for name in own.coords if name != "participant"])
    return kept.rename(site="layer").assign_coords(layer=layers)


def _check_balance(
    path: str | Path,
    sites: list[tuple[str, ...]],
    cells: dict[tuple[str, ...], dict[tuple[str, ...], tuple[float, float]]],
    indices: dict[tuple[str, ...], int],
) -> None:
    of_model: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for site in sites:
        of_model.setdefault(site[:3], []).append(site)
    for (modality, experiment, model), own in of_model.items():
        where = f"'{path}': in {modality} experiment {experiment}, model '{model}',"
        for one, other in pairwise(own):
            if indices[one] == indices[other]:
                raise MetameryError(f"{where} stages '{one[3]}' and '{other[3]}' have the same index")
        given = {math.isnan(both[1]) for site in own for both in cells[site].values()}
        if len(given) > 1:
            raise MetameryError(f"{where} 'network' is empty in some rows: expected it in all of them, or in none")
        everyone = dict.fromkeys(person for site in own for person in cells[site])
        for site in own:
            for person in everyone:
                if person not in cells[site]:
                    raise MetameryError(f"{where} participant '{person[2]}' has no stage '{site[3]}': not balanced")
