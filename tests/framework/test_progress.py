"""Progress: the bar counts what is reported to it, and the silent one takes the same calls."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Said
from metamery.framework import MetameryError
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
        "layer 1: 65 of 100 (65 %), 30 s, 2 s each, 70 s left",
        "layer 1: 80 of 100 (80 %), 60 s, 2 s each, 40 s left",
        "layer 2: 91 of 100 (91 %), 2 min, 2.2 s each, 20 s left",
    ]


def test_short_work_prints_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with ProgressBar() as progress:
        progress.start(2, "quick")
        progress.advance(2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "last"),
    [(None, "finished"), (KeyboardInterrupt(), "stopped"), (MetameryError("no such file"), "error: no such file")],
)
def test_a_log_says_how_the_work_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, last: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/metamery", "run", "study"])
    monkeypatch.setattr(ProgressLines.__init__, "__defaults__", (0.0, time.monotonic))
    (tmp_path / "log").write_text("earlier\n")
    with suppress(KeyboardInterrupt, MetameryError), ProgressBar(tmp_path / "log") as progress:
        progress.start(100, "layer 1")
        progress.advance(10)
        progress.advance(10)
        if error is not None:
            raise error
    first, *lines = (tmp_path / "log").read_text().splitlines()
    assert first == "earlier"
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    begun, *shown, ended = (line[20:] for line in lines)
    assert (begun, ended) == ("metamery run study", last)
    assert all(line.startswith("layer 1: ") for line in shown)
    assert shown


def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path: Path, command: Callable[..., Said]) -> None:
    result = command(
        "synthesise", "small-cnn", "--stimuli", "natural", "-o", tmp_path / "study", "--log", tmp_path / "no" / "log"
    )
    assert result.status == 2
    assert f"cannot write to '{tmp_path / 'no' / 'log'}': No such file or directory" in result.error
    assert not (tmp_path / "study").exists()
