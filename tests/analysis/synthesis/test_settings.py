"""Presets and their settings: what they are, and what is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metamery.analysis.synthesis.settings import SCHEDULES, Settings, resolve_settings
from metamery.framework import MetameryError


def test_feather2023_is_what_the_paper_says():
    chosen = resolve_settings("feather2023")
    assert (chosen.optimizer, chosen.distance) == ("synthesis:normalised_gd", "synthesis:relative_l2")
    assert chosen.steps == 24_000
    assert [chosen.rate(update) for update in (0, 2999, 3000, 23_999)] == [1, 1, 0.5, 1 / 128]
    assert chosen.modified_relu
    assert chosen.tolerance == chosen.total_variation == chosen.bounds == 0


@given(rounds=st.integers(1, 500), update=st.floats(0, 1, exclude_max=True))
def test_steps_scale_the_schedule_and_keep_its_shape(rounds, update):
    steps = 8 * rounds
    chosen = resolve_settings("feather2023", steps=steps)
    place = int(update * steps)
    assert chosen.rate(place) == 0.5 ** (place // rounds)


@given(name=st.sampled_from(sorted(SCHEDULES)), steps=st.integers(1, 2000), data=st.data())
def test_schedules_start_at_one_and_never_rise(name, steps, data):
    schedule = SCHEDULES[name]
    update = data.draw(st.integers(0, steps - 1))
    assert schedule(0, steps) == 1
    assert 0 <= schedule(update + 1, steps) <= schedule(update, steps) <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stepz": 3}, "unknown synthesis setting 'stepz'; did you mean 'steps'?"),
        ({"schedule": "halve"}, "unknown schedule 'halve'; did you mean 'halving'?"),
        ({"precision": "float64"}, "unknown precision 'float64'"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"steps": 1.5}, "steps is 1.5, expected a whole number of at least 1"),
        ({"step_size": 0}, "step_size is 0, expected a number above 0"),
        ({"tolerance": float("nan")}, "tolerance is nan, expected a number of at least 0"),
        ({"modified_relu": "yes"}, "modified_relu is 'yes', expected true or false"),
        ({"distance": 3}, "distance is 3, expected text"),
        ({"optimizer_options": [1]}, "optimizer_options is [1], expected a table"),
        ({"optimizer_options": {"lr": 1}}, "optimizer_options has lr: the learning rate is step_size"),
    ],
)
def test_what_is_no_setting_is_named(changes, said):
    with pytest.raises(MetameryError) as error:
        resolve_settings("fast", **changes)
    assert str(error.value).startswith(said)


def test_an_unknown_preset_is_named_with_the_nearest():
    with pytest.raises(MetameryError, match="unknown preset 'fasst'; did you mean 'fast'"):
        resolve_settings("fasst")


def test_another_optimizer_comes_without_the_presets_options():
    assert resolve_settings("fast", optimizer="sgd").optimizer_options == {}
    assert resolve_settings("fast", optimizer="adam").optimizer_options == {"beta2": 0.9}
    chosen = resolve_settings("fast", optimizer="sgd", optimizer_options={"momentum": 0.9})
    assert chosen.optimizer_options == {"momentum": 0.9}


def test_settings_are_plain_data_and_come_back_from_it():
    chosen = resolve_settings("fast", steps=7, optimizer_options={"beta2": 0.5})
    assert resolve_settings(chosen.table()) == chosen
    assert isinstance(chosen, Settings)
