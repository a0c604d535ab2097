"""The training loop: it learns, stops, resumes, and does what is documented."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from metamery.framework import MetameryError, Model, Recipe, Stimulus
from metamery.training.augmentation import augmentation
from metamery.training.checkpoints import load
from metamery.training.data import Order, batches, examples
from metamery.training.loop import BEST, LAST, evaluate
from metamery.training.schedules import learning_rate
from small_training import (
    CLASSES,
    DOMAIN,
    RECIPE,
    Stopping,
    cross_entropy,
    network,
    noise,
    pictures,
    run,
    same,
    timeless,
    tools,
    weights,
)


def test_a_network_learns(tmp_path: Path) -> None:
    _, history = run(tmp_path, Recipe(epochs=12, batch_size=8, learning_rate=0.1))
    assert history[-1]["validation_accuracy"] == 1
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert [row["learning_rate"] for row in history] == [0.1] * 12


def test_one_update_is_one_step_by_hand(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=40, learning_rate=0.1)
    model = network()
    model.module[3] = torch.nn.Identity()
    byhand = copy.deepcopy(model.module)
    run(tmp_path, recipe, model, tools=tools(perturbation=None))
    data = pictures()
    assert data.kept is not None
    loss = torch.nn.functional.cross_entropy(byhand(data.kept), torch.tensor(data.targets))
    loss.backward()
    torch.optim.SGD(byhand.parameters(), lr=0.1, momentum=0.9).step()
    for name, tensor in byhand.state_dict().items():
        torch.testing.assert_close(model.module.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_accumulating_is_the_same_update(tmp_path: Path) -> None:
    def plain() -> Model:
        model = network()
        model.module[1] = torch.nn.GroupNorm(2, 4)
        model.module[3] = torch.nn.Identity()
        return model

    ends = []
    for parts in (1, 4):
        recipe = Recipe(epochs=2, batch_size=8, accumulate=parts)
        model, _ = run(tmp_path / str(parts), recipe, plain(), tools=tools(perturbation=None))
        ends.append(weights(model))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("after", "every"), [(3, None), (7, None), (13, 2), (19, 3)])
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(tmp_path: Path, after: int, every: int | None) -> None:
    whole, history = run(tmp_path / "whole", checkpoint_every=every)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", checkpoint_every=every, progress=Stopping(after))
    resumed, again = run(tmp_path / "part", checkpoint_every=every)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)
    assert (tmp_path / "whole" / BEST).read_bytes() == (tmp_path / "part" / BEST).read_bytes()


def test_mixed_labels_reach_the_loss_and_an_attack_gets_the_larger_part(tmp_path: Path) -> None:
    attacked, learned = [], []

    def attack(epsilon: float) -> Any:
        def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: Any) -> torch.Tensor:
            attacked.append(labels)
            return signals

        return perturb

    def loss(model: Model, signals: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        learned.append(targets)
        return torch.nn.functional.cross_entropy(model.module(signals), targets)

    recipe = Recipe(epochs=2, batch_size=8, augment=["mixup"], accumulate=2)
    run(tmp_path, recipe, tools=tools(loss=loss, perturbation=attack))
    shares = torch.cat(learned)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(80))
    assert ((shares > 0.01).all(dim=1)).any()
    assert torch.equal(torch.cat(attacked), shares.argmax(dim=1))


def test_a_mixed_training_stopped_and_resumed_is_never_stopped(tmp_path: Path) -> None:
    def smooth(model: Model, signals: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model.module(signals), targets, label_smoothing=0.1)

    recipe = Recipe(epochs=3, batch_size=8, learning_rate=0.1, augment=["mixup", "cutmix"])
    whole, history = run(tmp_path / "whole", recipe, tools=tools(loss=smooth), checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", recipe, tools=tools(loss=smooth), checkpoint_every=2, progress=Stopping(8))
    resumed, again = run(tmp_path / "part", recipe, tools=tools(loss=smooth), checkpoint_every=2)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)


def test_read_by_processes_stopped_and_resumed_is_one_process_never_stopped(tmp_path: Path) -> None:
    augment = augmentation([("RandomResizedCrop", {"scale": [0.5, 1.0]}), ("flip", {})], network())
    generator = torch.Generator().manual_seed(0)
    stimuli = [
        Stimulus(torch.rand(1, 9, 7 + index % 3, generator=generator), CLASSES[index % 2]) for index in range(40)
    ]
    data = examples(stimuli, CLASSES, DOMAIN, augment, seed=5)
    recipe = Recipe(epochs=3, batch_size=8, learning_rate=0.1)
    whole, history = run(tmp_path / "whole", recipe, data=data, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", recipe, data=data, checkpoint_every=2, workers=2, progress=Stopping(8))
    resumed, again = run(tmp_path / "part", recipe, data=data, checkpoint_every=2, workers=2)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)


def test_no_more_than_the_epoch_in_flight_is_lost(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Stopping(13))
    assert load(tmp_path / LAST)[1]["epoch"] == 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "often", checkpoint_every=2, progress=Stopping(13))
    _, state = load(tmp_path / "often" / LAST)
    assert (state["epoch"], state["batch"]) == (2, 2)


def test_a_checkpoint_is_written_after_some_minutes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint_minutes=1e-9, progress=Stopping(3))
    _, state = load(tmp_path / LAST)
    assert (state["epoch"], state["batch"]) == (0, 2)
    resumed, again = run(tmp_path, checkpoint_minutes=60)
    whole, history = run(tmp_path / "whole")
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)  # however often a sum was taken up


def test_a_finished_training_is_left_alone(tmp_path: Path) -> None:
    model, history = run(tmp_path)
    kept = (tmp_path / LAST).read_bytes()
    again, told = run(tmp_path)
    assert same(weights(model), weights(again))
    assert told == history
    assert (tmp_path / LAST).read_bytes() == kept


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    _, history = run(tmp_path, Recipe(epochs=6, batch_size=8, learning_rate=0.3))
    tensors, state = load(tmp_path / BEST)
    accuracies = [row["validation_accuracy"] for row in history]
    assert state["accuracy"] == max(accuracies)
    assert state["epoch"] == accuracies.index(max(accuracies)) + 1
    model = network()
    model.module.load_state_dict(tensors)
    found = evaluate(model, pictures(20, seed=1), 8, Fabric(accelerator="cpu", devices=1))
    assert found["validation_accuracy"] == max(accuracies)


def test_the_seed_decides(tmp_path: Path) -> None:
    ends = [weights(run(tmp_path / name, seed=seed)[0]) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    run(tmp_path, Recipe(epochs=1, batch_size=8))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_average_of_weights_is_what_is_kept(tmp_path: Path) -> None:
    model, _ = run(tmp_path)
    tensors, _ = load(tmp_path / LAST)
    assert same(
        weights(model), {k.removeprefix("averaged/"): t for k, t in tensors.items() if k.startswith("averaged/")}
    )


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    def breaking(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        breaking.calls += 1  # type: ignore[attr-defined]
        return cross_entropy(model, signals, labels) * (float("nan") if breaking.calls == 8 else 1)  # type: ignore[attr-defined]

    breaking.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(MetameryError, match=r"not finite in update 8 \(epoch 2\); last.safetensors holds"):
        run(tmp_path, tools=tools(loss=breaking))
    tensors, state = load(tmp_path / LAST)
    assert state["epoch"] == 1
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("broken", "every", "kept"),
    [
        (3, None, "nothing was saved yet"),
        (5, None, "nothing was saved yet"),
        (10, None, "last.safetensors holds the weights after epoch 1"),
        (8, 3, "last.safetensors holds the weights after epoch 1"),
        (9, 2, "last.safetensors holds the weights after update 7 (epoch 2)"),
    ],
)
def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path, broken: int, every: int | None, kept: str) -> None:
    """The loss of an update may be finite, and its gradient not."""
    calls = 0

    def breaking(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = cross_entropy(model, signals, labels)
        return loss + (0 * loss).sqrt() if calls == broken else loss

    recipe = Recipe(epochs=4, batch_size=8, learning_rate=0.1)
    with pytest.raises(MetameryError, match="not finite") as raised:
        run(tmp_path / "run", recipe, tools=tools(loss=breaking), checkpoint_every=every)
    assert kept in str(raised.value)
    if kept.startswith("nothing"):
        assert not (tmp_path / "run" / LAST).exists()
        return
    for name in (LAST, BEST):
        assert all(tensor.isfinite().all() for tensor in load(tmp_path / "run" / name)[0].values())
    resumed, history = run(tmp_path / "run", recipe, checkpoint_every=every)
    whole, expected = run(tmp_path / "whole", recipe, checkpoint_every=every)
    assert same(weights(resumed), weights(whole))
    assert timeless(history) == timeless(expected)


def test_a_network_is_trained_in_training_mode_however_it_comes(tmp_path: Path) -> None:
    model = network()
    model.module.eval()
    model, _ = run(tmp_path / "eval", model=model)
    other, _ = run(tmp_path / "train")
    assert same(weights(model), weights(other))
    assert model.module[1].num_batches_tracked == 20


def test_a_frozen_batch_norm_keeps_its_statistics(tmp_path: Path) -> None:
    model = network()
    for weight in model.module[1].parameters():
        weight.requires_grad_(False)
    before = weights(model)
    run(tmp_path, Recipe(epochs=1, batch_size=8), model)
    assert torch.equal(before["1.running_mean"], model.module[1].running_mean)


def test_frozen_weights_stay(tmp_path: Path) -> None:
    model = network()
    model.module[0].requires_grad_(False)
    before = weights(model)
    run(tmp_path, Recipe(epochs=1, batch_size=8), model)
    assert torch.equal(before["0.weight"], model.module[0].weight)
    assert not torch.equal(before["5.weight"], model.module[5].weight)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    run(tmp_path, Recipe(epochs=1, batch_size=8))
    other = Model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)), DOMAIN, ["output"], CLASSES)
    with pytest.raises(MetameryError, match="is of another network or recipe"):
        run(tmp_path, Recipe(epochs=2, batch_size=8), other)


def test_the_schedule_is_followed(tmp_path: Path) -> None:
    _, history = run(tmp_path)
    assert [row["learning_rate"] for row in history] == [learning_rate(RECIPE, 5 * epoch + 4, 5) for epoch in range(4)]


def test_replays_are_free_adversarial_training(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=0.1, schedule="constant", replays=3, replay_epsilon=0.05)
    model = network()
    model.module[3] = torch.nn.Identity()
    byhand = copy.deepcopy(model.module).train()
    run(tmp_path, recipe, model, tools=tools(perturbation=None))
    data = pictures()
    optimizer = torch.optim.SGD(byhand.parameters(), lr=0.1, momentum=0.9)
    delta = torch.zeros(8, 1, 4, 4)
    for epoch in range(2):
        for signals, labels in batches(data, Order(40, 8, epoch, 0)):
            for _ in range(3):
                noise = delta.clone().requires_grad_()
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(byhand((signals + noise).clamp(0, 1)), labels).backward()
                delta = (delta + 0.05 * noise.grad.sign()).clamp(-0.05, 0.05)  # type: ignore[union-attr]
                optimizer.step()
    for name, tensor in byhand.state_dict().items():
        torch.testing.assert_close(model.module.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("after", "every"), [(7, None), (13, 2)])
def test_replays_stopped_and_resumed_are_never_stopped(tmp_path: Path, after: int, every: int | None) -> None:
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=0.1, replays=2, ema=0.9)
    whole, history = run(tmp_path / "whole", recipe, tools=tools(perturbation=None), checkpoint_every=every)
    stopping = {"tools": tools(perturbation=None), "checkpoint_every": every}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", recipe, progress=Stopping(after), **stopping)
    resumed, again = run(tmp_path / "part", recipe, **stopping)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)


def test_a_loss_that_compares_is_given_the_signals_as_they_were(tmp_path: Path) -> None:
    moved = []

    def comparing(model: Model, signals: torch.Tensor, labels: torch.Tensor, natural: torch.Tensor) -> torch.Tensor:
        moved.append(float((signals - natural - 0.01).abs().max()))
        return cross_entropy(model, signals, labels)

    def added(epsilon: float) -> Any:
        return lambda model, signals, labels, generator: signals + 0.01

    run(tmp_path, Recipe(epochs=1, batch_size=8, accumulate=2), tools=tools(loss=comparing, perturbation=added))
    assert len(moved) == 10
    assert max(moved) < 1e-6


def falling(*accuracies: float) -> Any:
    """A check under which the network has these accuracies in turn, whatever it has learnt."""
    turns = iter(accuracies)

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not torch.is_grad_enabled() and len(signals) == 20:  # measured, not trained on
            right = int(20 * next(turns))
            values = torch.where(labels == 0, 0.8, 0.1)
            values[right:] = 0.9 - values[right:]
            return values.reshape(-1, 1, 1, 1).expand_as(signals).contiguous()
        return noise(1.0)(model, signals, labels, generator)

    return perturb


class Telling(torch.nn.Module):
    """Says ``bright`` of what is bright, and learns nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        brightness = signals.mean(dim=(1, 2, 3)) - 0.45
        return torch.stack([brightness, -brightness], dim=1) * self.weight


