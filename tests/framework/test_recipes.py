"""Recipes: frozen numbers and names, changed by name, written and read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import MetameryError, Recipe, UnknownNameError
from metamery.framework.testing import check_recipe

RECIPES = st.builds(
    Recipe,
    loss=st.sampled_from(["cross_entropy", "trades"]),
    epochs=st.integers(1, 500),
    learning_rate=st.floats(0, 10),
    schedule=st.sampled_from(["constant", "steps", "cosine"]),
    augment=st.lists(
        st.sampled_from(["flip", "crop", {"name": "RandomResizedCrop", "scale": [0.35, 1.0]}]), max_size=3
    ),
    perturbation_options=st.dictionaries(st.sampled_from(["epsilon", "steps"]), st.floats(0, 1) | st.integers(0, 9)),
)


@given(RECIPES)
def test_what_is_written_is_read_back(recipe: Recipe) -> None:
    check_recipe(recipe)
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_what_a_file_leaves_out_has_the_default() -> None:
    assert Recipe.from_toml("epochs = 3\nperturbation_options = { epsilon = 0.1 }") == Recipe(
        epochs=3, perturbation_options={"epsilon": 0.1}
    )


def test_options_belong_to_a_name_and_another_name_comes_without_them() -> None:
    recipe = Recipe(
        optimizer="sgd", optimizer_options={"momentum": 0.9}, perturbation="pgd_linf", check="pgd_linf",
        perturbation_options={"epsilon": 0.1}, check_options={"steps": 7}, loss="trades", loss_options={"beta": 6},
        augment=["gain", "shift"], augment_options={"gain.low": -3, "shift.maximum": 2},
    )  # fmt: skip
    assert recipe.changed({"optimizer": "adam"}) == dataclasses.replace(recipe, optimizer="adam", optimizer_options={})
    assert recipe.changed({"optimizer": "sgd"}) == recipe
    options = {"perturbation_options.steps": 3, "perturbation": "pgd_l2"}
    assert recipe.changed(options).perturbation_options == {"steps": 3}
    assert recipe.changed({"check": ""}).check_options == {}
    assert recipe.changed({"loss": "cross_entropy"}).loss_options == {}
    assert recipe.changed({"augment": ["shift"]}).augment_options == {"shift.maximum": 2}


def test_an_augmentation_is_a_name_or_a_table_of_its_arguments() -> None:
    recipe = Recipe(augment=["flip", {"name": "ColorJitter", "hue": 0.1}, {"name": "mixup"}])
    assert recipe.augment == ("flip", {"name": "ColorJitter", "hue": 0.1}, "mixup")
    assert recipe.augmentations == [("flip", {}), ("ColorJitter", {"hue": 0.1}), ("mixup", {})]
    long = Recipe(augment=[{"name": "x" * 99, "y": 1}])  # too long for one line
    assert Recipe.from_toml(long.to_toml()) == long


def test_values_and_single_options_are_set_otherwise() -> None:
    recipe = Recipe(perturbation_options={"epsilon": 0.1, "steps": 7})
    changed = recipe.changed({"epochs": 8, "perturbation_options.epsilon": 0.2, "learning_rate": 1})
    assert changed == Recipe(epochs=8, learning_rate=1.0, perturbation_options={"epsilon": 0.2, "steps": 7})
    assert recipe.perturbation_options["epsilon"] == 0.1
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 3}, "unknown recipe entry 'epoch'; did you mean 'epochs'"),
        ({"loss.weight": 3}, "unknown recipe entry 'loss.weight'"),
        ({"label_smoothing": 0.1}, "unknown recipe entry 'label_smoothing'.*; options are .* loss_options.NAME"),
        ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a whole number of at least 1"),
        ({"batch_size": True}, "batch_size is True, expected a whole number"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1, expected a number of at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"loss": 3}, "loss is 3, expected text"),
        ({"augment": "flip"}, "augment is 'flip', expected a list of names"),
        ({"augment": [{"hue": 0.1}]}, "an augmentation is {'hue': 0.1}, expected a name or a table"),
        ({"perturbation_options": 3}, "perturbation_options is 3, expected a table"),
    ],
)
def test_a_slip_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Recipe().changed(changes)


def test_an_option_without_its_table_is_named() -> None:
    with pytest.raises(MetameryError, match=r"'momentum'; did you mean 'optimizer_options\.momentum'"):
        Recipe(optimizer_options={"momentum": 0.9}).changed({"momentum": 0.8})


def test_a_file_that_is_no_recipe_is_named() -> None:
    with pytest.raises(MetameryError, match="not valid TOML"):
        Recipe.from_toml("epochs = ")
    with pytest.raises(UnknownNameError, match="did you mean 'batch_size'"):
        Recipe.from_toml("batchsize = 3")
