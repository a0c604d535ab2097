"""The names of distances and optimizers stand for what the analysis computes."""

from __future__ import annotations

import pytest
import torch
from metamery.analysis.proof import distances
from metamery.analysis.synthesis import optimizers
from metamery.analysis.synthesis.settings import PRESETS
from metamery.framework import MetameryError, Plugins
from metamery.framework.testing import check_distance, check_optimizer


@pytest.mark.parametrize("name", ["relative_l2", "cosine", "correlation"])
def test_a_distance_by_name_is_the_function(name: str) -> None:
    loaded = Plugins().load("distance", name)
    assert loaded is getattr(distances, name)
    check_distance(loaded)


def test_presets_name_what_is_registered() -> None:
    plugins = Plugins()
    for preset in PRESETS.values():
        assert plugins.find("distance", preset.distance).qualified == preset.distance
        optimizer = plugins.load("optimizer", preset.optimizer, lr=preset.step_size, **preset.optimizer_options)
        check_optimizer(optimizer)


def moved(name: str, gradients: list[torch.Tensor], start: torch.Tensor, **options: float) -> torch.Tensor:
    parameter = start.clone()
    optimizer = Plugins().load("optimizer", name, **options)([parameter])
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter


def test_normalised_descent_steps_by_its_length_however_steep_the_loss() -> None:
    start = torch.tensor([1.0, 2.0])
    for scale in (1e-3, 1.0, 1e6):
        made = moved("normalised_gd", [scale * torch.tensor([3.0, 4.0])], start, lr=0.5)
        torch.testing.assert_close(made, start - 0.5 * torch.tensor([0.6, 0.8]))
    assert torch.equal(moved("normalised_gd", [torch.zeros(2)], start, lr=0.5), start)


def test_gradient_descent_with_and_without_momentum() -> None:
    start, gradient = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    torch.testing.assert_close(moved("sgd", [gradient] * 2, start, lr=0.1), start - 0.2 * gradient)
    torch.testing.assert_close(
        moved("sgd", [gradient] * 2, start, lr=0.1, momentum=0.5), start - 0.1 * (1 + 1.5) * gradient
    )


def test_the_first_step_of_adam_is_its_rate_in_every_direction() -> None:
    start, gradient = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1000.0])
    torch.testing.assert_close(moved("adam", [gradient], start, lr=0.1), start - 0.1 * gradient.sign())


def test_an_optimizer_can_be_differentiated_by_a_closure() -> None:
    parameter = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = optimizers.normalised_gradient_descent(lr=1.0)([parameter])

    def closure() -> float:
        optimizer.zero_grad()
        loss = parameter.square().sum() / 2
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 12.5
    torch.testing.assert_close(parameter.detach(), torch.tensor([2.4, 3.2]))


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(MetameryError, match="option of optimizer 'sgd': 'momentun'; did you mean 'momentum'"):
        Plugins().load("optimizer", "sgd", lr=0.1, momentun=0.9)
