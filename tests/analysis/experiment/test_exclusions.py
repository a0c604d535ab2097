"""Rules of exclusion, each on a session that it alone excludes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answered_experiment import small_experiment
from metamery.analysis.experiment.exclusions import Rules, excluded
from metamery.analysis.experiment.key import Item, Key
from metamery.analysis.experiment.observers import observe, read_accuracy
from metamery.analysis.experiment.records import Record, Session
from metamery.framework import MetameryError


@pytest.fixture
def key(tmp_path: Path) -> Key:
    key = small_experiment(tmp_path, stimuli=16)
    checks = {f"check-{trial}": Item("headphones", "1", shown="tone") for trial in range(6)}
    return replace(key, items={**key.items, **checks})


def session(key: Key, **changes: object) -> Session:
    (one,) = observe(key, 1, read_accuracy(["1"], key), np.random.default_rng(0))
    return replace(one, **changes)


def times(one: Session, milliseconds: float, share: float = 1.0) -> tuple[Record, ...]:
    count = int(share * len(one.records))
    return tuple(replace(each, rt_ms=milliseconds) for each in one.records[:count]) + one.records[count:]


def test_nothing_excludes_an_observer_who_does_what_is_asked(key: Key) -> None:
    assert excluded(key, [session(key)], Rules()) == {"observer-0": ""}


def test_each_rule(key: Key) -> None:
    one = session(key)
    wrong = tuple(replace(each, answer="boat") if "catch" in each.item else each for each in one.records)
    checked = tuple(Record("headphones", trial, f"check-{trial}", "1" if trial < 4 else "2") for trial in range(6))
    for changes, without, reason in (
        ({"records": one.records[:7]}, Rules(complete=False), "incomplete: 7 of 20 trials"),
        ({"records": wrong}, Rules(catch=0.25), "catch trials: 1 of 4 right, less than 0.75"),
        ({"records": checked + one.records}, Rules(headphones=4), "headphone check: 4 right, fewer than 5"),
        ({"records": times(one, 150, 0.2)}, Rules(fast_share=0.2), "too fast: 4 of 20 trials below 0.2 s"),
        ({"records": times(one, 250)}, Rules(), ""),
        ({"records": times(one, 250)}, Rules(fast_median=0.2), ""),
    ):
        given = [replace(one, **changes)]
        assert excluded(key, given, Rules())["observer-0"] == reason
        assert excluded(key, given, without)["observer-0"] == ""
    slow = excluded(key, [replace(one, records=times(one, 250))], Rules(fast_median=0.3))
    assert slow["observer-0"] == "too fast: median 0.250 s, below 0.3 s"


def test_a_part_that_was_not_passed_is_the_reason(key: Key) -> None:
    given = [session(key, end="headphones", records=()), session(key, end="consent", records=(), session="two")]
    found = excluded(key, given, Rules(complete=False))
    assert found == {"observer-0": "did not pass the part 'headphones'", "two": "did not consent"}


def test_a_participant_counts_once_from_the_first_main_trial_on(key: Key) -> None:
    left, first, again = (
        session(key, session="left", records=(), end="practice"),
        session(key, session="first"),
        session(key, session="again"),
    )
    found = excluded(key, [left, first, again], Rules())
    assert (found["first"], found["again"]) == ("", "took part before")
    assert excluded(key, [first, again], Rules(first_visit=False))["again"] == ""


def test_a_record_of_another_item_is_not_an_answer(key: Key) -> None:
    one = session(key)
    swapped = (replace(one.records[0], item=one.records[1].item), *one.records[1:])
    assert excluded(key, [replace(one, records=swapped)], Rules())["observer-0"] == "incomplete: 19 of 20 trials"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cach": 0.9}, "unknown rule of exclusion 'cach'; did you mean 'catch'"),
        ({"catch": 2}, "catch is 2, expected a number from 0 to 1"),
        ({"complete": "yes"}, "complete is 'yes', expected true or false"),
        ({"headphones": -1}, "headphones is -1, expected a whole number of at least 0"),
    ],
)
def test_a_slip_in_a_rule_gets_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        Rules.from_options(options)
