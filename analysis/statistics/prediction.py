"""How well recognition by other models predicts recognition by people (Feather et al. 2023, fig. 8).

A point is one stage of one model: the mean over people, and the mean over all *other* models, of the proportion of its
metamers that they recognise.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from .reliability import MEASURES, ROUNDING, correlate, noise_ceiling, split_half

if TYPE_CHECKING:
    from numpy.typing import NDArray


def other_model_prediction(
    people: xr.Dataset,
    recognised: xr.DataArray,
    modality: str,
    *,
    generator: np.random.Generator,
    splits: int = 1000,
    by_experiment: bool = False,
) -> xr.Dataset:
    """Correlate human with other-model recognition, and estimate how high the correlation could be.

    Points are the stages, by name, that both tables have for a model: metamers that were given to people and to models.

    Parameters
    ----------
    people
        From `read_participants`.
    recognised
        From `read_recognition`.
    modality
        One of the tables' modalities.
    generator
        Generator of the splits into halves.
    splits
        Number of splits.
    by_experiment
        Treat a model that was in several experiments as a point in each, rather than average over all who were
        given it.

    Returns
    -------
    xr.Dataset
        Over ``site``: ``human`` and ``other_models``, means in [0, 1], with ``participants``, the number of people.
        Over ``metric`` (``pearson``, ``spearman``): ``correlation``; ``human_reliability`` and
        ``models_reliability``, of halves of each experiment's people and of the recognisers, by Spearman–Brown;
        ``noise_ceiling``, the root of their product; and ``corrected``, the correlation divided by it.
        ``points`` is their number.

    Raises
    ------
    MetameryError
        There is no such modality, the tables share fewer than three points, or people or recognisers are too few to be
        split.
    """
    for table in (people, recognised):
        if modality not in (known := list(dict.fromkeys(table["modality"].values.tolist()))):
            raise unknown("modality", modality, known)
    own = people.isel(site=np.flatnonzero(people["modality"].values == modality))
    own = own.isel(participant=np.flatnonzero(own["human"].notnull().any("site").values))
    sites: dict[tuple[str, ...], list[int]] = {}
    parts = zip(*(own[name].values.tolist() for name in ("model", "layer", "experiment")), strict=True)
    for column, (model, layer, experiment) in enumerate(parts):
        sites.setdefault((model, layer, experiment) if by_experiment else (model, layer), []).append(column)
    own_recognised = recognised.transpose("recogniser", "site")
    own_recognised = own_recognised.isel(site=np.flatnonzero(own_recognised["modality"].values == modality))
    pairs = zip(own_recognised["model"].values.tolist(), own_recognised["layer"].values.tolist(), strict=True)
    column_of = {pair: column for column, pair in enumerate(pairs)}
    points = [site for site in sites if site[:2] in column_of]
    if len(points) < 3:
        raise MetameryError(f"people and models share {len(points)} stages of models, expected at least 3")
    by_person = _by_person(own["human"].transpose("participant", "site").values, [sites[point] for point in points])
    by_model = own_recognised.values[:, [column_of[point[0], point[1]] for point in points]]  # (recogniser, point)
    itself = own_recognised["recogniser"].values[:, None] == np.array([point[0] for point in points])
    by_model = np.where(itself, np.nan, by_model)
    by_model = by_model[np.isfinite(by_model).any(axis=1)]
    if not np.isfinite(by_model).any(axis=0).all():
        raise MetameryError(f"some metamers of {modality} models were given to no other model")
    human, others = np.nanmean(by_person, axis=0), np.nanmean(by_model, axis=0)
    rows = []
    for measure in MEASURES:
        value = float(correlate(human, others, measure))
        if np.isnan(value):
            flat = "people" if np.ptp(human) < ROUNDING else "the other models"
            message = f"the correlation ({measure}) is NaN: the means of {flat} are the same at all points"
            warnings.warn(message, stacklevel=2)
        reliable = [
            split_half(scores, generator=generator, splits=splits, groups=groups, measure=measure).full
            for scores, groups in ((by_person, own["participant_experiment"].values), (by_model, None))
        ]
        ceiling = noise_ceiling(*reliable)
        rows.append([value, *reliable, ceiling, value / ceiling if ceiling else np.nan])
    names = {
        "correlation": "correlation of human with other-model recognition",
        "human_reliability": "reliability of people's means, by split halves and Spearman–Brown",
        "models_reliability": "reliability of the other models' means, by split halves and Spearman–Brown",
        "noise_ceiling": "highest correlation that these reliabilities allow on average",
        "corrected": "correlation divided by the noise ceiling; NaN where that is 0",
    }
    dataset = xr.Dataset(
        {
            "human": ("site", human, {"long_name": "mean proportion that people recognise", "units": "1"}),
            "other_models": (
                "site",
                others,
                {"long_name": "mean proportion that other models recognise", "units": "1"},
            ),
            "participants": ("site", np.isfinite(by_person).sum(axis=0), {"long_name": "people", "units": "1"}),
            **{
                name: ("metric", [row[index] for row in rows], {"long_name": text, "units": "1"})
                for index, (name, text) in enumerate(names.items())
            },
            "points": ((), len(points), {"long_name": "stages of models that people and models share", "units": "1"}),
        },
        {
            "site": ["/".join(point) for point in points],
            "model": ("site", [point[0] for point in points]),
            "layer": ("site", [point[1] for point in points]),
            "metric": list(MEASURES),
        },
        {
            "title": "Recognition by people and by other models",
            "modality": modality,
            "splits": splits,
            "reading_order": ["correlation", "noise_ceiling", "corrected", "human", "other_models"],
            "read_first": "A correlation near its noise ceiling is as high as the reliability of the data allows.",
        },
    )
    return dataset.assign_coords(experiment=("site", [point[2] for point in points])) if by_experiment else dataset


def _by_person(scores: NDArray[np.float64], columns: list[list[int]]) -> NDArray[np.float64]:
    """Merge the columns of each point, ``(participant, point)``: each person was in one experiment only."""
    result = np.full((len(scores), len(columns)), np.nan)
    for point, own in enumerate(columns):
        for column in own:
            known = np.isfinite(scores[:, column])
            result[known, point] = scores[known, column]
    return result
