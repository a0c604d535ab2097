"""Alternatives of single trials in the key, at the server, in synthetic answers and in the tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from metamery.analysis.experiment.human import counted, human_dataset
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.observers import observe, read_accuracy
from metamery.analysis.experiment.trials import trials
from small_experiment import CHOICES, small_key

TWO = ("cat", "dog")


@pytest.fixture
def key() -> Key:
    """Two alternatives at every trial whose right answer is one of them; three at the others."""
    key = small_key()
    items = {
        name: replace(item, alternatives=TWO) if item.role == "main" and item.answer in TWO else item
        for name, item in key.items.items()
    }
    return replace(key, items=items, models={"net": ("layer1",)})


def test_the_key_keeps_them(key: Key, tmp_path: Path) -> None:
    key.write(tmp_path)
    read = Key.read(tmp_path)
    assert read == key
    offered = [read.offered(name) for name, item in read.items.items() if item.role == "main"]
    assert offered.count(TWO) == 6
    assert offered.count(CHOICES) == 2
    assert read.chance == pytest.approx((6 / 2 + 2 / 3) / 8)


def test_the_server_takes_no_other_answer(key: Key) -> None:
    bodies = pytest.importorskip("metamery.analysis.experiment.server.bodies")
    number, item = next((n, name) for n, name in enumerate(key.trials(0)) if key.items[name].alternatives)
    given = {"part": "main", "number": number, "item": item, "rt_ms": 500.0}
    assert bodies.record({**given, "answer": "dog"}, "main", number, key, 0).answer == "dog"
    with pytest.raises(Exception, match="the answer is not among the choices"):
        bodies.record({**given, "answer": "bird"}, "main", number, key, 0)


def test_answers_chance_and_tables_follow(key: Key) -> None:
    sessions = observe(key, 40, read_accuracy(["chance", "catch=1"], key), np.random.default_rng(0))
    table = trials(key, sessions, {session.session: "" for session in sessions})
    main = table[table["role"] == "main"]
    own = main[main["category"] != "bird"]
    assert set(own["alternatives"]) == {'["cat", "dog"]'}
    assert set(own["answer"]) == {"cat", "dog"}
    assert set(main.loc[main["category"] == "bird", "alternatives"]) == {""}
    import pandas as pd

    known = pd.DataFrame(columns=["model", "layer", "stimulus", "seed", "network"]).astype({"seed": int})
    human = human_dataset(counted(table, key, known), key, generator=np.random.default_rng(0), resamples=20)
    assert human.attrs["chance"] == key.chance
