"""Progress: the bar counts what is reported to it, and the silent one takes the same calls."""

from __future__ import annotations

import pytest
from metamery.framework.progress import Progress, ProgressBar


@pytest.mark.parametrize("make", [Progress, ProgressBar])
def test_any_progress_takes_the_same_calls(make: type[Progress], capsys: pytest.CaptureFixture[str]) -> None:
    with make() as progress:
        progress.start(10, "making")
        progress.describe("layer 1")
        progress.advance(4)
        progress.advance()
        progress.start(0)
    assert capsys.readouterr().out == ""  # standard output is for results


def test_the_bar_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as progress:
        progress.start(10)
        progress.advance(4)
        progress.describe("layer 1")
    said = capsys.readouterr().err
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