def test_the_check_chooses_the_best_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=20, check="given")
    model = Model(Telling(), DOMAIN, ["output"], CLASSES)
    _, history = run(tmp_path, recipe, model, tools=tools(check=falling(0.3, 0.9, 0.6)))
    assert [row["checked_accuracy"] for row in history] == pytest.approx([0.3, 0.9, 0.6])
    assert load(tmp_path / BEST)[1] == {"epoch": 2, "accuracy": pytest.approx(0.9)}


@pytest.mark.parametrize("stop", [None, 5])
def test_catastrophic_overfitting_is_noticed_and_training_goes_over_to_the_check(
    tmp_path: Path, stop: int | None
) -> None:
    used = []

    def weak(epsilon: float) -> Any:
        def perturb(model: Model, signals: torch.Tensor, *more: Any) -> torch.Tensor:
            used.append("weak")
            return signals

        return perturb

    def again(check: Any, **more: Any) -> Any:
        recipe = Recipe(epochs=4, batch_size=20, learning_rate=0.0, check="strong", check_drop=0.2)
        model = Model(Telling(), DOMAIN, ["output"], CLASSES)
        return run(tmp_path, recipe, model, tools=tools(perturbation=weak, check=check), **more)[1]

    expected = r"overfitting in epoch 2: accuracy under 'strong' is 0.500, was 0.800; .* continues with 'strong'"
    if stop is None:
        with pytest.warns(UserWarning, match=expected):
            history = again(falling(0.8, 0.5, 0.8, 0.2))
    else:
        with pytest.warns(UserWarning, match=expected), pytest.raises(KeyboardInterrupt):
            again(falling(0.8, 0.5), progress=Stopping(stop))
        history = again(falling(0.8, 0.2))
    assert used == ["weak"] * 4  # two epochs of two batches
    assert [row["checked_accuracy"] for row in history] == pytest.approx([0.8, 0.5, 0.8, 0.2])
