"""Commands that are killed at file events, and commands side by side: a few of the trials that `trials.py` can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def trials(*arguments: object) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("trials.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said, done.stderr
    return said


@pytest.mark.parametrize(
    ("case", "every", "first"),
    [("evaluate again", 35, 20), ("export again", 16, 4), ("synthesise", 700, 300), ("prepare", 2, 1)],
)
def test_killed_at_a_file_event_and_run_again_is_never_killed(case: str, every: int, first: int) -> None:
    *wrong, sum_ = trials("kill", every, case, "--first", first)
    assert wrong == []
    assert sum_["killed"] >= 2


def test_five_evaluators_at_once_lose_nothing() -> None:
    *wrong, _ = trials("evaluators", 1)
    assert wrong == []


def test_of_two_syntheses_at_once_one_is_told_who_works() -> None:
    *wrong, sum_ = trials("together", 1, "synthesise")
    assert wrong == []
    assert sum_["refused"] == 1
