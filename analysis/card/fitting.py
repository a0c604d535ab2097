"""Fitting people's recognition to that of other networks, and checking the fit by leaving each network out.

    python -m metamery.analysis.card.fitting human_recognition_participants.csv network_network.csv

writes the fit that comes with metamery from the released tables of Feather et al. (2023), and prints how it does.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError
from ..statistics import other_model_prediction, read_participants, read_recognition
from ..statistics.random_intercept import RandomIntercept, fit_random_intercept
from .human_fit import CHOICES, FILE, STIMULI, HumanFit, JuryCheck, logit, smoothed, to_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 200
"""Number of juries of each size that are drawn."""


def fit_people(
    people: xr.Dataset,
    recognised: xr.DataArray,
    modality: str,
    *,
    generator: np.random.Generator,
    draws: int = DRAWS,
) -> HumanFit:
    """Fit people's recognition of metamers to the mean recognition by all other networks.

    The points are those of `other_model_prediction`: the stages of networks that both tables have. Each network is then
    left out with all of its stages, the others are fitted, and its points are compared with their prediction intervals:
    with that of all other networks, and with those of juries drawn at random from them. A network that is left out
    still is a recogniser of the others' metamers.

    Parameters
    ----------
    people
        From `read_participants`.
    recognised
        From `read_recognition`.
    modality
        ``vision`` or ``audio``.
    generator
        Generator of the juries.
    draws
        Number of juries of each size.

    Raises
    ------
    MetameryError
        The tables lack the modality or share too few points or networks, or people recognise all or none of the
        metamers of a stage.
    """
    found = other_model_prediction(people, recognised, modality, generator=generator, splits=1)
    models, human = found["model"].values, found["human"].values
    if not ((human > 0) & (human < 1)).all():
        raise MetameryError("people recognise all or none of the metamers of a stage, which has no logit")
    others = found["other_models"].values
    x, y = logit(smoothed(others, STIMULI)), logit(human)
    recognisers, jurors = _jurors(recognised, modality, models, found["layer"].values)
    by_relatives, by_strangers = _by_kinship(recognisers, jurors, models)
    most = int(np.isfinite(jurors).sum(axis=0).min())
    of_juries = np.stack([_juries(jurors, size, draws, generator) for size in range(1, most + 1)])  # (size, draw, p)
    misses = of_juries - x
    predicted = np.empty_like(y)
    inside, inside_of_juries = np.empty(y.shape, dtype=bool), np.empty(misses.shape, dtype=bool)
    for model in np.unique(models):
        out = models == model
        line = _line(x[~out], y[~out], models[~out])
        predicted[out] = line.predict(x[out])
        inside[out] = np.abs(y[out] - predicted[out]) <= line.half_width(x[out])
        variances = np.square(misses[..., ~out]).mean(axis=(1, 2))
        for size, variance in enumerate(variances):
            inside_of_juries[size][:, out] = _is_inside(line, of_juries[size][:, out], y[out], variance)
    quarters = np.array_split(np.argsort(x, kind="stable"), 4)
    return HumanFit(
        modality=modality,
        choices=CHOICES[modality],
        line=_line(x, y, models),
        points=len(y),
        pearson=float(found["correlation"].sel(metric="pearson")),
        coverage=float(inside.mean()),
        coverage_by_quarter=tuple(float(inside[quarter].mean()) for quarter in quarters),
        error=float(np.sqrt(np.mean(np.square(human - 1 / (1 + np.exp(-predicted)))))),
        least=float(others.min()),
        most=float(others.max()),
        by_relatives=by_relatives,
        by_strangers=by_strangers,
        juries={
            size + 1: JuryCheck(float(np.square(misses[size]).mean()), float(inside_of_juries[size].mean()))
            for size in range(most)
        },
    )


def _line(x: NDArray[np.float64], y: NDArray[np.float64], models: NDArray[np.str_]) -> RandomIntercept:
    """Fit the line; the spread of people's recognition is estimated, too, which is larger where others' is low."""
    return fit_random_intercept(x, y, models, variance_slope=None)


def _is_inside(
    line: RandomIntercept, x: NDArray[np.float64], y: NDArray[np.float64], variance: float
) -> NDArray[np.bool_]:
    """Whether points are in the intervals that follow from juries, ``(draw, point)``."""
    return np.asarray(np.abs(y - line.predict(x)) <= line.half_width(x, line.slope**2 * variance))


def _jurors(
    recognised: xr.DataArray, modality: str, models: NDArray[np.str_], layers: NDArray[np.str_]
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Names of the recognisers, and recognition at each point ``(recogniser, point)``; NaN by the generator itself."""
    table = recognised.transpose("recogniser", "site").isel(site=np.flatnonzero(recognised["modality"] == modality))
    sites = list(zip(table["model"].values.tolist(), table["layer"].values.tolist(), strict=True))
    columns = [sites.index(site) for site in zip(models.tolist(), layers.tolist(), strict=True)]
    itself = table["recogniser"].values[:, None] == models
    return table["recogniser"].values, np.where(itself, np.nan, table.values[:, columns])


