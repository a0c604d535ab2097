"""Pages without metamers: their titles, facts and tables."""

import json

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.report import render
from metamery.analysis.report.effects import effects
from metamery.analysis.report.heads import head
from metamery.analysis.report.lines import line_charts
from metamery.analysis.report.terminal import lines
from metamery.analysis.statistics import mixed_anova

RUN = """
seed = 0
stimuli = { name = "pictures/train" }
validation = { name = "pictures/val" }
model = { name = "small-cnn", num_classes = 2 }
[recipe]
loss = "cross_entropy"
optimizer = "sgd"
perturbation = "pgd_linf"
"""


def variable(*values: float) -> xr.Variable:
    return xr.Variable("epoch", np.array(values), {"long_name": "made up", "units": "1"})


def tree(groups: dict[str, xr.Dataset], **attributes: object) -> xr.DataTree:
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **groups})


def test_a_run_says_what_was_trained_and_how_far() -> None:
    history = xr.Dataset(
        {
            "accuracy": variable(0.5, 0.9, 0.95, np.nan),
            "validation_accuracy": variable(0.4, 0.8, 0.7, np.nan),
            "seconds": variable(100, 100, 100, np.nan),
        },
        {"epoch": [1, 2, 3, 4]},
    )
    run = tree({"/history": history}, run=RUN)
    found = head(run)
    assert found.title == "Training of small-cnn (num_classes 2)"
    assert found.facts == {
        "Model": "small-cnn (num_classes 2)",
        "Recipe": "cross_entropy under pgd_linf, sgd",
        "Stimuli": "pictures/train",
        "Validation": "pictures/val",
        "Epochs": "3 of 4",
        "Best epoch": "2, validation accuracy 0.800",
        "Duration": "5 min",
    }
    page = render(run)
    assert "<title>Training of small-cnn" in page
    assert "Best epoch" in page


def test_evaluations_of_models_are_titled_by_the_models() -> None:
    share = xr.Dataset(
        {"accuracy": ("model", [0.5, 0.7], {"long_name": "accuracy", "units": "1"})}, {"model": ["a", "b"]}
    )
    stimuli = json.dumps({"name": "natural", "limit": 6})
    found = head(tree({"/accuracy": share.assign_attrs(models=["a", "b"], stimuli=stimuli)}))
    assert (found.title, found.facts["Stimuli"]) == ("Evaluation of a and b", "natural (limit 6)")
    assert head(tree({"/mine": share})).title == "Evaluations"


def test_an_analysis_of_variance_has_a_row_for_each_effect() -> None:
    scores = np.random.default_rng(0).uniform(0, 1, (2, 6, 3))
    dims = {"recogniser": ["human", "network"], "participant": list("abcdef"), "layer": ["1", "2", "3"]}
    dataset = mixed_anova(xr.DataArray(scores, dims), generator=np.random.default_rng(0), shuffles=20)
    columns, *rows = effects(dataset)
    assert columns == ["effect", "F", "p", "p, Greenhouse–Geisser", "p, permutation", "η²p"]
    assert [row[0] for row in rows] == ["recogniser", "layer", "recogniser × layer"]
    assert [row[1].partition(" = ")[0] for row in rows] == ["F(1, 10)", "F(2, 20)", "F(2, 20)"]
    both = dataset.expand_dims(model=["net", "other"]).assign_attrs(people="people.csv", title="People")
    assert [row[:2] for row in effects(both)[1:3]] == [["net", "recogniser"], ["net", "layer"]]
    assert sum("F(2, 20) = " in line for line in lines(both)) == 4
    page = render(tree({"/observers": both}))
    assert "<h1>Recognition by people: people.csv</h1>" in page
    assert page.count("F(2, 20) = ") == 4
    assert effects(dataset.drop_vars("F")) == []


@pytest.mark.parametrize(("losses", "is_logarithmic"), [([5.0, 0.5, 0.01], True), ([0.9, 0.8, 0.7], False)])
def test_losses_over_a_wide_range_are_on_a_logarithmic_axis(losses: list[float], is_logarithmic: bool) -> None:
    for name in ("loss", "validation_loss", "accuracy"):
        values = xr.DataArray(losses, [("epoch", [1, 2, 3])])
        ((_, drawing),) = line_charts(values, "", "epoch", [], f"{name} (nat)", name).charts
        assert ("10⁻¹" in drawing) == (is_logarithmic and name != "accuracy")
        assert ">1.5<" not in drawing  # epochs are whole
