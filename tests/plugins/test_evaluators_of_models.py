"""Accuracy, robust accuracy and shift consistency, against networks whose results are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.attacks.masked import masked_gradients
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.testing import check_evaluator
from peers import peer
from torch import nn

DOMAIN = ImageDomain(3, 5, 5)
CLASSES = ("a", "b", "c", "d")
SIZES = [0.002, 0.005, 0.01, 0.02]


def linear_model(classes: int = 4, seed: int = 0) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(75, classes))
    return Model(module.eval(), DOMAIN, ["output"], CLASSES[:classes])


def pictures(model: Model, count: int = 40, wrong: int = 8) -> list[Stimulus]:
    """Stimuli whose category is what the model says of them, but for the first few."""
    generator = torch.Generator().manual_seed(1)
    values = 0.3 + 0.4 * torch.rand(count, *model.domain.shape, generator=generator)  # away from the range's ends
    stimuli = [Stimulus(value, name=str(number)) for number, value in enumerate(values)]
    with torch.no_grad():
        said = model.module(torch.stack([model.domain.fit(stimulus) for stimulus in stimuli])).argmax(dim=1)
    labels = list(model.labels or ())
    answers = [labels[(int(say) + (place < wrong)) % len(labels)] for place, say in enumerate(said)]
    return [replace(stimulus, category=answer) for stimulus, answer in zip(stimuli, answers, strict=True)]


def found(name: str, context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", name, **options)(context)
    return dataset


def attackable(model: Model, stimuli: Sequence[Stimulus], norm: str) -> np.ndarray[Any, Any]:
    """The size at which a linear classifier's answer on each signal can be changed; 0 where it is wrong already."""
    linear = model.module[1]
    signals = torch.stack([model.domain.fit(stimulus) for stimulus in stimuli]).flatten(1).double()
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    sizes = []
    for signal, stimulus in zip(signals, stimuli, strict=True):
        own = CLASSES.index(stimulus.category)
        away = [
            ((weight[own] - weight[other]) @ signal + bias[own] - bias[other])
            / torch.linalg.vector_norm(weight[own] - weight[other], 1 if norm == "linf" else 2)
            for other in range(len(weight))
            if other != own
        ]
        sizes.append(max(0.0, float(min(away))))
    return np.array(sizes)


def test_accuracy_is_the_share_of_right_answers() -> None:
    model = linear_model()
    stimuli = pictures(model)
    result = found("accuracy", Context({"net": model}, stimuli))
    assert result.accuracy.item() == 32 / 40
    assert result.counted.item() == 40
    names = [stimulus.category for stimulus in stimuli]
    assert result.category.values.tolist() == sorted(set(names))
    right = {name: [place >= 8 for place, own in enumerate(names) if own == name] for name in set(names)}
    for name, own in right.items():
        assert result.category_accuracy.sel(category=name).item() == pytest.approx(np.mean(own))
    assert result.accuracy_low.item() < 0.8 < result.accuracy_high.item()


def test_only_what_has_a_known_answer_counts_and_several_may_be_right() -> None:
    model = replace(linear_model(), label_space="letters")
    plain = pictures(linear_model(), wrong=0)
    stimuli = [
        replace(plain[0], labels={"letters": frozenset(CLASSES)}),
        replace(plain[1], labels={"letters": frozenset(CLASSES) - {plain[1].category}}),
        replace(plain[2], labels={"letters": frozenset({"no such label"})}),
        plain[3],
    ]
    result = found("accuracy", Context({"net": model}, stimuli))
    assert (result.counted.item(), result.accuracy.item()) == (2, 0.5)
    with pytest.raises(MetameryError, match="none of the stimuli has a right answer among the labels of model 'net'"):
        found("accuracy", Context({"net": model}, stimuli[3:]))
    with pytest.raises(MetameryError, match="model 'net' has no labels"):
        found("accuracy", Context({"net": replace(model, labels=None)}, stimuli))


