"""Progress: how far a computation is, and how long it will still take."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Progress:
    """Where a computation reports its progress; this one stays silent."""

    def start(self, total: int, description: str = "") -> None:
        """Say how many steps there will be."""

    def advance(self, steps: int = 1) -> None:
        """Say that some more steps are done."""

    def describe(self, description: str) -> None:
        """Say what is being done now."""

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
