"""People predicted from other networks: known parameters, a jury's size, chance, and the published tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.card.fitting import fit_people
from metamery.analysis.card.human_fit import (
    FILE,
    STIMULI,
    HumanFit,
    expit,
    from_table,
    logit,
    published_fit,
    smoothed,
    to_table,
)
from metamery.analysis.statistics import read_participants, read_recognition
from metamery.framework import MetameryError
from peers import TABLES, needs_tables

NETWORKS, STAGES, PERSONS = 24, 7, 20


def tables(folder: Path, offset: float = 0.5, slope: float = 0.9) -> tuple[xr.Dataset, xr.DataArray]:
    """Tables of networks that recognise each other's metamers, and of people by a line on their logits."""
    generator = np.random.default_rng(0)
    names = [f"{'ab'[network % 2]}_{network}" for network in range(NETWORKS)]  # of two families
    people = ["modality,experiment,model,participant,stage,stage_index,human,network"]
    recognised = ["modality,generating_model,evaluating_model,stage,proportion_correct"]
    for network, name in enumerate(names):
        own = 0.3 * generator.normal()
        for stage in range(STAGES):
            by_networks = expit(2.5 - stage + 0.3 * generator.normal(size=NETWORKS))
            others = np.delete(by_networks, network).mean()
            mean = expit(offset + slope * logit(others) + own + 0.2 * generator.normal())
            people += [f"vision,1,{name},{n},stage{stage},{stage},{mean:.9f}," for n in range(PERSONS)]
            recognised += [
                f"vision,{name},{each},stage{stage},{p:.9f}" for each, p in zip(names, by_networks, strict=True)
            ]
    for file, rows in (("people.csv", people), ("models.csv", recognised)):
        (folder / file).write_text("\n".join(rows), encoding="utf-8")
    return read_participants(folder / "people.csv"), read_recognition(folder / "models.csv")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> HumanFit:
    return fit_people(
        *tables(tmp_path_factory.mktemp("tables")), "vision", generator=np.random.default_rng(1), draws=40
    )


def test_a_known_line_is_found_with_its_coverage(fitted: HumanFit) -> None:
    assert (fitted.line.intercept, fitted.line.slope) == pytest.approx((0.5, 0.9), abs=0.12)
    assert (fitted.line.between**0.5, fitted.line.within**0.5) == pytest.approx((0.3, 0.2), abs=0.08)
    assert (fitted.points, fitted.line.groups) == (NETWORKS * STAGES, NETWORKS)
    assert 0.9 <= fitted.coverage <= 0.99
    assert np.mean(fitted.coverage_by_quarter) == pytest.approx(fitted.coverage)


def test_smaller_juries_differ_more_and_their_intervals_say_so(fitted: HumanFit) -> None:
    variances = [fitted.juries[size].variance for size in sorted(fitted.juries)]
    assert variances == sorted(variances, reverse=True)
    assert variances[-1] == pytest.approx(0, abs=1e-12)  # all of the others
    assert variances[0] == pytest.approx(0.09, rel=0.3)
    assert all(0.88 <= check.coverage <= 0.99 for check in fitted.juries.values())
    widths = [np.ptp([one.low, one.high]) for n in (1, 3, 23) for one in [predicted(fitted, 0.5, members=n)]]
    assert widths == sorted(widths, reverse=True)
    assert predicted(fitted, 0.5, members=23) == predicted(fitted, 0.5, members=50)


def predicted(fit: HumanFit, recognised: float, members: int = 5, choices: float = 16, stimuli: int = STIMULI):
    return fit.predict(recognised, members=members, choices=choices, stimuli=stimuli)


def test_predictions_stay_proportions_and_grow(fitted: HumanFit) -> None:
    found = [predicted(fitted, share, stimuli=6) for share in np.linspace(0, 1, 13)]
    assert all(0 < one.low < one.value < one.high < 1 for one in found)
    values = [one.value for one in found]
    assert values == sorted(values)
    assert values[0] < values[6] < values[-1]


def test_the_published_number_of_answers_needs_no_correction(fitted: HumanFit) -> None:
    line = fitted.line.predict(logit(smoothed(0.4, STIMULI)))
    assert predicted(fitted, 0.4).value == pytest.approx(float(expit(line)))


def test_a_jury_that_guesses_predicts_as_one_that_guesses_among_the_published_answers(fitted: HumanFit) -> None:
    guessing = [predicted(fitted, 1 / choices, choices=choices, stimuli=10**9).value for choices in (2, 10, 16, 1000)]
    assert guessing == pytest.approx([guessing[0]] * 4, rel=1e-5)
    below = predicted(fitted, 0.0, choices=10, stimuli=10**9).value
    assert below == pytest.approx(guessing[0], rel=1e-5)


def test_fewer_stimuli_say_less(fitted: HumanFit) -> None:
    few, many = (predicted(fitted, 0.5, stimuli=count) for count in (6, 600))
    assert few.high - few.low > many.high - many.low


def test_what_is_beyond_the_published_metamers_is_marked(fitted: HumanFit) -> None:
    known = replace(fitted, least=0.1, most=0.9)
    assert [predicted(known, share).is_extrapolated for share in (0.05, 0.5, 0.95)] == [True, False, True]


def test_people_who_recognise_nothing_have_no_logit(tmp_path: Path) -> None:
    people, recognised = tables(tmp_path)
    people["human"][:, 0] = np.where(people["human"][:, 0].notnull(), 0.0, np.nan)
    with pytest.raises(MetameryError, match="all or none"):
        fit_people(people, recognised, "vision", generator=np.random.default_rng(0))


def test_a_fit_is_stored_and_read(fitted: HumanFit) -> None:
    read = from_table(json.loads(json.dumps(to_table(fitted, digits=17))))
    assert read == fitted


@pytest.mark.parametrize(("modality", "r", "choices"), [("vision", 0.93, 16), ("audio", 0.97, 793)])
def test_what_is_shipped_has_the_published_correlation_and_covers_networks_left_out(
    modality: str, r: float, choices: int
) -> None:
    fit = published_fit(modality)
    assert (round(fit.pearson, 2), fit.choices) == (r, choices)
    assert 0.9 <= fit.coverage <= 0.99
    assert all(0.9 <= check.coverage <= 0.99 for check in fit.juries.values())


@needs_tables
@pytest.mark.slow
@pytest.mark.parametrize("modality", ["vision", "audio"])
def test_what_is_shipped_follows_from_the_published_tables(modality: str) -> None:
    people, recognised = read_participants(TABLES[1]), read_recognition(TABLES[2])
    found = to_table(fit_people(people, recognised, modality, generator=np.random.default_rng(0), draws=20))
    shipped = json.loads(FILE.read_text(encoding="utf-8"))["fits"][modality]
    for name in ("intercept", "slope", "between", "within", "variance_slope"):
        assert found["line"][name] == pytest.approx(shipped["line"][name], rel=1e-3), name
    for name in shipped.keys() - {"line", "juries"}:
        assert found[name] == (pytest.approx(shipped[name], rel=1e-3) if name != "modality" else modality), name
    for size in ("1", "5"):
        for name in ("variance", "coverage"):
            assert found["juries"][size][name] == pytest.approx(shipped["juries"][size][name], rel=0.1), (size, name)
