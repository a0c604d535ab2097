"""Training objectives and perturbations, against closed forms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Recipe, WaveformDomain
from metamery.framework.testing import check_loss, check_perturbation, check_recipe, example_model, example_signals
from metamery.training.tools import load_tools
from scipy.ndimage import gaussian_filter

WIDE = ImageDomain(3, 12, 12, -100.0, 100.0)
NAMES = [entry.name for entry in Plugins(installed=()).entries("perturbation") if entry.plugin == "robustness"]
STEPS = ["apgd_l2", "apgd_linf", "pgd_l2", "pgd_linf"]
EPSILON = [*STEPS, "fgsm", "pgd_kl", "random_l2", "random_linf"]
QUICK = {"apgd_l2": {"steps": 6}, "apgd_linf": {"steps": 6}}


def perturbed(name: str, model: Model, signals: torch.Tensor, seed: int = 0, **options: Any) -> torch.Tensor:
    perturb = Plugins().load("perturbation", name, **options)
    labels = torch.zeros(len(signals), dtype=torch.long)
    result: torch.Tensor = perturb(model, signals, labels, torch.Generator().manual_seed(seed))
    return result


def wide_model() -> Model:
    return Model(example_model().module, WIDE, ["output"])


def shifted_model() -> Model:
    return Model(example_model().module, ImageDomain(3, 12, 12, -2.0, 3.0), ["output"])


def sound_model() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(torch.nn.Linear(50, 4).eval(), WaveformDomain(50, 8000), ["output"])


def sized(name: str, model: Model, share: float) -> dict[str, float]:
    """The option that says how strong a perturbation is, as a share of the most that makes sense."""
    span = model.domain.high - model.domain.low
    if name == "blur":
        return {"sigma": share * 2.75}
    if name == "shift":
        return {"maximum": round(share * 11)}
    if name == "gaussian":
        return {"sigma": share * span}
    return {"epsilon": share * span}


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


def test_cross_entropy_of_shares_is_that_of_their_classes_in_these_shares() -> None:
    model = example_model()
    signals, labels, others = example_signals(model, 5), torch.tensor([0, 3, 1, 1, 2]), torch.tensor([1, 3, 0, 2, 2])
    shares = 0.7 * torch.eye(4)[labels] + 0.3 * torch.eye(4)[others]
    for options in ({}, {"label_smoothing": 0.2}):
        loss = Plugins().load("loss", "cross_entropy", **options)
        with torch.no_grad():
            expected = 0.7 * loss(model, signals, labels) + 0.3 * loss(model, signals, others)
            assert float(loss(model, signals, labels, targets=shares)) == pytest.approx(float(expected), rel=1e-5)


def test_trades_is_the_published_sum() -> None:
    model = example_model()
    natural = example_signals(model, 5)
    labels = torch.tensor([0, 3, 1, 1, 2])
    signals = (natural + 0.05).clamp(0, 1)
    with torch.no_grad():
        found = Plugins().load("loss", "trades", beta=2.5)(model, signals, labels, natural=natural)
        p, q = (model.module(shown).double().softmax(dim=1) for shown in (natural, signals))
    wrong = -p[torch.arange(5), labels].log().mean()
    moved = (p * (p / q).log()).sum(dim=1).mean()
    assert float(found) == pytest.approx(float(wrong + 2.5 * moved), rel=1e-5)
    check_loss(Plugins().load("loss", "trades"))


def test_mart_is_the_published_sum() -> None:
    """Signal by signal, in double precision."""
    model = example_model()
    natural = example_signals(model, 5)
    labels = torch.tensor([0, 3, 1, 1, 2])
    signals = (natural + 0.05).clamp(0, 1)
    with torch.no_grad():
        found = Plugins().load("loss", "mart", beta=2.5)(model, signals, labels, natural=natural)
        before, after = (model.module(shown).double().softmax(dim=1).tolist() for shown in (natural, signals))
    expected = 0.0
    for p, q, label in zip(before, after, labels.tolist(), strict=True):
        other = max(value for index, value in enumerate(q) if index != label)
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        expected += -math.log(q[label]) - math.log(1 - other) + 2.5 * divergence * (1 - p[label])
    assert float(found) == pytest.approx(expected / 5, rel=1e-5)
    check_loss(Plugins().load("loss", "mart"))


def test_mart_is_finite_where_a_network_is_sure_and_wrong() -> None:
    model = Model(torch.nn.Linear(50, 3), WaveformDomain(50, 8000), ["output"])
    with torch.no_grad():
        model.module.bias.copy_(torch.tensor([300.0, 0.0, 0.0]))
    signals = torch.zeros(2, 50)
    loss = Plugins().load("loss", "mart")(model, signals, torch.tensor([0, 1]), natural=signals)
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in model.module.parameters())  # type: ignore[union-attr]


def test_pgd_kl_moves_the_prediction_further_than_chance_and_asks_for_no_label() -> None:
    model = shifted_model()
    natural = example_signals(model, 8)

    def moved(signals: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            p, q = (model.module(shown).softmax(dim=1) for shown in (natural, signals))
        return (p * (p / q).log()).sum(dim=1)

    attacked = perturbed("pgd_kl", model, natural, epsilon=0.1)
    assert (moved(attacked) > 5 * moved(perturbed("random_linf", model, natural, epsilon=0.1))).all()
    perturb = Plugins().load("perturbation", "pgd_kl", epsilon=0.1)
    others = perturb(model, natural, torch.full((8,), 3), torch.Generator().manual_seed(0))
    assert torch.equal(others, attacked)


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


def test_gaussian_noise_has_the_standard_deviation_that_is_asked_for() -> None:
    moved = perturbed("gaussian", wide_model(), torch.full((6, 3, 12, 12), 5.0), sigma=2.0) - 5
    assert float(moved.std()) == pytest.approx(2.0, rel=0.05)
    assert float(moved.mean()) == pytest.approx(0.0, abs=0.15)
    assert float((moved.abs() < 2).double().mean()) == pytest.approx(0.683, abs=0.03)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_shift_moves_every_image_by_its_own_whole_pixels(padding: str) -> None:
    domain = ImageDomain(2, 7, 9, -1.0, 1.0)
    model = Model(example_model().module, domain, ["output"])
    signals = example_signals(model, 60)
    moved = perturbed("shift", model, signals, maximum=3, padding=padding)
    mode: dict[str, Any] = {"mode": "reflect"} if padding == "reflect" else {"value": -1.0}  # black
    padded = torch.nn.functional.pad(signals, (3, 3, 3, 3), **mode)
    places = {}
    for index, image in enumerate(moved):
        for down, across in itertools.product(range(7), repeat=2):
            if torch.equal(image, padded[index, :, down : down + 7, across : across + 9]):
                places[index] = (down, across)
    assert len(places) == 60
    for axis in range(2):
        assert {place[axis] for place in places.values()} == set(range(7))  # -3 to 3, all of them
    assert any(down != across for down, across in places.values())


def test_a_shift_moves_sounds_in_time() -> None:
    model, signals = sound_model(), 0.5 + 0.1 * torch.rand(40, 50, generator=torch.Generator().manual_seed(0))
    moved = perturbed("shift", model, signals, maximum=5, padding="zero")
    padded = torch.nn.functional.pad(signals, (5, 5))  # silence
    starts = [
        [start for start in range(11) if torch.equal(sound, padded[index, start : start + 50])]
        for index, sound in enumerate(moved)
    ]
    assert all(len(found) == 1 for found in starts)
    assert {found[0] for found in starts} == set(range(11))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.6])
def test_a_blur_is_scipy_s(sigma: float) -> None:
    signals = example_signals(example_model())
    expected = gaussian_filter(signals.double(), sigma, mode="mirror", axes=(2, 3), radius=math.ceil(4 * sigma))
    moved = perturbed("blur", example_model(), signals, sigma=sigma)
    torch.testing.assert_close(moved.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)
    sounds = example_signals(sound_model())
    expected = gaussian_filter(sounds.double(), sigma, mode="mirror", axes=(1,), radius=math.ceil(4 * sigma))
    moved = perturbed("blur", sound_model(), sounds, sigma=sigma)
    torch.testing.assert_close(moved.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_perturbations_keep_their_contract_at_any_size(name: str, share: float) -> None:
    for model in (example_model(), shifted_model(), sound_model()):
        size = sized(name, model, share)
        check_perturbation(Plugins().load("perturbation", name, **size, **QUICK.get(name, {})), model)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_perturbations_stay_in_bounds(name: str, data: st.DataObject) -> None:
    model = data.draw(st.sampled_from([example_model(), shifted_model(), sound_model()]))
    size = sized(name, model, data.draw(st.floats(0, 0.5)))
    low, high = model.domain.low, model.domain.high
    drawn = torch.rand(3, *model.domain.shape, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    signals = (low + (high - low) * drawn).clamp(low, high)
    moved = perturbed(name, model, signals, data.draw(st.integers(0, 99)), **size, **QUICK.get(name, {}))
    assert low <= float(moved.min()) <= float(moved.max()) <= high
    if "epsilon" in size:
        change = (moved.double() - signals.double()).flatten(1)
        norms = change.norm(dim=1) if name.endswith("l2") else change.abs().amax(dim=1)
        assert float(norms.max()) <= size["epsilon"] + 1e-6
    if not any(size.values()):
        assert torch.equal(moved, signals)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_moved_at_size_zero(name: str) -> None:
    for model in (example_model(), shifted_model(), sound_model()):
        signals = example_signals(model)
        moved = perturbed(name, model, signals, **sized(name, model, 0.0), **QUICK.get(name, {}))
        assert torch.equal(moved, signals)
        assert moved.data_ptr() != signals.data_ptr()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"blur", "fgsm"}))
def test_another_seed_gives_another_perturbation(name: str) -> None:
    signals = example_signals(sound_model())
    options = {"step_size": 1e-3} if name.startswith("pgd") else QUICK.get(name, {})
    one, other = (perturbed(name, sound_model(), signals, seed, **options) for seed in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_signals_out_of_the_model_s_range_are_refused(name: str) -> None:
    with pytest.raises(MetameryError, match=r"outside the model's range \[0, 1\]"):
        perturbed(name, example_model(), torch.full((2, 3, 12, 12), 1.5), **QUICK.get(name, {}))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *[(name, {"epsilon": -0.1}, "epsilon is -0.1, expected a number of at least 0") for name in EPSILON],
        *[(name, {"steps": 0}, "steps is 0, expected a whole number of at least 1") for name in STEPS],
        *[(name, {"loss": "margins"}, "did you mean 'margin'?") for name in STEPS],
        *[(name, {"restarts": -1}, "restarts is -1") for name in STEPS],
        ("pgd_l2", {"step_size": -0.5}, "step_size is -0.5"),
        ("pgd_l2", {"epsilonn": 1}, "did you mean 'epsilon'?"),
        ("gaussian", {"sigma": -1}, "sigma is -1"),
        ("blur", {"sigma": "wide"}, "sigma is 'wide'"),
        ("shift", {"maximum": 1.5}, "maximum is 1.5, expected a whole number"),
        ("shift", {"padding": "zeros"}, "unknown padding 'zeros'; did you mean 'zero'?"),
    ],
)
def test_a_bad_option_is_named_at_once(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MetameryError) as raised:
        Plugins().load("perturbation", name, **options)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *[(name, {"epsilon": 255}, r"epsilon is 255, larger than the model's range \[0, 1\]") for name in EPSILON],
        ("gaussian", {"sigma": 2}, r"sigma is 2, larger than the model's range \[0, 1\]"),
        ("shift", {"maximum": 12}, "maximum is 12, expected less than the signals' length, 12"),
        ("blur", {"sigma": 3}, r"sigma is 3, expected at most a quarter of the signals' length, 2\.75"),
    ],
)
def test_a_size_that_does_not_fit_the_signals_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        perturbed(name, example_model(), torch.rand(2, 3, 12, 12), **options)


@pytest.mark.parametrize("name", [entry.name for entry in Plugins(installed=()).entries("recipe")])
def test_every_recipe_names_what_there_is(name: str) -> None:
    plugins = Plugins()
    recipe = plugins.load("recipe", name)
    check_recipe(recipe)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    load_tools(recipe, plugins)
