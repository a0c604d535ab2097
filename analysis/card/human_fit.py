"""Recognition by people, predicted from that by other networks, with a 95 % prediction interval.

The prediction is a line on the logits of both proportions with a random offset for each generating network, fitted to
the released data of Feather et al. (2023). What is shipped are its numbers, ``human_fit.json``, which `fitting` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..statistics.random_intercept import RandomIntercept

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FILE = Path(__file__).with_name("human_fit.json")
"""The fit that comes with metamery."""

MODALITIES = {"image": "vision", "waveform": "audio"}
"""The modality of each kind of domain."""

CHOICES = {"vision": 16, "audio": 793}
"""Number of answers that people, and networks, chose from in the published experiments."""

STIMULI = 400
"""Number of stimuli that each network was asked about in the published data."""


@dataclass(frozen=True)
class JuryCheck:
    """What a jury of fewer networks costs, from juries drawn at random from the published ones.

    Parameters
    ----------
    variance
        Mean square of the difference that its recognition has from that of all other networks, in logits.
    coverage
        Proportion of points of networks left out of the fit that are in the prediction interval for such a jury.
    """

    variance: float
    coverage: float


@dataclass(frozen=True)
class Prediction:
    """Proportion that people would recognise, with the ends of its 95 % prediction interval, all in (0, 1).

    `is_extrapolated` says that other networks recognise fewer or more than any published metamers at a layer.
    """

    value: float
    low: float
    high: float
    is_extrapolated: bool


@dataclass(frozen=True)
class HumanFit:
    """People's recognition by that of other networks, for one modality.

    Parameters
    ----------
    modality
        ``vision`` or ``audio``.
    choices
        Number of answers in the experiments.
    line
        The fitted line, from the logit of other networks' recognition to that of people's.
    points
        Number of stages of networks that it was fitted to.
    pearson
        Correlation of the two proportions over these points.
    coverage
        Proportion of the points in the 95 % prediction interval when their network is left out of the fit.
    coverage_by_quarter
        The same for each quarter of the points, from those that other networks recognise least.
    error
        Root mean square of the differences of people's recognition from the prediction of fits without the network.
    least, most
        Lowest and highest recognition by other networks among the points.
    by_relatives, by_strangers
        Mean recognition by networks whose names begin as the generating network's, which share its architecture, and by
        others, over the points that have both.
    juries
        For each number of members a check of juries of that size; the largest stands for all larger ones.
    """

    modality: str
    choices: int
    line: RandomIntercept
    points: int
    pearson: float
    coverage: float
    coverage_by_quarter: tuple[float, ...]
    error: float
    least: float
    most: float
    by_relatives: float
    by_strangers: float
    juries: Mapping[int, JuryCheck]

    @property
    def chance(self) -> float:
        """Proportion right of people who guess."""
        return 1 / self.choices

    def jury(self, members: int) -> JuryCheck:
        """Return the check of juries of a size."""
        return self.juries[min(members, max(self.juries))]

    def predict(self, recognised: float, *, members: int, choices: float, stimuli: int) -> Prediction:
        """Predict the proportion of metamers at a layer that people would recognise in the published task.

        The interval contains the difference of networks, of layers of one network and of small juries, as they are in
        the published data, and the error of a proportion of `stimuli`, as if the members agreed on each.

        Parameters
        ----------
        recognised
            Mean proportion that the members of the jury recognise, in [0, 1].
        members
            Number of networks in the jury.
        choices
            Number of answers that they choose from. Where it is not that of the experiments, the proportion is
            corrected for guessing by the one number and expressed with guessing by the other (Abbott 1925).
        stimuli
            Number of stimuli.
        """
        proportion = float(smoothed(recognised, stimuli))
        guessed, scale = 1 / choices, (1 - self.chance) / (1 - 1 / choices)
        expected = self.chance + scale * max(proportion - guessed, 0.0)
        x = logit(expected)
        slope = scale / (expected * (1 - expected))
        error = slope**2 * proportion * (1 - proportion) / (stimuli + 1)
        middle = float(self.line.predict(x))
        half = float(self.line.half_width(x, self.line.slope**2 * (self.jury(members).variance + error)))
        value, low, high = expit(np.array([middle, middle - half, middle + half])).tolist()
        return Prediction(value, low, high, not self.least <= expected <= self.most)


def smoothed(proportion: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return proportions of `count` with half a success and half a failure added, so that none is 0 or 1."""
    return (np.asarray(proportion, dtype=np.float64) * count + 0.5) / (count + 1)


def logit(proportion: ArrayLike) -> NDArray[np.float64]:
    """Return log odds of proportions in (0, 1)."""
    values = np.asarray(proportion, dtype=np.float64)
    return np.asarray(np.log(values / (1 - values)))


def expit(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the proportions of log odds."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64))))


@cache
def published_fit(modality: str) -> HumanFit:
    """Return the fit to the released data of Feather et al. (2023), ``vision`` or ``audio``."""
    return from_table(json.loads(FILE.read_text(encoding="utf-8"))["fits"][modality])


def to_table(fit: HumanFit, digits: int = 6) -> dict[str, Any]:
    """Return a fit as what JSON can hold, its numbers rounded to significant digits."""

    def short(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(name): short(each) for name, each in value.items()}
        if isinstance(value, tuple | list):
            return [short(each) for each in value]
        return float(f"{value:.{digits}g}") if isinstance(value, float) else value

    table: dict[str, Any] = short(asdict(fit))
    return table


def from_table(table: Mapping[str, Any]) -> HumanFit:
    """Return the fit of a table of `to_table`."""
    line, juries = table["line"], table["juries"]
    (first, cross), (_, second) = line["covariance"]
    fit = HumanFit(**{**table, "line": RandomIntercept(**line), "juries": {}})
    return replace(
        fit,
        coverage_by_quarter=tuple(fit.coverage_by_quarter),
        line=replace(fit.line, covariance=((first, cross), (cross, second))),
        juries={int(members): JuryCheck(**check) for members, check in juries.items()},
    )
