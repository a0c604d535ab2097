"""Studies side by side: what they share, under names that distinguish their models."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.studies.compare import compare
from metamery.framework import MetameryError, open_study
from metamery.framework.schema import check_dataset
from metamery.framework.store import StudyStore
from studies import IMAGE, LAYERS, SOUND, make_study


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two studies of one model; one has another model, too, and both hold two evaluations, one has a third."""
    root = tmp_path_factory.mktemp("compared")
    made = {
        "first": make_study(root / "first", {"net": IMAGE}),
        "second": make_study(root / "second", {"net": IMAGE, "ear": SOUND}),
    }
    for number, folder in enumerate(made.values()):
        models = ["net"] if number == 0 else ["net", "ear"]
        store = StudyStore.reopen(folder)
        store.add("agreement", of_models(models))
        store.add("recognition", of_sites(models, ["net", "other"]))
    StudyStore.reopen(made["first"]).add("only-here", of_models(["net"]))
    return made


@pytest.fixture
def trees(folders: dict[str, Path]) -> dict[str, xr.DataTree]:
    return {name: open_study(folder) for name, folder in folders.items()}


def variable(dims, values):
    return dims, np.asarray(values, dtype=float), {"long_name": "made up", "units": "1"}


def of_models(models):
    values = np.arange(len(models) * 2).reshape(-1, 2)
    return xr.Dataset({"agreement": variable(("model", "layer"), values)}, {"model": models, "layer": ["1", "output"]})


def of_sites(models, recognisers):
    sites = [(model, layer) for model in models for layer in ("1", "output")]
    values = np.arange(len(sites) * 2).reshape(-1, 2)
    return xr.Dataset(
        {
            "recognised": variable(("site", "recogniser"), values),
            "correct": variable(("site", "stimulus"), values),
        },
        {
            "site": [" ".join(site) for site in sites],
            "model": ("site", [model for model, _ in sites]),
            "layer": ("site", [layer for _, layer in sites]),
            "recogniser": recognisers,
            "stimulus": ["a", "b"],
        },
    )


def test_synthesis_is_told_of_every_model_and_layer(trees):
    found = compare(trees)["synthesis"]
    check_dataset(found)
    names = ["net (first)", "net (second)", "ear"]
    assert sorted(found.site.values) == sorted(f"{name} {layer}" for name in names for layer in LAYERS)
    one = trees["second"]["models/ear/match"].to_dataset().sel(layer="conv1")
    verdicts = one.success.values
    at = found.sel(site="ear conv1")
    assert at.success.item() == (verdicts == 1).sum() / np.isin(verdicts, (0, 1)).sum()
    assert at.success_low.item() < at.success.item() <= at.success_high.item()
    own = one.match.sel(measured_layer="conv1", metric="pearson").median().item()
    assert at.match.sel(metric="pearson").item() == pytest.approx(own)
    metamers = trees["second"]["models/ear/metamers"].to_dataset().sel(layer="conv1")
    assert at.loss.item() == pytest.approx(metamers.loss.isel(step=metamers.steps).median().item())


def test_evaluations_that_all_have_stand_side_by_side(trees):
    found = compare(trees)
    assert [*found] == ["synthesis", "agreement", "recognition"]
    assert found["agreement"].model.values.tolist() == ["net (first)", "net (second)", "ear"]
    assert found["agreement"].agreement.sel(model="ear").values.tolist() == [2, 3]
    recognition = found["recognition"]
    check_dataset(recognition)
    assert [*recognition.data_vars] == ["recognised"]  # what is of single stimuli is left out
    assert recognition.recogniser.values.tolist() == ["net (first)", "other", "net (second)"]
    assert recognition.model.values.tolist() == ["net (first)"] * 2 + ["net (second)"] * 2 + ["ear"] * 2
    assert recognition.recognised.sel(site="ear 1", recogniser="other").item() == 5
    assert np.isnan(recognition.recognised.sel(site="ear 1", recogniser="net (first)").item())
    assert recognition.recognised.attrs == {"long_name": "made up", "units": "1"}


def test_one_study_or_no_study_is_said_so(trees):
    with pytest.raises(MetameryError, match="compare is given first, expected at least two studies"):
        compare({"first": trees["first"]})
    with pytest.raises(MetameryError, match="'empty' holds no metamers, expected a study"):
        compare({"first": trees["first"], "empty": xr.DataTree()})


def test_the_command_prints_keeps_and_draws_it(command, tmp_path):
    for name in ("first", "second"):
        make_study(tmp_path / name, {"net": IMAGE})
    said = command("compare", tmp_path / "first", tmp_path / "second", "-o", tmp_path / "both")
    assert said.status == 0, said.err
    assert "net (second) output" in said.out
    assert {*open_study(tmp_path / "both").children} == {"synthesis"}
    assert "net (first)" in (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    again = command("compare", tmp_path / "first", tmp_path / "first", "-o", tmp_path / "both")
    assert again.status == 2
    assert "is given twice, expected different studies" in again.error
    inside = command("compare", tmp_path / "first", tmp_path / "second", "-o", tmp_path / "first")
    assert inside.status == 2
    assert "holds a study; choose another folder" in inside.error


def test_texts_along_a_dimension_are_those_of_the_study_that_has_them(tmp_path: Path) -> None:
    trees = {}
    for name, domain, transformations in (("seen", IMAGE, ["blur", "scale"]), ("heard", SOUND, ["gain"])):
        folder = make_study(tmp_path / name, {name: domain})
        values = variable(("model", "transformation"), [[1.0] * len(transformations)])
        units = ("transformation", [f"unit of {each}" for each in transformations])
        coordinates = {"model": [name], "transformation": transformations, "unit": units}
        StudyStore.reopen(folder).add("invariance", xr.Dataset({"invariance": values}, coordinates))
        trees[name] = open_study(folder)
    found = compare(trees)["invariance"]
    check_dataset(found)
    assert found.unit.values.tolist() == ["unit of blur", "unit of scale", "unit of gain"]
    np.testing.assert_array_equal(found.invariance, [[1, 1, np.nan], [np.nan, np.nan, 1]])


def test_a_comparison_says_which_studies_and_warns_where_distances_differ(trees):
    about = compare(trees)["synthesis"].attrs
    assert (about["studies"], about["warnings"]) == (["first", "second"], [])
    made = trees["second"]["models/ear/metamers"]
    made.attrs["settings"] = made.attrs["settings"].replace("inversion", "cosine")
    (warning,) = compare(trees)["synthesis"].attrs["warnings"]
    assert warning.endswith("inversion at net (first), net (second); cosine at ear")


def test_what_to_read_first_is_carried_over(trees):
    for tree in trees.values():
        tree["recognition"].attrs |= {"reading_order": ["correct", "recognised"], "read_first": "Look."}
    about = compare(trees)["recognition"].attrs
    assert (about["reading_order"], about["read_first"]) == (["recognised"], "Look.")