@pytest.mark.parametrize(("norm", "sizes"), [("linf", SIZES), ("l2", [0.02, 0.05, 0.1, 0.2])])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_robust_accuracy_of_a_linear_classifier_is_found(norm: str, sizes: list[float], classes: int) -> None:
    model = linear_model(classes)
    stimuli = pictures(model)
    result = found("robustness", Context({"net": model}, stimuli), norm=norm, epsilons=sizes)
    limits = attackable(model, stimuli, norm)
    exact = [(limits > size).mean() for size in [0.0, *sizes]]
    assert len(set(exact)) > 3
    # Of more than two classes the nearest need not be the one that the loss climbs to.
    missed = 0.05 if classes > 2 else 1e-9
    assert (result.accuracy.values[0] >= np.array(exact) - 1e-9).all()
    assert (result.accuracy.values[0] <= np.array(exact) + missed).all()
    assert (result.pgd >= result.accuracy).all()
    assert (result.noise >= result.pgd).all()
    if classes == 2:  # the gradient is the same everywhere
        assert result.one_step.values[0].tolist() == pytest.approx(exact)
    assert result.counted.item() == 40
    assert result.attrs["warnings"] == []
    assert "transfer" not in result


def test_a_signal_s_result_depends_neither_on_its_batch_mates_nor_on_other_models() -> None:
    model = linear_model()
    stimuli = pictures(model)
    settings = {"epsilons": SIZES, "steps": 3, "apgd_steps": 4, "restarts": 2}
    whole = found("robustness", Context({"net": model}, stimuli), **settings)
    split = found("robustness", Context({"net": model}, stimuli), batch_size=7, **settings)
    xr.testing.assert_identical(whole, split)
    both = found("robustness", Context({"other": linear_model(seed=3), "net": model}, stimuli), **settings)
    alone = both.sel(model=["net"]).drop_vars([f"transfer{end}" for end in ("", "_low", "_high")])
    xr.testing.assert_identical(whole, alone.assign_attrs(reading_order=whole.attrs["reading_order"]))
    halves = [found("robustness", Context({"net": model}, half), **settings) for half in (stimuli[:20], stimuli[20:])]
    for name in ("accuracy", "pgd", "noise"):
        np.testing.assert_allclose(whole[name], (halves[0][name] + halves[1][name]) / 2)


def test_examples_are_tried_on_the_other_models() -> None:
    model = linear_model()
    stimuli = pictures(model, wrong=0)
    twin, other = linear_model(), linear_model(seed=3)
    result = found("robustness", Context({"net": model, "twin": twin, "other": other}, stimuli), epsilons=SIZES)
    np.testing.assert_array_equal(result.transfer.sel(model="net"), result.pgd.sel(model="net"))
    assert (result.transfer.sel(model="other") >= result.accuracy.sel(model="other")).all()


