"""Schedules in closed form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import Recipe
from metamery.training.schedules import epsilon_share, learning_rate


def test_steps_divide_the_rate() -> None:
    recipe = Recipe(epochs=150, learning_rate=0.1, decay_every=50, decay_factor=10)
    rates = [learning_rate(recipe, 100 * epoch, 100) for epoch in (0, 49, 50, 99, 100, 149)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_cosine_is_half_way_down_in_the_middle() -> None:
    recipe = Recipe(epochs=10, learning_rate=2.0, schedule="cosine")
    assert learning_rate(recipe, 0, 7) == 2.0
    assert learning_rate(recipe, 35, 7) == pytest.approx(1.0)
    assert 0 < learning_rate(recipe, 69, 7) < 0.01


def test_warmups_are_straight_lines() -> None:
    recipe = Recipe(learning_rate=1.0, schedule="constant", warmup=2, epsilon_warmup=0.5)
    assert [learning_rate(recipe, update, 4) for update in range(9)] == pytest.approx(
        [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 1]
    )
    assert [epsilon_share(recipe, update, 4) for update in range(4)] == [0.5, 1, 1, 1]


@given(st.sampled_from(["constant", "steps", "cosine"]), st.floats(0, 5), st.integers(1, 20), st.data())
def test_no_rate_is_above_the_recipes_or_below_nothing(
    schedule: str, warmup: float, epochs: int, data: st.DataObject
) -> None:
    recipe = Recipe(epochs=epochs, learning_rate=0.3, schedule=schedule, warmup=warmup, epsilon_warmup=warmup)
    update = data.draw(st.integers(0, 6 * epochs - 1))
    assert 0 <= learning_rate(recipe, update, 6) <= 0.3
    assert 0 < epsilon_share(recipe, update, 6) <= 1
