"""Which participant gets which original in which condition: lists of trials, as pure functions of a seed."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import TypeVar

from ...framework.randomness import derived_seed

T = TypeVar("T", bound=Hashable)
U = TypeVar("U")

LEAST_LISTS = 24
"""Least number of lists of Latin squares by default, so that participants get different orders."""

RANDOM_LISTS = 100
"""Number of lists by default where conditions are drawn at random, so that each participant gets one of their own."""


def number_of_lists(rule: str, conditions: int, wanted: int = 0) -> int:
    """Return the number of lists: the one wanted, or for 0 the default of the rule.

    >>> number_of_lists("latin-square", 7), number_of_lists("latin-square", 30), number_of_lists("random", 7)
    (28, 30, 100)
    """
    if wanted:
        return wanted
    return RANDOM_LISTS if rule == "random" else conditions * -(-LEAST_LISTS // conditions)


def allocate(rule: str, categories: Mapping[T, str], conditions: int, lists: int, seed: int) -> Iterator[dict[T, int]]:
    """Yield for each list the condition of every stimulus.

    Within a list the conditions are balanced to within one. With the rule ``latin-square``, so they are within each
    category, and over any `conditions` successive lists, counted from a multiple of it, each stimulus is in each
    condition once. With ``random``, each list draws its own assignment.

    Parameters
    ----------
    rule
        ``latin-square`` or ``random``.
    categories
        Category of each stimulus.
    conditions, lists
        Numbers of conditions and of lists.
    seed
        Seed of the order of stimuli and conditions.
    """
    for number in range(lists):
        if rule == "random":
            generator = _generator(seed, "random", number)
            stimuli = list(categories)
            generator.shuffle(stimuli)
            order = _shuffled(range(conditions), generator)
            yield {stimulus: order[index % conditions] for index, stimulus in enumerate(stimuli)}
        else:
            square, row = divmod(number, conditions)
            generator = _generator(seed, "square", square)
            stimuli = _by_category(categories, generator)
            order = _shuffled(range(conditions), generator)
            yield {stimulus: order[(index + row) % conditions] for index, stimulus in enumerate(stimuli)}


def in_blocks(trials: Sequence[T], catch: Sequence[T], blocks: int, seed: int, number: int) -> list[list[T]]:
    """Order the trials of a list at random and divide them into blocks, with catch trials spread over all blocks.

    The blocks are of the same length to within one, and so are the numbers of catch trials in them.

    >>> blocks = in_blocks(list(range(9)), ["?", "!"], 2, 0, 0)
    >>> [len(block) for block in blocks], [sum(isinstance(each, str) for each in block) for block in blocks]
    ([6, 5], [1, 1])
    """
    generator = _generator(seed, "order", number)
    made = []
    for shown, caught in zip(
        _parts(_shuffled(trials, generator), blocks),
        _parts(_shuffled(catch, generator), blocks, last=True),
        strict=True,
    ):
        block = list(shown)
        for each in caught:
            block.insert(generator.randint(0, len(block)), each)
        made.append(block)
    return [block for block in made if block]


def stratified(categories: Mapping[T, str], count: int, seed: int) -> list[T]:
    """Select some stimuli, as equal in number over categories as possible, in their own order."""
    generator = _generator(seed, "stimuli")
    ranked: dict[T, int] = {}
    for _, group in groupby(_by_category(categories, generator), key=lambda stimulus: categories[stimulus]):
        ranked |= {stimulus: rank for rank, stimulus in enumerate(group)}
    chosen = {*sorted(ranked, key=lambda stimulus: ranked[stimulus])[:count]}
    return [stimulus for stimulus in categories if stimulus in chosen]


def shuffled(values: Sequence[U], *seed: int | str) -> list[U]:
    """Return values in an order that is drawn from a seed."""
    return _shuffled(values, _generator(*seed))


def _by_category(categories: Mapping[T, str], generator: random.Random) -> list[T]:
    """Return the stimuli category by category, both in random order."""
    members: dict[str, list[T]] = {}
    for stimulus, category in categories.items():
        members.setdefault(category, []).append(stimulus)
    ordered = []
    for category in _shuffled(sorted(members), generator):
        ordered += _shuffled(members[category], generator)
    return ordered


def _shuffled(values: Sequence[U], generator: random.Random) -> list[U]:
    return generator.sample(values, len(values))


def _parts(values: Sequence[T], count: int, last: bool = False) -> list[Sequence[T]]:
    """Divide a sequence into parts of the same length to within one; the longer ones come first, or `last`."""
    ends = [len(values) * index // count for index in range(count + 1)]
    if not last:
        ends = [len(values) - end for end in reversed(ends)]
    return [values[start:end] for start, end in pairwise(ends)]


def _generator(*parts: int | str) -> random.Random:
    return random.Random(derived_seed("experiment", *parts))
