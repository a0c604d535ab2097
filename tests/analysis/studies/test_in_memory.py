"""Studies in memory have the content of studies on disk, and everything that reads a study reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis import (
    as_study,
    compare,
    evaluate,
    export,
    judge,
    null_distribution,
    recognise,
    run_study,
    synthesise,
    to_table,
    write_report,
)
from metamery.framework import (
    MetameryError,
    Model,
    ModelReference,
    Plugins,
    Reference,
    Stimulus,
    Study,
    models_of,
    open_study,
)
from metamery.framework.testing import example_model, example_stimuli

LAYERS = ["1", "output"]


@pytest.fixture(scope="module")
def model() -> Model:
    return example_model()


@pytest.fixture(scope="module")
def stimuli(model: Model) -> list[Stimulus]:
    return example_stimuli(model, 5)


@pytest.fixture(scope="module")
def metamers(model: Model, stimuli: list[Stimulus]) -> xr.Dataset:
    return synthesise(model, stimuli[:3], LAYERS, steps=8, seeds=2)


@pytest.fixture(scope="module")
def null(model: Model, stimuli: list[Stimulus]) -> xr.Dataset:
    return null_distribution(model, stimuli, LAYERS)


def test_a_study_in_memory_is_the_one_on_disk(tiny: str, pictures: Path, tmp_path: Path) -> None:
    plugins = Plugins()
    settings = {"steps": 4, "seeds": 2, "batch_size": 2}
    asked = Study(
        stimuli=Reference("folder", {"path": str(pictures)}),
        models=[ModelReference(tiny, layers=["1", "output"])],
        synthesis=settings,
    )
    run_study(asked, tmp_path / "study", plugins)
    stored = open_study(tmp_path / "study")
    (on_disk,) = models_of(stored)
    model, natural = plugins.load("model", tiny), plugins.load("stimuli", "folder", path=str(pictures))
    null = on_disk.null.load() if on_disk.null is not None else None
    tree = as_study({on_disk.name: synthesise(model, natural, ["1", "output"], **settings)}, null)
    (here,) = models_of(tree)
    assert here.key == on_disk.key
    assert here.domain == on_disk.domain
    for group in ("stimuli", "metamers", "match"):
        own, other = (each[f"models/{here.key}/{group}"].to_dataset().load() for each in (tree, stored))
        assert {*own.data_vars} == {*other.data_vars}
        for name in own.data_vars:
            np.testing.assert_array_equal(own[name].values, other[name].values, err_msg=str(name))
            assert own[name].dims == other[name].dims
    assert tree["stimuli"].to_dataset().equals(stored["stimuli"].to_dataset().load())
    assert tree.attrs["answers"] == stored.attrs["answers"]
    pd_here, pd_there = to_table(tree), to_table(tmp_path / "study")
    assert pd_here.equals(pd_there)


def test_recognition_in_memory_is_the_evaluators(model: Model, metamers: xr.Dataset) -> None:
    found = recognise({"net": model}, {"net": metamers}, resamples=50)
    evaluated = evaluate(
        "recognition", {"net": metamers}, models={"net": model}, options={"resamples": 50}, plugins=Plugins()
    )
    assert found.correct.equals(evaluated.correct)
    np.testing.assert_array_equal(found.own, evaluated.own)
    on_natural = found.own.sel(site="net natural").item()
    assert on_natural == (metamers.natural_correct == 1).mean().item()


def test_the_answers_to_natural_signals(model: Model, stimuli: list[Stimulus], metamers: xr.Dataset) -> None:
    with torch.no_grad():
        said = model.module(torch.stack([stimulus.signal for stimulus in stimuli[:3]])).argmax(dim=1)
    assert metamers.natural_predicted.values.tolist() == said.tolist()
    right = [model.labels[number] == each.category for number, each in zip(said, stimuli, strict=False)]  # type: ignore[index]
    assert metamers.natural_correct.values.tolist() == right


def test_the_table_has_a_row_for_each_metamer(model: Model, metamers: xr.Dataset, null: xr.Dataset) -> None:
    recognised = recognise({"net": model}, {"net": metamers}, resamples=50)
    study = as_study({"net": metamers}, {"net": null}, {"recognition": recognised})
    table = to_table(study)
    assert len(table) == metamers.state.size == 12
    row = table[(table.layer == "output") & (table.stimulus == "s1") & (table.seed == 1)].iloc[0]
    at = {"layer": "output", "stimulus": "s1", "seed": 1}
    assert row.loss == metamers.loss.sel(at).isel(step=-1).item()
    assert row.pearson == metamers.match.sel({**at, "measured_layer": "output", "metric": "pearson"}).item()
    assert (row.model, row.layer_index, row.depth, row.category) == ("net", 2, 1.0, "b")
    assert row["recognised_by net"] == (recognised.correct.sel(site="net output", stimulus="s1", seed=1).item() == 1)
    verdict = judge(metamers, null).matches.sel(at).item()
    assert bool(row.attainable) == (verdict != 2)
    assert table.matches.isna().sum() == (judge(metamers, null).matches == 2).sum().item()


def test_without_a_null_verdicts_are_missing(metamers: xr.Dataset) -> None:
    table = to_table(metamers)
    assert table.success.isna().all()
    assert not table.agrees.isna().any()


def test_what_is_kept_says_how_it_was_made(model: Model, stimuli: list[Stimulus], tmp_path: Path) -> None:
    found = evaluate("accuracy", {"net": model}, stimuli, output=tmp_path / "out", seed=3)
    kept = open_study(tmp_path / "out")["accuracy"].to_dataset()
    assert kept.attrs["evaluator"] == found.attrs["evaluator"] == "evaluators:accuracy"
    assert {"options", "models", "weights_sha256", "device", "metamery_version", "torch_version"} <= {*kept.attrs}
    assert kept.attrs["seed"] == 3
    assert write_report(tmp_path / "out").name == "report.html"


def test_an_evaluator_may_be_a_function(model: Model, stimuli: list[Stimulus]) -> None:
    def count(context: object) -> xr.Dataset:
        about = {"long_name": "stimuli", "units": "1"}
        return xr.Dataset({"count": ("model", [len(context.stimuli)], about)}, {"model": ["net"]})  # type: ignore[attr-defined]

    found = evaluate(count, {"net": model}, stimuli)
    assert found["count"].item() == 5
    assert found.attrs["models"] == ["net"]


def test_reports_of_what_was_never_on_disk(
    model: Model, metamers: xr.Dataset, null: xr.Dataset, tmp_path: Path
) -> None:
    study = as_study({"net": metamers}, {"net": null})
    page = write_report(study, tmp_path / "study.html").read_text(encoding="utf-8")
    assert "Metamers of" in page
    assert "net" in page
    both = compare({"one": {"net": metamers}, "two": study})
    assert both["synthesis"].site.size == 4
    assert "net (two)" in write_report(both, tmp_path / "both.html").read_text(encoding="utf-8")
    assert export(metamers, tmp_path / "files") == 3 + 12
    with pytest.raises(MetameryError, match="FILE"):
        write_report(study)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda metamers, _null: as_study({}), "no metamers"),
        (lambda _metamers, null: as_study({"net": null}), "synthesise"),
        (lambda metamers, null: as_study({"net": metamers}, {"other": null}), "net"),
        (lambda metamers, _null: as_study({"a": metamers, "b": metamers.isel(stimulus=[0])}), "different stimuli"),
        (lambda metamers, _null: evaluate("agreement", metamers), "models="),
        (lambda metamers, _null: evaluate("recognition", metamers, models={"other": example_model()}), "model"),
        (lambda _metamers, _null: evaluate("accuracy", example_model()), "STIMULI"),
        (lambda _metamers, _null: evaluate("robustness", example_model(), epsilon=[0.1]), "did you mean 'epsilons'"),
        (lambda _metamers, _null: evaluate(example_model, example_model(), steps=3), "options are for an evaluator by"),
    ],
)
def test_slips_are_named(metamers: xr.Dataset, null: xr.Dataset, call: object, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        call(metamers, null)  # type: ignore[operator]
