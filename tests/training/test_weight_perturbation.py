"""Adversarial weight perturbation: its size, its direction, and an update with it against one by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from metamery.framework import MetameryError, Plugins, Recipe
from metamery.training.tools import load_tools
from metamery.training.weight_perturbation import raised
from small_training import Stopping, network, pictures, run, same, timeless, tools, weights


def loss_of(module: torch.nn.Module) -> torch.Tensor:
    data = pictures()
    assert data.kept is not None
    return torch.nn.functional.cross_entropy(module(data.kept), torch.tensor(data.targets))


def test_each_layer_is_moved_by_its_share_to_a_higher_loss_and_put_back_exactly() -> None:
    module = network().module.eval()
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    loss = loss_of(module)
    loss.backward()
    with raised(module, 0.02):
        for name, weight in module.named_parameters():
            moved = weight.detach() - before[name]
            if weight.dim() > 1:
                assert float(moved.norm()) == pytest.approx(0.02 * float(before[name].norm()), rel=1e-3)
                assert weight.grad is not None
                cosine = torch.nn.functional.cosine_similarity(moved.flatten(), weight.grad.flatten(), dim=0)
                assert float(cosine) == pytest.approx(1, abs=1e-4)
            else:
                assert not moved.any()
        assert float(loss_of(module).detach()) > float(loss.detach())
    assert all(torch.equal(weight, before[name]) for name, weight in module.named_parameters())


def test_weights_without_a_direction_stay() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    module[0].weight.grad = torch.zeros(2, 3)
    module[1].weight.grad = torch.full((2, 2), torch.inf)
    before = [weight.detach().clone() for weight in module.parameters()]
    with raised(module, 0.5):
        assert all(torch.equal(weight, own) for weight, own in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("parts", [1, 4])
def test_an_update_is_one_by_hand(tmp_path: Path, parts: int) -> None:
    model = network()
    model.module[1], model.module[3] = torch.nn.GroupNorm(2, 4), torch.nn.Identity()
    byhand = copy.deepcopy(model.module)
    recipe = Recipe(epochs=1, batch_size=40, learning_rate=0.1, awp=0.05, accumulate=parts)
    run(tmp_path, recipe, model, tools=tools(perturbation=None))
    loss_of(byhand).backward()
    moved = copy.deepcopy(byhand)
    for own, weight in zip(moved.parameters(), byhand.parameters(), strict=True):
        if weight.dim() > 1:
            own.data += 0.05 * weight.norm() * weight.grad / weight.grad.norm()  # type: ignore[operator, union-attr]
        own.grad = None
    loss_of(moved).backward()
    for weight, other in zip(byhand.parameters(), moved.parameters(), strict=True):
        weight.data -= 0.1 * other.grad  # type: ignore[operator]
    for name, tensor in byhand.state_dict().items():
        torch.testing.assert_close(model.module.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_running_statistics_move_once_and_a_stop_changes_nothing(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=8, learning_rate=0.05, awp=0.02)
    whole, history = run(tmp_path / "whole", recipe)
    assert whole.module[1].num_batches_tracked == 15
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", recipe, progress=Stopping(8))
    resumed, again = run(tmp_path / "part", recipe)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)


def test_it_is_not_for_replays() -> None:
    with pytest.raises(MetameryError, match="awp takes the gradient twice, and replays move the signals by it"):
        load_tools(Recipe(awp=0.01, replays=2), Plugins())