def _by_kinship(
    recognisers: NDArray[np.str_], jurors: NDArray[np.float64], models: NDArray[np.str_]
) -> tuple[float, float]:
    """Mean recognition by networks of the generator's family and by others, at the points that have both."""
    families, own = ([name.partition("_")[0] for name in names.tolist()] for names in (recognisers, models))
    is_kin, known = np.array(families)[:, None] == np.array(own), np.isfinite(jurors)
    both = (known & is_kin).any(axis=0) & (known & ~is_kin).any(axis=0)
    kin, strangers = (
        np.nanmean(np.where(chosen, jurors, np.nan)[:, both], axis=0).mean() if both.any() else np.nan
        for chosen in (is_kin, ~is_kin)
    )
    return float(kin), float(strangers)


def _juries(jurors: NDArray[np.float64], size: int, draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Logits of the mean recognition by juries of a size, drawn for each point by itself, ``(draw, point)``."""
    order = np.where(np.isfinite(jurors), generator.random((draws, *jurors.shape)), np.inf)
    chosen = np.argsort(order, axis=1)[:, :size]  # (draw, size, point)
    means = np.take_along_axis(np.broadcast_to(jurors, order.shape), chosen, axis=1).mean(axis=1)
    return logit(smoothed(means, STIMULI))


def main(people: str, recognition: str) -> None:
    """Write the fits of both modalities to `FILE`, and print how they do."""
    tables = read_participants(people), read_recognition(recognition)
    fits = {each: fit_people(*tables, each, generator=np.random.default_rng(0)) for each in CHOICES}
    about = (
        "People's recognition of metamers by that of other networks: numbers fitted by metamery.analysis.card.fitting "
        "to the data released with Feather, Leclerc, Mądry & McDermott (2023), Nature Neuroscience 26:2017 (MIT)."
    )
    text = json.dumps({"about": about, "fits": {n: to_table(f) for n, f in fits.items()}}, ensure_ascii=False, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")
    for name, fit in fits.items():
        quarters = ", ".join(f"{each:.3f}" for each in fit.coverage_by_quarter)
        print(f"{name}: {fit.points} points of {fit.line.groups} networks, r = {fit.pearson:.3f}")
        print(f"  logit people = {fit.line.intercept:.3f} + {fit.line.slope:.3f} logit others")
        spread = f"{fit.line.between**0.5:.3f} between, {fit.line.within**0.5:.3f} within networks"
        print(
            f"  standard deviations at .5: {spread}; variances change by e^({fit.line.variance_slope:.3f} logit others)"
        )
        print(f"  left out: coverage {fit.coverage:.3f} (by quarter {quarters}), error {fit.error:.3f}")
        print(f"  recognised by relatives {fit.by_relatives:.3f}, by others {fit.by_strangers:.3f}")
        for members, check in fit.juries.items():
            print(f"  jury of {members}: standard deviation {check.variance**0.5:.3f}, coverage {check.coverage:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
