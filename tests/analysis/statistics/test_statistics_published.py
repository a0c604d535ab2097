"""The published analyses of Feather et al. (2023), from their released data."""

from __future__ import annotations

import csv
import math
from functools import cache

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics import (
    mixed_anova,
    other_model_prediction,
    read_participants,
    read_recognition,
    repeated_measures_anova,
    select_models,
    select_observers,
)
from peers import TABLES, needs_tables

STATS, PARTICIPANTS, RECOGNITION = TABLES

pytestmark = needs_tables

SHUFFLES = 2000
TERMS = {
    "network_or_human": "recogniser",
    "(Intercept):layer": "layer",
    "network_or_human:layer": "recogniser:layer",
    "(Intercept):model_type": "model",
    "(Intercept):layer:model_type": "model:layer",
}


def published() -> list[dict[str, str]]:
    if not STATS.is_file():
        return []
    with STATS.open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def people() -> xr.Dataset:
    return read_participants(PARTICIPANTS)


@cache
def analysed(modality: str, experiment: str, names: str, scheme: str) -> xr.Dataset:
    chosen = [name.strip() for name in names.split(",")]
    generator = np.random.default_rng(2)
    options = {"generator": generator, "shuffles": SHUFFLES, "scheme": scheme}
    if len(chosen) == 1:
        return mixed_anova(select_observers(people(), modality, experiment, chosen[0]), **options)
    return repeated_measures_anova(select_models(people(), modality, experiment, chosen), **options)


def unit(printed: str) -> float:
    """Of the last of five printed digits."""
    return 10.0 ** (math.floor(math.log10(abs(float(printed)))) - 4)


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row['modality']}-{row['test_name']}-{row['term']}")
def test_every_row(row: dict[str, str]) -> None:
    found = analysed(row["modality"], row["experiment"], row["models"], "feather2023").sel(term=TERMS[row["term"]])
    assert found.df_effect == float(row["DF_effect"])
    assert found.df_error == float(row["DF_error"])
    for name, column in {"F": "value", "partial_eta_squared": "partial_eta2"}.items():
        assert f"{found[name].item():.5g}" == f"{float(row[column]):.5g}"
    for name, column in {"p": "p_parametric", "p_GG": "p_GG"}.items():  # one digit off where the data's ten round so
        assert abs(found[name].item() - float(row[column])) <= 0.51 * unit(row[column])
    if row["p_permutation"]:
        printed, ours = float(row["p_permutation"]), found.p_permutation.item()
        spread = math.sqrt(ours * (1 - ours) * (1 / SHUFFLES + 1 / float(row["num_permutations"])))
        assert abs(printed - ours) <= max(4 * spread, 1 / SHUFFLES)
    else:
        assert math.isnan(found.p_permutation.item())


def test_the_proper_scheme_does_not_take_correlated_stages_for_independent_ones() -> None:
    """As the corrected p does; the published null gives the uncorrected one."""
    chosen = ("vision", "3", "resnet50, resnet50_random_linf8_perturb")
    old, new = (analysed(*chosen, scheme).sel(term="model:layer") for scheme in ("feather2023", "proper"))
    assert old.p_permutation < 0.0015 < new.p_permutation < 0.02
    assert old.p < 0.0015 < old.p_GG < 0.02


@pytest.mark.parametrize(
    ("modality", "by_experiment", "points", "pearson", "spearman"),
    [
        ("vision", False, 148, 0.927, 0.920),
        ("vision", True, 185, 0.932, 0.911),
        ("audio", False, 144, 0.974, 0.863),
        ("audio", True, 195, 0.973, 0.862),
    ],
)
def test_other_models_predict_people(
    modality: str, by_experiment: bool, points: int, pearson: float, spearman: float
) -> None:
    found = other_model_prediction(
        people(),
        read_recognition(RECOGNITION),
        modality,
        generator=np.random.default_rng(0),
        splits=200,
        by_experiment=by_experiment,
    )
    assert found.points == points == found.sizes["site"]
    np.testing.assert_allclose(found.correlation, [pearson, spearman], atol=0.0005)
    assert (found.correlation < found.corrected).all()
    assert (found.noise_ceiling < 1).all()
    assert (found.noise_ceiling > 0.9).all()
