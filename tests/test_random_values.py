"""Random values for every option, entry, table and stored attribute: success, or one line; never a traceback.

``python tests/random_values --count 10000 --seed 1`` tries as many as one likes; this tries a few.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent / "random_values"
COUNT = os.environ.get("METAMERY_RANDOM_VALUES", "25")


def test_no_value_gives_a_traceback(tmp_path: Path) -> None:
    given = [sys.executable, str(HARNESS), "--count", COUNT, "--seed", "34"]
    done = subprocess.run(  # noqa: PLW1510
        given, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    *failures, summary = done.stdout.splitlines() or [done.stderr]
    assert not failures, "\n".join(failures)
    assert (done.returncode, done.stderr) == (0, "")
    ends = json.loads(summary)["ends"]
    assert sum(ends.values()) == int(COUNT)
    assert len({end.partition(":")[0] for end in ends}) == 10  # every kind of case
    assert {end.rpartition(" ")[2] for end in ends} == {"0", "2"}


@pytest.mark.parametrize(
    ("status", "err", "is_right"),
    [
        (0, "", True),
        (0, "warning: something\n", True),
        (2, "error: something\n", True),
        (2, "", False),
        (2, "error: one\nerror: two\n", False),
        (2, "Traceback (most recent call last):\nerror: something\n", False),
        (1, "error: something\n", False),
        (0, "error: something\n", False),
        ("KeyError", "", False),
        ("TooSlowError", "", False),
    ],
)
def test_what_is_right(status: object, err: str, is_right: bool) -> None:
    told = (
        f"import sys; sys.path.insert(0, {str(HARNESS)!r}); from ends import wrong; print(wrong({status!r}, {err!r}))"
    )
    said = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.strip()
    assert (said == "") is is_right
