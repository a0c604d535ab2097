"""Controversial signals as trials: built into an experiment, and answered by observers who are one of two networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from controversial_networks import LABELS, LEFT_RIGHT, looking, pictures, study
from metamery.analysis import evaluate
from metamery.analysis.controversial.trials import controversial_trials
from metamery.analysis.experiment.alternatives import stated_alternatives
from metamery.analysis.experiment.build import build
from metamery.analysis.experiment.key import Key
from metamery.framework import MetameryError, Model, Plugins
from metamery.framework.model_results import models_of
from metamery.framework.results import open_study
from metamery.framework.schema import check_dataset
from PIL import Image

PLUGINS = Plugins(installed=())
CHANGES = {
    "consent.text": ["Yours."],
    "parts": ["consent", "instructions", "main"],
    "conditions.natural": False,
    "allocation.rule": "latin-square",
    "masks.files": 1,
    "catch.trials": 1,
}


def with_signals(models: dict[str, Model], count: int, steps: int) -> tuple[xr.DataTree, xr.Dataset]:
    made = study(models, pictures(count))
    found = evaluate("controversial", made, models=models, plugins=PLUGINS, steps=steps, limit=None)
    return made.assign({"controversial": xr.DataTree(found)}), found


@pytest.fixture(scope="module")
def unlike() -> tuple[xr.DataTree, xr.Dataset]:
    """Signals of two networks that share two of six columns: some tell them apart."""
    models = {"one": looking(0, columns=slice(0, 4)), "two": looking(1, columns=slice(2, 6))}
    return with_signals(models, 8, 40)


def test_observers_who_are_a_network_are_told_apart_at_the_predicted_rate(
    unlike: tuple[xr.DataTree, xr.Dataset], tmp_path: Path
) -> None:
    """Each network answers the trials of an experiment, from the files that people would see."""
    tree, found = unlike
    models = {"one": looking(0, columns=slice(0, 4)), "two": looking(1, columns=slice(2, 6))}
    assert controversial_trials(tree, tmp_path / "trials") == 16
    build(tmp_path / "trials", tmp_path / "experiment", PLUGINS, changes=CHANGES)
    key = Key.read(tmp_path / "experiment")
    assert key.choices == ("bottom", "top")
    about = open_study(tmp_path / "trials")["controversial"].to_dataset()
    check_dataset(about)
    for site, name in enumerate(("one against two", "two against one")):
        pair = name.split(" against ")
        told = []
        for item, trial in key.items.items():
            if trial.role != "main" or trial.model != name:
                continue
            file = tmp_path / "experiment" / "site" / "media" / f"{item}.png"
            seen = torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32) / 255)
            seen = seen.reshape(6, 6, -1)[..., 0][None, None]
            with torch.no_grad():
                said = [LABELS[int(models[each].module(seen).argmax())] for each in pair]
            here = about.sel(site=f"{name} {trial.layer}", stimulus=trial.stimulus)
            assert str(here.category.item()) == trial.answer
            told.append(said == [trial.answer, str(here.other_category.item())])
        assert len(told) == 8
        assert np.mean(told) == found.told_apart.values[site]
    assert found.told_apart.values.mean() > 0


def test_each_trial_can_offer_its_own_two_categories(tmp_path: Path) -> None:
    """Of three categories; the page of the experiment gets those of its lists' trials only."""
    named = [replace(each, category=["bottom", "top", "middle"][n % 3]) for n, each in enumerate(pictures(6))]
    made = study(LEFT_RIGHT, named)
    found = evaluate("controversial", made, models=LEFT_RIGHT, plugins=PLUGINS, steps=5, limit=None)
    controversial_trials(made.assign({"controversial": xr.DataTree(found)}), tmp_path / "trials")
    changes = {**CHANGES, "answers.alternatives": True, "conditions.unsuccessful": "show"}
    build(tmp_path / "trials", tmp_path / "experiment", PLUGINS, changes=changes)
    key = Key.read(tmp_path / "experiment")
    about = open_study(tmp_path / "trials")["controversial"].to_dataset()
    check_dataset(about)
    items = {name: item for name, item in key.items.items() if item.role == "main"}
    for name, item in items.items():
        here = about.sel(site=f"{item.model} {item.layer}", stimulus=item.stimulus)
        both = {str(here.category.item()), str(here.other_category.item())}
        assert key.offered(name) == tuple(sorted(both) if len(both) > 1 else key.choices)
        assert item.answer in key.offered(name)
    assert any(item.alternatives for item in items.values())
    assert key.chance == pytest.approx(np.mean([1 / len(key.offered(name)) for name in items]))
    served = json.loads((tmp_path / "experiment" / "site" / "lists" / "0.json").read_text(encoding="utf-8"))
    expected = {name: [*items[name].alternatives] for name in key.trials(0) if name in items}
    assert served["alternatives"] == {name: own for name, own in expected.items() if own}
    every = {trial for trial in key.trials(0) if key.items[trial].role == "catch"}
    assert every
    assert all(key.offered(name) == ("bottom", "middle", "top") for name in every)


