"""Mixtures of signals: in closed form, the same over processes, and refused where labels cannot be mixed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Plugins, Recipe, WaveformDomain
from metamery.training.mixing import Mixing, mixing
from metamery.training.tools import load_tools

DOMAIN = ImageDomain(3, 8, 10)


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 8, 10, generator=generator), torch.eye(4)[torch.arange(count) % 4]


def test_mixup_is_the_weighted_sum_of_two_halves_of_the_batch() -> None:
    signals, targets = batch(6)
    mixed, shares = Mixing({"mixup": 1.0})(signals, targets, 3)
    share = float((mixed[0] - signals[3]).flatten()[0] / (signals[0] - signals[3]).flatten()[0])
    assert 0 < share < 1
    for index in range(6):
        other = (index + 3) % 6
        torch.testing.assert_close(mixed[index], share * signals[index] + (1 - share) * signals[other])
        torch.testing.assert_close(shares[index], share * targets[index] + (1 - share) * targets[other])


def test_cutmix_pastes_a_rectangle_and_labels_by_area() -> None:
    signals, targets = batch()
    areas = []
    for seed in range(20):
        mixed, shares = Mixing({"cutmix": 1.0})(signals, targets, seed)
        pasted = (mixed != signals).any(dim=1)
        assert torch.equal(mixed[:, :, pasted[0]], signals.roll(4, 0)[:, :, pasted[0]])
        rows, columns = pasted[0].any(dim=1).sum(), pasted[0].any(dim=0).sum()
        assert pasted[0].sum() == rows * columns
        area = float(rows * columns) / 80
        torch.testing.assert_close(shares, (1 - area) * targets + area * targets.roll(4, 0))
        areas.append(area)
    assert min(areas) < 0.2 < 0.5 < max(areas)


def test_each_batch_gets_one_of_several_mixtures() -> None:
    signals, targets = batch()
    mix = Mixing({"mixup": 1.0, "cutmix": 1.0})
    kept = [float((mix(signals, targets, seed)[0] == signals).float().mean()) for seed in range(30)]
    assert 5 < sum(share == 0 for share in kept) < 25  # mixup changes every pixel, cutmix some


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_two_processes_mix_what_one_would(way: str) -> None:
    signals, targets = batch()
    whole, shares = Mixing({way: 0.7})(signals, targets, 5)
    for rank in range(2):
        mixed, own = Mixing({way: 0.7})(signals[rank::2], targets[rank::2], 5)
        assert torch.equal(mixed, whole[rank::2])
        assert torch.equal(own, shares[rank::2])


@pytest.mark.parametrize(
    ("named", "domain", "processes", "said"),
    [
        ([("mixup", {"alfa": 1})], DOMAIN, 1, "unknown argument of augmentation 'mixup': 'alfa'; did you mean 'alpha'"),
        ([("cutmix", {"alpha": 0})], DOMAIN, 1, "augmentation 'cutmix': alpha is 0, expected a number above 0"),
        ([("cutmix", {})], WaveformDomain(80, 8000), 1, "'cutmix' is for pictures, and the model takes sounds"),
        ([("mixup", {})], DOMAIN, 3, "batch_size is 8, expected a multiple of 6 with 3 processes"),
    ],
)
def test_what_cannot_be_mixed_is_named(named: Any, domain: Any, processes: int, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        mixing(named, domain, processes, 8)


def test_a_loss_of_one_class_for_each_signal_is_refused(fake_plugin: Any) -> None:
    def hard() -> Any:
        return lambda model, signals, labels: model.module(signals).sum()

    plugins = Plugins([fake_plugin("mine", register_losses=lambda register: register("hard", hard))], installed=())
    with pytest.raises(MetameryError, match="'cutmix' mixes labels, and loss 'hard' takes one class for each signal"):
        load_tools(Recipe(loss="hard", augment=["cutmix"]), plugins)
    load_tools(Recipe(augment=["cutmix", {"name": "mixup", "alpha": 0.2}]), Plugins())
