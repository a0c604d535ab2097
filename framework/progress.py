"""Progress of a computation, and the time left."""

from __future__ import annotations

from types import TracebackType
from typing import Self


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

    Examples
    --------
    ``with ProgressBar() as progress: metamers = synthesise(model, stimuli, progress=progress)``
    """

    def __init__(self) -> None:
        from rich.console import Console
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
            console=Console(stderr=True),
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
