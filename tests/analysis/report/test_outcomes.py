"""The top of a study's page: what came out, by model and layer."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.report import render
from metamery.analysis.report.outcomes import Outcomes, outcomes
from metamery.analysis.report.sections import model_section
from metamery.analysis.report.snippets import CODES
from metamery.framework import open_study
from metamery.framework.model_results import models_of
from metamery.framework.schema import site_coordinates
from metamery.framework.store import StudyStore
from studies import IMAGE, LAYERS, SOUND, make_study

MODELS = ("audio:net", "vision:net")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("outcomes") / "study", {"vision:net": IMAGE, "audio:net": SOUND})


def found(folder: Path) -> Outcomes | None:
    with open_study(folder) as tree:
        return outcomes([model_section(model, {}, 1, 10**6) for model in models_of(tree)], tree)


def recognition() -> xr.Dataset:
    sites = [(model, layer) for model in MODELS for layer in ("natural", *LAYERS)]
    others = np.linspace(0.9, 0.2, len(sites))
    others[-1] = np.nan
    about = {"long_name": "proportion that other models get right", "units": "1"}
    ends = {f"others_{end}": ("site", others + by, about) for end, by in (("low", -0.1), ("high", 0.1))}
    return xr.Dataset({"others": ("site", others, about), **ends}, site_coordinates(sites))


def test_success_is_counted_at_each_layer(made: Path) -> None:
    shown = found(made)
    assert shown is not None
    assert (shown.part, shown.heading, shown.has_recognition) == ("success", "success", False)
    assert [name for _, name, _ in shown.models] == [*MODELS]
    for _, _, rows in shown.models:
        assert [row.layer for row in rows] == LAYERS
        assert [str(row.proportion) for row in rows] == ["6/6", "4/6", "–"]
        assert [row.is_unattainable for row in rows] == [False, False, True]


def test_recognition_by_others_stands_beside_it(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "study"))
    measured = recognition()
    StudyStore.reopen(folder).add("recognition", measured)
    shown = found(folder)
    assert shown is not None
    values = [row.recognised.value for _, _, rows in shown.models for row in rows]
    np.testing.assert_array_equal(values, measured.others)
    (_, _, rows), _ = shown.models
    assert [row.layer for row in rows] == ["natural", *LAYERS]
    assert str(rows[1].recognised) == "0.800"
    assert rows[1].recognised.interval == "(0.700 to 0.900)"
    with open_study(folder) as tree:
        page = render(tree)
        code = CODES["others"].replace("{study}", "tree").replace("{site}", "'audio:net conv1'")
        assert eval(code, {"tree": tree}) == pytest.approx(0.8)
    assert 'href="#evaluation-recognition"' in page
    assert page.index('id="outcomes"') < page.index('id="contents"') < page.index('id="model-audio+net"')


@pytest.mark.parametrize("null", [True, False])
def test_without_success_what_was_decided_is_counted(tmp_path: Path, null: bool) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE}, null=null)
    if null:  # a network without classes
        unknown = np.full((3, 3, 2), -1)
        names = ("agrees", "success", "quantised_agrees", "quantised_success")
        StudyStore.reopen(folder).write("models/vision+net/match", {}, dict.fromkeys(names, unknown))
    shown = found(folder)
    assert shown is not None
    assert (shown.part, shown.heading) == (("matches", "match") if null else ("agrees", "same label"))
    (_, _, rows), *_ = shown.models
    assert [str(row.proportion) for row in rows] == ["6/6", "5/6", "–" if null else "4/4"]


def test_before_anything_is_decided_nothing_is_said(tmp_path: Path) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE}, null=False)
    unknown = np.full((3, 3, 2), -1)
    StudyStore.reopen(folder).write("models/vision+net/match", {}, {"agrees": unknown, "quantised_agrees": unknown})
    assert found(folder) is None
    with open_study(folder) as tree:
        assert 'id="outcomes"' not in render(tree)
