"""Properties of the lists of trials."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.analysis.experiment.allocation import allocate, in_blocks, number_of_lists, stratified

CATEGORIES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=60).map(lambda found: dict(enumerate(found)))
CONDITIONS = st.integers(1, 9)
SEEDS = st.integers(0, 2**31)
RULES = st.sampled_from(["latin-square", "random"])


def within_one(counts: Counter[object], of: int) -> bool:
    return max(counts.values()) - (min(counts.values()) if len(counts) == of else 0) <= 1


@given(RULES, CATEGORIES, CONDITIONS, st.integers(1, 12), SEEDS)
def test_each_list_shows_each_stimulus_in_one_condition_and_conditions_equally_often(
    rule: str, categories: dict[int, str], conditions: int, lists: int, seed: int
) -> None:
    made = list(allocate(rule, categories, conditions, lists, seed))
    assert len(made) == lists
    for each in made:
        assert each.keys() == categories.keys()
        assert set(each.values()) <= set(range(conditions))
        assert within_one(Counter(each.values()), conditions)


@given(CATEGORIES, CONDITIONS, st.integers(1, 3), SEEDS)
def test_over_a_latin_square_each_stimulus_is_in_each_condition_once(
    categories: dict[int, str], conditions: int, squares: int, seed: int
) -> None:
    made = list(allocate("latin-square", categories, conditions, squares * conditions, seed))
    for first in range(0, len(made), conditions):
        square = made[first : first + conditions]
        assert all(sorted(each[stimulus] for each in square) == list(range(conditions)) for stimulus in categories)


@given(CATEGORIES, CONDITIONS, st.integers(1, 12), SEEDS)
def test_a_latin_square_balances_conditions_within_each_category(
    categories: dict[int, str], conditions: int, lists: int, seed: int
) -> None:
    for each in allocate("latin-square", categories, conditions, lists, seed):
        for category in set(categories.values()):
            own = Counter(each[stimulus] for stimulus, its in categories.items() if its == category)
            assert within_one(own, conditions)


@given(RULES, CATEGORIES, CONDITIONS, SEEDS)
def test_the_same_seed_gives_the_same_lists(rule: str, categories: dict[int, str], conditions: int, seed: int) -> None:
    assert list(allocate(rule, categories, conditions, 3, seed)) == list(
        allocate(rule, categories, conditions, 3, seed)
    )


def test_random_lists_differ_and_cover_all_conditions_of_a_stimulus() -> None:
    made = list(allocate("random", dict.fromkeys(range(12), "a"), 4, 50, 0))
    assert len({tuple(sorted(each.items())) for each in made}) == 50
    assert {each[0] for each in made} == {0, 1, 2, 3}


@given(st.integers(0, 60), st.integers(0, 20), st.integers(1, 6), SEEDS)
def test_blocks_hold_all_trials_once_and_catch_trials_evenly(trials: int, catch: int, blocks: int, seed: int) -> None:
    caught = [f"catch {index}" for index in range(catch)]
    made = in_blocks(list(map(str, range(trials))), caught, blocks, seed, 0)
    assert Counter(each for block in made for each in block) == Counter([*map(str, range(trials)), *caught])
    assert all(made)
    if trials >= blocks:
        lengths = [sum(each not in caught for each in block) for block in made]
        numbers = [sum(each in caught for each in block) for block in made]
        assert max(lengths) - min(lengths) <= 1
        assert max(numbers) - min(numbers) <= 1


def test_orders_differ_between_lists_and_follow_the_seed() -> None:
    trials = list(range(30))
    assert in_blocks(trials, [], 1, 0, 0) == in_blocks(trials, [], 1, 0, 0)
    assert in_blocks(trials, [], 1, 0, 0) != in_blocks(trials, [], 1, 0, 1)
    assert in_blocks(trials, [], 1, 0, 0) != in_blocks(trials, [], 1, 1, 0)


@settings(max_examples=50)
@given(CATEGORIES, st.integers(0, 70), SEEDS)
def test_a_selection_takes_categories_equally(categories: dict[int, str], count: int, seed: int) -> None:
    chosen = stratified(categories, count, seed)
    assert len(chosen) == min(count, len(categories))
    assert chosen == sorted(chosen)
    taken, there = Counter(categories[each] for each in chosen), Counter(categories.values())
    most = max(taken.values(), default=0)
    assert all(taken[category] >= min(there[category], most - 1) for category in there)


def test_numbers_of_lists_by_default_are_multiples_of_the_conditions() -> None:
    assert all(
        number_of_lists("latin-square", conditions) % conditions == 0
        and number_of_lists("latin-square", conditions) >= 24
        for conditions in range(1, 60)
    )
    assert number_of_lists("latin-square", 7, wanted=5) == 5