class Stairs(nn.Module):
    """A network whose gradient is zero, though small changes change its answer."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module((signals * 50).round() / 50)
        return logits


def test_a_network_without_gradient_is_told_from_a_robust_one() -> None:
    model = linear_model()
    hidden = replace(model, module=Stairs(model.module))
    context = Context({"plain": model, "stairs": hidden}, pictures(model, wrong=0))
    result = found("robustness", context, epsilons=[0.02, 0.04])
    still = result.one_step.sel(model="stairs").values
    assert (still == still[0]).all()
    said = result.attrs["warnings"]
    assert all(line.startswith("stairs: the attacks may be fooled by masked gradients: ") for line in said)
    assert any("for 100% of the signals the gradient is zero" in line for line in said)
    assert any("other models' examples fooled it about" in line for line in said)


def test_signs_of_masked_gradients() -> None:
    right, fooled = np.ones((40, 2), dtype=bool), np.zeros((40, 2), dtype=bool)
    half = right.copy()
    half[:20] = False
    quiet = {"pgd": fooled, "one_step": half, "noise": right, "stuck": fooled}
    assert list(masked_gradients("net", quiet, [0.1, 0.2])) == []
    (line,) = masked_gradients("net", {**quiet, "pgd": right}, [0.1, 0.2])
    assert line.endswith("at epsilon 0.1 one step fooled it about 20 signals where PGD failed, 0 the other way round")
    rising = half.copy()
    rising[:, 1] = True
    (line,) = masked_gradients("net", {**quiet, "pgd": rising, "one_step": right}, [0.1, 0.2])
    assert line.endswith("PGD within 0.1 fooled it about 20 signals where PGD within 0.2 failed")
    few = right.copy()
    few[:3] = False  # three of forty may be chance
    assert list(masked_gradients("net", {**quiet, "pgd": right, "one_step": few}, [0.1, 0.2])) == []


def test_sounds_have_sizes_of_their_own() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model(nn.Linear(50, 4).eval(), WaveformDomain(50, 8000), ["output"], CLASSES)
    waves = 0.3 * torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    sounds = [Stimulus(wave, CLASSES[n % 4], name=str(n), sample_rate=8000) for n, wave in enumerate(waves)]
    context = Context({"net": model}, sounds)
    assert found("robustness", context, apgd_steps=3).epsilon.values.tolist() == [0, 0.0005, 0.001, 0.002, 0.004]
    assert found("shift-consistency", context, edges="zero").attrs["maximum"] == [5]
    with pytest.raises(MetameryError, match="edges is 'crop', which is for pictures"):
        found("shift-consistency", context, edges="crop")
    mixed = Context({"net": model, "sees": linear_model()}, sounds)
    with pytest.raises(MetameryError, match="expected epsilons"):
        found("robustness", mixed)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_size_is_also_said_in_decibels_below_the_sounds(norm: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model(nn.Linear(50, 4).eval(), WaveformDomain(50, 8000, rms=None), ["output"], CLASSES)
    wave = torch.sin(2 * torch.pi * torch.arange(50) / 10)  # its mean is 0, so that only its level is changed
    heights = [0.1, 0.2, 0.4, 0.9, 0.8]
    names = [*CLASSES, "of no class"]  # the last does not count
    sounds = [
        Stimulus(height * wave, name, name=name, sample_rate=8000) for height, name in zip(heights, names, strict=True)
    ]
    settings: dict[str, Any] = {"norm": norm, "epsilons": [0.01, 0.1], "steps": 1, "apgd_steps": 1, "batch_size": 2}
    snr = found("robustness", Context({"hears": model}, sounds), **settings).snr
    lengths = np.array(heights[:4]) * float(wave.double().norm())
    noise = 0.01 * 50**0.5 if norm == "linf" else 0.01
    middle = np.mean(20 * np.log10(lengths[1:3] / noise))
    np.testing.assert_allclose(snr.values, [[np.nan, middle, middle - 20]], rtol=0, atol=1e-4)
    assert snr.attrs["units"] == "dB"
    check_evaluator(Plugins(installed=()).load("evaluator", "robustness", **settings), Context({"net": model}, sounds))
    seen = found("robustness", Context({"sees": linear_model()}, pictures(linear_model(), count=4)), epsilons=[0.01])
    assert "snr" not in seen


class Corner(nn.Module):
    """Says whether the first pixel is bright."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        bright = signals[:, 0, 0, 0] - 0.5
        return torch.stack([bright, -bright], dim=1)


