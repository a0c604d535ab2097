"""The log of a run: a row of ``updates.csv`` for each update, to be read while the training goes on.

Rows are written before the checkpoint that they belong to; those of updates after it are removed when a training is
resumed, so that each update has one row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from ..framework.folders import UPDATES_FILE
from ..framework.replacing import replaced, writing_to

T = TypeVar("T")

LOG = UPDATES_FILE

COLUMNS = (
    "update", "epoch", "loss", "accuracy", "learning_rate", "gradient_norm", "signals_per_second", "waiting",
)  # fmt: skip
"""The columns: counts from 1; the loss and the accuracy on the signals as they were perturbed; the L2 norm of the
weights' gradient before it is clipped; signals a second and the share of the time spent waiting for signals, means of
the updates since the program last waited for the device."""

EVERY = 10.0
"""Seconds after which rows are written between checkpoints."""


class UpdateLog:
    """Rows of the updates since the last were written.

    Parameters
    ----------
    folder
        Folder of the run.
    updates
        Number of updates in an epoch.
    signals
        Number of signals of an update, over all processes.
    """

    def __init__(self, folder: Path, updates: int, signals: int) -> None:
        self.path = folder / LOG
        self._updates, self._signals = updates, signals
        self._rates: list[float] = []
        self._waited = 0.0
        self._began = self._wrote = time.perf_counter()
        self.rows: list[dict[str, float]] = []

    def resume(self, done: int) -> None:
        """Remove the rows of updates after the first `done`, which are made again."""
        if not self.path.exists():
            return
        with writing_to(self.path.parent):
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines[1:] if line.endswith("\n") and int(line.partition(",")[0]) <= done]
            if len(kept) < len(lines) - 1:
                with replaced(self.path) as partial:
                    partial.write_text("".join([_line(COLUMNS), *kept]), encoding="utf-8")

    def start(self) -> None:
        """Begin to measure the time, after work that is not of updates."""
        self._began, self._waited = time.perf_counter(), 0.0

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, and measure how long each takes to come."""
        items = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            yield item

    def note(self, rate: float) -> None:
        """Record the learning rate of an update."""
        self._rates.append(rate)

    def add(self, seen: torch.Tensor, last: int) -> None:
        """Add the rows of the latest updates, of which `last` is the last, counted from 1.

        `seen` has the loss, the accuracy and the norm of the gradient of each, ``(updates, 3)``.
        """
        seconds = max(time.perf_counter() - self._began, 1e-9)
        speed, waiting = len(seen) * self._signals / seconds, min(self._waited / seconds, 1.0)
        first = last - len(seen) + 1
        for update, rate, (loss, accuracy, norm) in zip(
            range(first, last + 1), self._rates, seen.tolist(), strict=True
        ):
            epoch = (update - 1) // self._updates + 1
            values = (update, epoch, loss, accuracy, rate, norm, speed, waiting)
            self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        self._rates.clear()
        self.start()

    @property
    def is_due(self) -> bool:
        """Whether rows have waited for `EVERY` seconds."""
        return time.perf_counter() - self._wrote > EVERY

    def write(self) -> list[dict[str, float]]:
        """Append the rows to the file, and return them.

        Raises
        ------
        MetameryError
            The file cannot be written.
        """
        text = "".join(_line(f"{value:.7g}" for value in row.values()) for row in self.rows)
        with writing_to(self.path.parent):
            head = "" if self.path.exists() else _line(COLUMNS)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(head + text)
        written, self.rows = self.rows, []
        self._wrote = time.perf_counter()
        return written


def _line(values: Iterable[str]) -> str:
    return ",".join(values) + "\n"
