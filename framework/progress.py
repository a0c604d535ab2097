"""Progress of a computation, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from .errors import MetameryError

if TYPE_CHECKING:
    from rich.console import Console

LINE_SECONDS = 30.0
"""Seconds between lines of progress where there is no terminal."""


class Progress:
    """Receiver of a computation's progress; this one displays nothing."""

    def start(self, total: int, description: str = "") -> None:
        """Set the total number of steps."""

    def advance(self, steps: int = 1) -> None:
        """Report that more steps are done."""

    def describe(self, description: str) -> None:
        """Describe the current work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class ProgressBar(Progress):
    """A bar in the terminal or the notebook, with the time left; it appears when the work starts.

    Where standard error is neither, such as a scheduler's log, it is a line now and then, see `ProgressLines`.

    Parameters
    ----------
    log
        File to which lines are appended as well, with the time, and how the work ended.
    profile
        File for a profile of some steps, see `Profile`.

    Raises
    ------
    MetameryError
        One of the files cannot be written to.

    Examples
    --------
    ``with ProgressBar() as progress: metamers = synthesise(model, stimuli, progress=progress)``
    """

    def __init__(self, log: str | Path | None = None, profile: str | Path | None = None) -> None:
        from rich.console import Console

        from .profiling import Profile

        console = Console(stderr=True)
        shows_bars = console.is_terminal or console.is_jupyter
        self._shown: list[Progress] = [_Bar(console) if shows_bars else ProgressLines(sys.stderr)]
        if log is not None:
            self._shown.append(_Log(Path(log)))
        if profile is not None:
            self._shown.append(Profile(Path(profile)))

    def start(self, total: int, description: str = "") -> None:
        for shown in self._shown:
            shown.start(total, description)

    def advance(self, steps: int = 1) -> None:
        for shown in self._shown:
            shown.advance(steps)

    def describe(self, description: str) -> None:
        for shown in self._shown:
            shown.describe(description)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shown in self._shown:
            shown.__exit__(kind, error, trace)


class _Bar(Progress):
    """A bar on a console of rich."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=None, start=False)

    def start(self, total: int, description: str = "") -> None:
        self._bar.reset(self._task, total=total, description=description)
        self._bar.start()

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)

    def describe(self, description: str) -> None:
        self._bar.update(self._task, description=description)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


class ProgressLines(Progress):
    """Progress as lines, one every 30 seconds: ``layer 1: 40 of 100 (40 %), 2 min, 3 s each, 3 min left``.

    Work that is done sooner prints nothing.

    Parameters
    ----------
    stream
        Where lines are written, and flushed.
    interval
        Seconds between lines.
    clock
        Function that returns the time in seconds.
    """

    def __init__(
        self, stream: TextIO, interval: float = LINE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._interval, self._clock = stream, interval, clock
        self._total = self._done = 0
        self._description = ""
        self._began = self._printed = clock()
        self._first = (self._began, 0)  # time and steps at the first report, which may be of work that was resumed

    def start(self, total: int, description: str = "") -> None:
        self._total, self._done, self._description = total, 0, description
        self._began = self._printed = self._clock()
        self._first = (self._began, 0)

    def advance(self, steps: int = 1) -> None:
        now = self._clock()
        if not self._done:
            self._first = (now, steps)
        self._done += steps
        if now - self._printed >= self._interval:
            self._printed = now
            self._print(now)

    def describe(self, description: str) -> None:
        self._description = description

    def _print(self, now: float) -> None:
        what = f"{self._description}: " if self._description else ""
        share = f" ({100 * self._done / self._total:.0f} %)" if self._total else ""
        since, steps = self._first if self._done > self._first[1] else (self._began, 0)
        each = (now - since) / max(1, self._done - steps)
        left = max(0, self._total - self._done) * each
        taken = f"{duration(now - self._began)}, {each:.2g} s each, {duration(left)} left"
        self._write(f"{what}{self._done} of {self._total}{share}, {taken}")

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class _Log(ProgressLines):
    """Lines in a file, each with the time; the first gives the command, and the last how it ended."""

    def __init__(self, path: Path) -> None:
        try:
            stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise MetameryError(f"cannot write to '{path}': {error.strerror or error}") from None
        super().__init__(stream)
        self._write(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._write("stopped")
        else:
            self._write("finished" if error is None else f"error: {error or type(error).__name__}")
        self._stream.close()

    def _write(self, text: str) -> None:
        super()._write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")


def duration(seconds: float) -> str:
    """Format a duration in a suitable unit.

    >>> duration(12), duration(600), duration(7200)
    ('12 s', '10 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