class Constant(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals.new_tensor([[1.0, 0.0]]).expand(len(signals), 2)


@pytest.mark.parametrize("edges", ["reflect", "zero", "crop"])
def test_shift_consistency(edges: str) -> None:
    domain = ImageDomain(1, 8, 8)
    kinds = {"corner": Corner(), "constant": Constant()}
    models = {name: Model(module, domain, ["output"]) for name, module in kinds.items()}
    chance = (torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    context = Context(models, [Stimulus(value, name=str(number)) for number, value in enumerate(chance)])
    result = found("shift-consistency", context, maximum=2, edges=edges)
    assert result.consistency.sel(model="constant").item() == 1
    # Two draws of one pixel agree by chance, or since they are the same pixel; a black edge agrees more often.
    assert 0.45 < result.consistency.sel(model="corner").item() < 0.85
    assert result.counted.values.tolist() == [400, 400]


def test_shifts_are_those_drawn_for_the_name_alone() -> None:
    domain = ImageDomain(1, 8, 8)
    model = Model(Corner(), domain, ["output"])
    values = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stimuli = [Stimulus(value, name=str(number)) for number, value in enumerate(values)]
    whole = found("shift-consistency", Context({"net": model}, stimuli), batch_size=4)
    halves = [found("shift-consistency", Context({"net": model}, half)) for half in (stimuli[:15], stimuli[15:])]
    assert whole.consistency.item() == pytest.approx(np.mean([half.consistency.item() for half in halves]))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("robustness", {"norm": "l3"}, "unknown norm 'l3'"),
        ("robustness", {"epsilons": 0.1}, r"epsilons is 0.1, expected a list of numbers, such as \[0.01, 0.02\]"),
        ("robustness", {"epsilons": [-0.1]}, "a number in epsilons is -0.1, expected a number of at least 0"),
        ("robustness", {"steps": 0}, "steps is 0"),
        ("robustness", {"apgd_steps": 0}, "steps is 0"),
        ("shift-consistency", {"edges": "mirror"}, "unknown edges 'mirror'"),
        ("shift-consistency", {"maximum": 0}, "maximum is 0, expected a whole number of at least 1"),
    ],
)
def test_a_bad_option_is_named_at_once(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", name, **options)


def test_autoattack_is_exact_for_a_linear_classifier() -> None:
    peer("torchattacks")
    model = linear_model()
    stimuli = pictures(model, count=8, wrong=2)
    context = Context({"net": model}, stimuli)
    result = found("autoattack", context, epsilons=[0.005, 0.01], steps=10)
    limits = attackable(model, stimuli, "linf")
    assert result.accuracy.values[0].tolist() == pytest.approx([(limits > size).mean() for size in (0, 0.005, 0.01)])
    with pytest.raises(MetameryError, match=r"epsilons is 0.1, expected a list of numbers"):
        Plugins().load("evaluator", "autoattack", epsilons=0.1)


def test_accuracy_under_a_perturbation_of_a_plugin_is_measured(fake_plugin: Any) -> None:
    def register_perturbations(register: Any) -> None:
        register("negative", lambda strength=1.0: lambda model, signals, labels, own: signals * (1 - 2 * strength))

    plugins = Plugins([fake_plugin("mine", register_perturbations=register_perturbations)], installed=())
    model = linear_model()
    stimuli = pictures(model)
    context = Context({"net": model}, stimuli)
    same = plugins.load("evaluator", "accuracy-under", perturbation="negative", options={"strength": 0.0})(context)
    assert (same.accuracy.item(), same.natural.item(), same.counted.item()) == (32 / 40, 32 / 40, 40)
    moved = plugins.load("evaluator", "accuracy-under", perturbation="mine:negative")(context)
    with torch.no_grad():
        logits = torch.stack([model.module(-model.domain.fit(each)[None])[0] for each in stimuli])
    right = [model.labels[int(row.argmax())] == each.category for row, each in zip(logits, stimuli, strict=True)]
    assert moved.accuracy.item() == pytest.approx(np.mean(right))
    one = plugins.load("evaluator", "accuracy-under", perturbation="gaussian", options={"sigma": 0.3}, batch_size=1)
    many = plugins.load("evaluator", "accuracy-under", perturbation="gaussian", options={"sigma": 0.3})
    assert one(Context({"net": model}, stimuli)).equals(many(Context({"net": model}, stimuli)))
    with pytest.raises(MetameryError, match="unknown perturbation 'negativ'; did you mean 'negative'"):
        plugins.load("evaluator", "accuracy-under", perturbation="negativ")
