"""Conditions of an experiment, what stands for metamers that are not there, and right answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from metamery.analysis.experiment.answers import choices_of, right_answers
from metamery.analysis.experiment.conditions import chosen_models, conditions_of, shown
from metamery.analysis.experiment.key import Item
from metamery.analysis.experiment.settings import Answers, Conditions
from metamery.framework import MetameryError, open_study
from metamery.framework.domains import ImageDomain
from metamery.framework.model_results import ModelResults, models_of
from metamery.framework.schema import VERDICTS
from metamery.framework.stimuli import Stimulus
from small_studies import LAYERS, NAMES, PICTURE, SOUND, pictures, study_of
from studies import FAILED, LOST_IN_ROUNDING, MISSING

RIGHT = dict.fromkeys(NAMES, "cat")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[ModelResults]:
    return models_of(open_study(pictures(tmp_path_factory.mktemp("studies") / "pictures")))


def items(models: list[ModelResults], settings: Conditions, **heard: int) -> dict[tuple[str, str], Item | None]:
    conditions = conditions_of(chosen_models(models, settings), settings)
    measured = {("vision:net", layer, NAMES[0]): verdict for layer, verdict in heard.items()} or None
    found = shown(conditions, RIGHT, settings, measured)
    return {
        (condition.layer, name): item
        for condition, each in zip(conditions, found, strict=True)
        for name, item in each.items()
        if condition.model in ("", "vision:net")
    }


def test_models_of_one_domain_share_the_natural_signals(models: list[ModelResults]) -> None:
    conditions = conditions_of(models, Conditions())
    expected = [("", "natural"), *[(name, layer) for name in ("vision:net", "vision:other") for layer in LAYERS]]
    assert [(each.model, each.layer) for each in conditions] == expected


def test_models_of_other_domains_have_natural_signals_of_their_own(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", {"small": PICTURE, "large": ImageDomain(3, 30, 30)})
    conditions = conditions_of(models_of(open_study(study)), Conditions(layers=("conv1",)))
    found = {(each.model, each.layer) for each in conditions}
    assert found == {(name, layer) for name in ("small", "large") for layer in ("natural", "conv1")}


def test_models_and_layers_can_be_chosen(models: list[ModelResults]) -> None:
    settings = Conditions(models=("vision:other",), layers=("output",), natural=False)
    found = conditions_of(chosen_models(models, settings), settings)
    assert [(each.model, each.layer) for each in found] == [("vision:other", "output")]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Conditions(models=("vision:nett",)), "did you mean 'vision:net'"),
        (Conditions(layers=("conv2",)), "unknown layer of the study 'conv2'; did you mean 'conv1'"),
        (Conditions(seed=7), "conditions.seed is 7, the study has 0, 1"),
    ],
)
def test_what_the_study_lacks_is_refused(models: list[ModelResults], settings: Conditions, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        conditions_of(chosen_models(models, settings), settings)


def test_pictures_and_sounds_do_not_mix(tmp_path: Path) -> None:
    models = models_of(open_study(study_of(tmp_path / "study", {"eye": PICTURE, "ear": SOUND})))
    with pytest.raises(MetameryError, match="pictures and of sounds"):
        chosen_models(models, Conditions())
    assert [each.name for each in chosen_models(models, Conditions(models=("ear",)))] == ["ear"]


def test_a_metamer_is_shown_as_itself(models: list[ModelResults]) -> None:
    found = items(models, Conditions())
    assert found["conv1", NAMES[0]] == Item("main", "cat", NAMES[0], "vision:net", "conv1", 0, "metamer")
    assert found["natural", NAMES[0]] == Item("main", "cat", NAMES[0], "", "natural", -1, "natural")


def test_the_natural_signal_stands_for_one_that_failed_or_is_missing(models: list[ModelResults]) -> None:
    for (layer, stimulus, seed), reason in ((FAILED, "failed"), (MISSING, "missing")):
        at = LAYERS[layer], NAMES[stimulus]
        found = items(models, Conditions(seed=seed))
        assert found[at] == Item("main", "cat", at[1], "vision:net", at[0], seed, "natural", reason)
        assert items(models, Conditions(seed=seed, missing="leave-out"))[at] is None


def test_one_that_rounding_loses_is_shown_replaced_or_left_out(models: list[ModelResults]) -> None:
    layer, stimulus, seed = LOST_IN_ROUNDING
    at, why = (LAYERS[layer], NAMES[stimulus]), "not successful after rounding"
    for rule, expected in (("show", ("metamer", why)), ("natural", ("natural", why)), ("leave-out", None)):
        item = items(models, Conditions(seed=seed, unsuccessful=rule))[at]
        assert (item and (item.shown, item.reason)) == expected


def test_one_that_its_file_loses_is_not_successful(models: list[ModelResults]) -> None:
    settings, at = Conditions(unsuccessful="natural"), ("conv1", NAMES[0])
    lost = items(models, settings, conv1=VERDICTS["no"])[at]
    assert lost is not None
    assert (lost.shown, lost.reason) == ("natural", "not successful as its file holds it")
    for verdict in ("yes", "unattainable", "missing"):
        kept = items(models, settings, conv1=VERDICTS[verdict])[at]
        assert kept is not None
        assert (kept.shown, kept.reason) == ("metamer", "")


def stimulus(name: str, category: str = "", **labels: set[str | int]) -> Stimulus:
    spaces = {space.replace("_", "-"): frozenset(right) for space, right in labels.items()}
    return Stimulus(torch.zeros(1), category=category, labels=spaces, name=name)


def test_answers_are_the_studys_categories_and_further_ones() -> None:
    given = Answers(choices=("owl", "cat"))
    right = right_answers([stimulus("a", "dog"), stimulus("b", "cat"), stimulus("c", "dog")], given)
    assert right == {"a": "dog", "b": "cat", "c": "dog"}
    assert choices_of(right, given) == ("cat", "dog", "owl")


def test_answers_are_categories_of_a_label_space() -> None:
    given = Answers(categories="imagenet-16")
    shown_by = [
        stimulus("named", "dog"),
        stimulus("cifar", "automobile"),
        stimulus("own", imagenet_16={"oven"}),
        stimulus("classes", "tabby", imagenet_1k={281, 282}),
    ]
    right = right_answers(shown_by, given)
    assert right == {"named": "dog", "cifar": "car", "own": "oven", "classes": "cat"}
    assert len(choices_of(right, given)) == 16


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Answers(), r"1 of 2 stimuli have no category, such as 'b'"),
        (Answers(categories="imagenet-16"), r"2 of 2 stimuli show none or several of the categories 'imagenet-16'"),
        (Answers(categories="imagenet16"), r"did you mean 'imagenet-16'\?"),
    ],
)
def test_stimuli_without_an_answer_are_refused(given: Answers, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        right_answers([stimulus("a", "coffee", imagenet_1k={281, 404}), stimulus("b")], given)
