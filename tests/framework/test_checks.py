"""The type and range of every number, name and list from outside, checked in one way."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metamery.framework import MetameryError, Plugins, Recipe
from metamery.framework.checks import check_types, flag, names, number, numbers, one_of, shown, text, whole

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.complex_numbers(),
    st.lists(st.integers()), st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@given(ANYTHING)
@example([2**53 + 1])
def test_a_check_returns_what_fits_or_says_one_line(value: object) -> None:
    exact = [whole, flag, text, names, lambda n, v: one_of(n, v, ["a"])]
    rounded = [number, lambda n, v: numbers(n, v, "[1]")]
    for check in exact + rounded:
        said = ""
        try:
            found = check("it", value)
        except MetameryError as error:
            said = str(error)
        assert len(said) < 250
        if said:
            continue
        if check in rounded:
            fits = [float(each) for each in np.atleast_1d(np.array(value, object))]
            assert np.atleast_1d(found).tolist() == fits
        else:
            assert found == value or list(found) == list(value)  # type: ignore[call-overload]


@pytest.mark.parametrize("value", [True, 1.0, "1", None, math.nan, [1], b"1", 1j, Decimal(1), Fraction(3, 2), np.True_])
def test_what_is_not_a_whole_number(value: object) -> None:
    with pytest.raises(MetameryError, match=r"it is .*, expected a whole number of at least 0"):
        whole("it", value)


@pytest.mark.parametrize(
    "value", [True, "1", None, math.nan, math.inf, -math.inf, [1.0], 1j, 10**400, np.float64("nan"), np.bool_(False)]
)
def test_what_is_not_a_number(value: object) -> None:
    with pytest.raises(MetameryError, match=r"it is .*, expected a finite number"):
        number("it", value)


def test_numbers_of_numpy_are_numbers_and_become_pythons() -> None:
    assert type(whole("it", np.int32(3))) is int
    assert type(number("it", np.float32(0.5))) is float
    assert type(flag("it", np.True_)) is bool
    assert (
        Recipe(epochs=np.int64(2), learning_rate=np.float32(0.5)).to_toml()
        == Recipe(epochs=2, learning_rate=0.5).to_toml()
    )


@pytest.mark.parametrize(
    ("bounds", "fits", "does_not", "said"),
    [
        ({"least": 0}, [0, 5], [-1e-9], "a number of at least 0"),
        ({"most": 1}, [1, -5], [1.1], "a number of at most 1"),
        ({"above": 0}, [1e-300], [0, -1], "a number above 0"),
        ({"below": 1}, [0.99], [1], "a number below 1"),
        ({"least": 0, "below": 1}, [0, 0.5], [1, -0.1], "a number from 0 to 1 (excluding 1)"),
        ({"least": 0, "most": 1}, [0, 1], [2], "a number from 0 to 1"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "a number between 0 and 1"),
        ({"above": -1, "most": 1, "unit": " dB"}, [1], [-1], "a number from -1 to 1 (excluding -1) dB"),
    ],
)
def test_bounds(bounds: dict[str, Any], fits: list[float], does_not: list[float], said: str) -> None:
    for value in fits:
        assert number("it", value, **bounds) == value
    for value in does_not:
        with pytest.raises(MetameryError) as raised:
            number("it", value, **bounds)
        assert str(raised.value) == f"it is {value!r}, expected {said}"


def test_a_value_is_shown_on_part_of_a_line() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 10_000)) < 100
    assert shown(10**5000) == "a number with thousands of digits"
    assert len(shown({"a": ["b"] * 1000})) < 100


def factory(
    count: int = 1,
    size: float | None = 0.5,
    what: str = "",
    on: bool = True,
    layers: Sequence[str] | None = None,
    each: Sequence[float] = (),
    loss: Callable[..., Any] | str = "a",
) -> None:
    """What plugins are made of."""  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 1.5}, "x: count is 1.5, expected a whole number"),
        ({"count": True}, "x: count is True, expected a whole number"),
        ({"count": None}, "x: count is None, expected a whole number"),
        ({"size": math.nan}, "x: size is nan, expected a finite number"),
        ({"size": "big"}, "x: size is 'big', expected a finite number"),
        ({"what": 3}, "x: what is 3, expected text"),
        ({"on": 1}, "x: on is 1, expected true or false"),
        ({"layers": "a"}, "x: layers is 'a', expected a list of names"),
        ({"layers": [1]}, "expected a list of names"),
        ({"each": [math.inf]}, "expected a list of numbers"),
    ],
)
def test_options_are_held_against_the_types_that_a_factory_writes(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError) as raised:
        check_types(factory, "x", options)
    assert said in str(raised.value)


def test_what_a_factory_takes_passes() -> None:
    check_types(factory, "x", {"count": 3, "size": 1, "what": "a", "on": False, "layers": ["a"], "each": (1, 2.5)})
    check_types(
        factory, "x", {"size": None, "layers": None, "loss": 3, "nonsense": 1, "each": np.array([1.0]).tolist()}
    )


WRONG = {"int": (True, "1", 1.5, math.nan), "float": (True, "1", math.nan, math.inf, -math.inf), "bool": (1, "true")}
NEEDED = {"accuracy-under": {"perturbation": "gaussian"}}
KINDS = ("model", "stimuli", "loss", "distance", "optimizer", "perturbation", "evaluator")


def test_every_option_of_every_name_refuses_what_is_of_another_type(pictures: Path) -> None:
    plugins, tried = Plugins(installed=[]), 0
    for kind in KINDS:
        for entry in plugins.entries(kind):
            if entry.is_family or entry.facts.get("extra"):
                continue
            for name, parameter in inspect.signature(entry.factory()).parameters.items():
                written = str(parameter.annotation).removesuffix(" | None")
                for value in WRONG.get(written, ()):
                    of_files = {"path": str(pictures)} if entry.name in ("folder", "prepared", "shards") else {}
                    given = NEEDED.get(entry.name, {}) | of_files
                    with pytest.raises(MetameryError, match=name):
                        plugins.load(kind, entry.name, **given | {name: value})
                    tried += 1
    assert tried > 200


@pytest.mark.parametrize(
    ("kind", "name", "options", "said"),
    [
        ("loss", "cross_entropy", {"label_smoothing": 2}, "label_smoothing is 2, expected a number from 0 to 1"),
        ("loss", "cross_entropy", {"label_smoothing": -0.1}, "label_smoothing is -0.1, expected a number from 0 to 1"),
        ("loss", "trades", {"beta": -1}, "beta is -1, expected a number of at least 0"),
        ("optimizer", "sgd", {"momentum": -1}, "momentum is -1, expected a number from 0 to 1 (excluding 1)"),
        ("optimizer", "sgd", {"momentum": 1}, "momentum is 1, expected a number from 0 to 1 (excluding 1)"),
        ("optimizer", "sgd", {"weight_decay": -1e-4}, "weight_decay is -0.0001, expected a number of at least 0"),
        ("optimizer", "sgd", {"nesterov": True}, "nesterov is True, and momentum 0"),
        ("optimizer", "adam", {"beta2": 1}, "beta2 is 1, expected a number from 0 to 1 (excluding 1)"),
        ("optimizer", "adam", {"beta1": -0.1}, "beta1 is -0.1, expected a number from 0 to 1 (excluding 1)"),
        ("optimizer", "adam", {"lr": -1}, "lr is -1, expected a number of at least 0"),
        ("optimizer", "normalised_gd", {"eps": -1}, "eps is -1, expected a number of at least 0"),
        ("perturbation", "pgd_linf", {"epsilon": math.inf}, "epsilon is inf, expected a number of at least 0"),
        ("perturbation", "pgd_linf", {"steps": 10**12}, "steps is 1000000000000, expected a whole number of at most"),
        ("perturbation", "gain", {"low": -1e300}, "low is -1e+300, expected a number from -200 to 200 (dB)"),
        ("perturbation", "shift", {"padding": "zeros"}, "unknown padding 'zeros'; did you mean 'zero'?"),
        ("evaluator", "accuracy", {"batch_size": 0}, "batch_size is 0, expected a whole number of at least 1"),
        ("evaluator", "recognition", {"batch_size": -1}, "batch_size is -1, expected a whole number of at least 1"),
        (
            "evaluator",
            "invariance",
            {"resamples": 10**9},
            "resamples is 1000000000, expected a whole number of at most",
        ),
        ("evaluator", "robustness", {"epsilons": [math.nan]}, "epsilons is [nan], expected a list of numbers"),
        ("model", "small-cnn", {"width": 10**9}, "width is 1000000000, expected a whole number of at most 16777216"),
        ("model", "small-cnn", {"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ("model", "small-cnn", {"seed": 2**63}, "expected an integer of at most 9223372036854775807"),
        ("stimuli", "natural", {"limit": 0}, "limit is 0, expected a whole number of at least 1"),
    ],
)
def test_every_number_has_its_range(kind: str, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError) as raised:
        Plugins(installed=[]).load(kind, name, **options)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("ema", 2), ("ema", 1), ("ema", -0.1), ("check_drop", 1.5), ("check_drop", 1), ("decay_factor", 0),
        ("decay_factor", 0.1), ("clip_norm", math.nan), ("clip_norm", -1), ("warmup", -1), ("epsilon_warmup", math.inf),
        ("learning_rate", math.inf), ("replay_epsilon", -0.1), ("replays", -1), ("epochs", 10**12), ("accumulate", 0),
        ("decay_every", 0.5), ("batch_size", 2**40), ("augment", "flip"), ("schedule", "stepz"), ("loss", True),
        ("awp", 1), ("awp", -0.1), ("keep", "worst"), ("augment", [3]), ("augment", [{"scale": 1}]),
    ],
)  # fmt: skip
def test_every_entry_of_a_recipe_has_its_range(entry: str, value: object) -> None:
    with pytest.raises(MetameryError, match=entry):
        Recipe().changed({entry: value})


@pytest.mark.parametrize("entry", ["warmup", "epsilon_warmup"])
def test_a_warmup_that_is_asked_for_ends_within_the_training(entry: str) -> None:
    with pytest.raises(MetameryError, match=f"recipe entry {entry} is 4, expected at most the number of epochs, 3"):
        Recipe.from_toml(f"epochs = 3\n{entry} = 4")
    Recipe.from_toml(f"epochs = 3\n{entry} = 3")
    Recipe(**{entry: 100}).changed({"epochs": 3}).check_warmup({"epochs": 3})