def test_a_study_that_states_no_alternatives_is_refused(tmp_path: Path) -> None:
    tree = study(LEFT_RIGHT, pictures())
    with pytest.raises(MetameryError, match="the study states no alternatives: expected one that"):
        stated_alternatives(tree, {}, ("bottom", "top"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('["top", "botom"]', "unknown answer in the alternatives of 's' at 'a / b' of 'A against B' 'botom'"),
        ('["top"]', "the alternatives of 's' at 'a / b' of 'A against B' are .*, expected at least two"),
        ('["top", "top"]', "expected at least two"),
        ('["bottom", "middle"]', "are bottom, middle, and the right answer, 'top', is not among them"),
        ("top, bottom", "are 'top, bottom', expected a list of names in JSON"),
        ("[1, 2]", "expected a list of names in JSON"),
    ],
)
def test_alternatives_that_cannot_be_offered_are_named(given: str, said: str) -> None:
    coordinates = {"model": ("site", ["A against B"]), "layer": ("site", ["a / b"]), "stimulus": ["s"]}
    stated = xr.Dataset({"alternatives": (("site", "stimulus"), np.array([[given]], dtype=object))}, coordinates)
    tree = xr.DataTree.from_dict({"/any": stated})
    with pytest.raises(MetameryError, match=said):
        stated_alternatives(tree, {"s": "top"}, ("bottom", "middle", "top"))
    assert stated_alternatives(tree, {}, ()) == {}  # of stimuli that are not shown


def test_the_study_of_trials_has_the_signals_and_verdicts(tmp_path: Path) -> None:
    tree, found = with_signals(LEFT_RIGHT, 4, 200)
    controversial_trials(tree, tmp_path / "trials")
    made = models_of(open_study(tmp_path / "trials"))
    assert [each.name for each in made] == ["left against right", "right against left"]
    for site, each in enumerate(made):
        assert each.layers == ["1 / 1"]
        assert np.array_equal(each.signals("1 / 1")[:, 0], found.signal.values[site])
        assert np.array_equal(each.answers("quantised_success", -1)[0, :, 0], found.success.values[site])
        says = [each.label(int(number)) for number in each.answers("quantised_predicted", -1)[0, :, 0]]
        assert says == found.answer.values[site].tolist()
        natural = np.stack([stimulus.signal for stimulus in pictures(4)])
        assert np.allclose(np.stack(list(each.natural_signals())), natural)


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        (["top"], "categories are top: expected two"),
        (["top", "botom"], "unknown category of the study 'botom'; did you mean 'bottom'?"),
    ],
)
def test_a_slip_gets_one_line(
    unlike: tuple[xr.DataTree, xr.Dataset], tmp_path: Path, categories: list[str], said: str
) -> None:
    with pytest.raises(MetameryError, match=said.replace("?", r"\?")):
        controversial_trials(unlike[0], tmp_path / "trials", categories)
    assert not (tmp_path / "trials").exists()


def test_a_study_without_controversial_signals_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="the study has no controversial signals"):
        controversial_trials(study(LEFT_RIGHT, pictures()), tmp_path / "trials")


def test_the_command_says_what_is_next(unlike: tuple[xr.DataTree, xr.Dataset], command: Any, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    controversial_trials(unlike[0], folder)  # any study's folder
    said = command("experiment", "trials", folder, "-o", tmp_path / "trials")
    assert said.status == 2
    assert "Traceback" not in said.err
