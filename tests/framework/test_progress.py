"""Progress: the bar counts what is reported to it, and the silent one takes the same calls."""

from __future__ import annotations

import io
import re

import pytest
from metamery.framework.progress import Progress, ProgressBar, ProgressLines, duration


@pytest.mark.parametrize("make", [Progress, ProgressBar])
def test_any_progress_takes_the_same_calls(make: type[Progress], capsys: pytest.CaptureFixture[str]) -> None:
    with make() as progress:
        progress.start(10, "making")
        progress.describe("layer 1")
        progress.advance(4)
        progress.advance()
        progress.start(0)
    assert capsys.readouterr().out == ""  # standard output is for results


def test_the_bar_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    with ProgressBar() as progress:
        progress.start(10)
        progress.advance(4)
        progress.describe("layer 1")
    said = re.sub("\\x1b\\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "layer 1" in said
    assert "4/10" in said


def test_an_error_passes_through() -> None:
    def work() -> None:
        with ProgressBar() as progress:
            progress.start(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_nothing_is_shown_before_the_work_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), ProgressBar():
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""


def test_durations_are_told_in_units_a_person_uses() -> None:
    assert [duration(seconds) for seconds in (0.2, 89, 100, 5399, 7200)] == ["0 s", "89 s", "2 min", "90 min", "2.0 h"]


def test_where_there_is_no_terminal_a_line_is_printed_every_half_minute() -> None:
    said, now = io.StringIO(), 0.0
    with ProgressLines(said, clock=lambda: now) as progress:
        progress.start(100, "layer 1")
        progress.advance(50)  # resumed: this took no time
        for _ in range(40):
            now += 2.0
            progress.advance()
        progress.describe("layer 2")
        now += 10.0
        progress.advance()
    assert said.getvalue().splitlines() == [
        "layer 1: 65 of 100 (65 %), 30 s, 70 s left",
        "layer 1: 80 of 100 (80 %), 60 s, 40 s left",
        "layer 2: 91 of 100 (91 %), 2 min, 20 s left",
    ]


def test_short_work_prints_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with ProgressBar() as progress:
        progress.start(2, "quick")
        progress.advance(2)
    assert capsys.readouterr().err == ""
