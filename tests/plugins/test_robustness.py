"""Training objectives and random perturbations, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from metamery.framework import ImageDomain, Model, Plugins, Recipe, UnknownNameError
from metamery.framework.testing import check_loss, check_perturbation, check_recipe, example_model

WIDE = ImageDomain(3, 12, 12, -100.0, 100.0)


def perturbed(name: str, model: Model, signals: torch.Tensor, seed: int = 0, **options: Any) -> torch.Tensor:
    perturb = Plugins().load("perturbation", name, **options)
    labels = torch.zeros(len(signals), dtype=torch.long)
    result: torch.Tensor = perturb(model, signals, labels, torch.Generator().manual_seed(seed))
    return result


def wide_model() -> Model:
    return Model(example_model().module, WIDE, ["output"])


def test_cross_entropy_is_the_mean_of_minus_the_log_probability() -> None:
    model = example_model()
    signals, labels = (
        torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 3, 1, 1, 2]),
    )
    with torch.no_grad():
        probabilities = model.module(signals).softmax(dim=1)
        loss = Plugins().load("loss", "cross_entropy")(model, signals, labels)
        smooth = Plugins().load("loss", "cross_entropy", label_smoothing=0.4)(model, signals, labels)
    expected = -sum(math.log(float(p[label])) for p, label in zip(probabilities, labels, strict=True)) / 5
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(smooth) == pytest.approx(0.6 * expected - 0.4 * float(probabilities.log().mean()), rel=1e-5)
    check_loss(Plugins().load("loss", "cross_entropy", label_smoothing=0.1))


def test_random_l2_moves_every_signal_by_epsilon() -> None:
    signals = torch.zeros(6, 3, 12, 12)
    moved = perturbed("random_l2", wide_model(), signals, epsilon=2.5)
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((6,), 2.5))
    directions = moved.flatten(1) / 2.5
    assert (directions @ directions.T - torch.eye(6)).abs().max() < 0.25  # they point anywhere


def test_random_linf_moves_every_sample_by_epsilon() -> None:
    signals = torch.zeros(6, 3, 12, 12)
    moved = perturbed("random_linf", wide_model(), signals, epsilon=0.5)
    assert set(moved.flatten().tolist()) == {-0.5, 0.5}
    assert abs(float((moved > 0).float().mean()) - 0.5) < 0.05


@pytest.mark.parametrize("name", ["random_l2", "random_linf"])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1000.0])
def test_perturbations_keep_their_contract_for_any_epsilon(name: str, epsilon: float) -> None:
    check_perturbation(Plugins().load("perturbation", name, epsilon=epsilon))
    signals = torch.full((2, 3, 12, 12), 0.5)
    assert torch.equal(perturbed(name, example_model(), signals, epsilon=0.0), signals)


@pytest.mark.parametrize("name", ["random_l2", "random_linf"])
def test_another_seed_gives_another_perturbation(name: str) -> None:
    signals = torch.zeros(2, 3, 12, 12)
    assert not torch.equal(perturbed(name, wide_model(), signals, 0), perturbed(name, wide_model(), signals, 1))


@pytest.mark.parametrize("name", ["random_l2", "random_linf"])
def test_waveforms_are_perturbed_too(name: str) -> None:
    moved = perturbed(name, wide_model(), torch.zeros(4, 500), epsilon=1.0)
    assert moved.shape == (4, 500)
    assert moved.any(dim=1).all()


def test_the_standard_recipe() -> None:
    recipe = Plugins().load("recipe", "standard", epochs=3)
    check_recipe(recipe)
    assert recipe == Recipe(epochs=3)
    assert recipe.perturbation == ""
    with pytest.raises(UnknownNameError, match="did you mean 'epochs'"):
        Plugins().load("recipe", "standard", epoch=3)
    assert Plugins().find("loss", recipe.loss)
    assert Plugins().find("optimizer", recipe.optimizer)
