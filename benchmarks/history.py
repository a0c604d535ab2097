"""Runs of the suite, read back, and how the newest compares with earlier ones on the same hardware."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

SLOWER = 1.2
"""A figure is marked if it is worse than the median of the earlier ones by more than this factor."""

Key = tuple[str, str, str, str, str, str]
"""What tells figures apart: benchmark, options, table, labels, title and unit."""


@dataclass(frozen=True)
class Figure:
    """A number of a benchmark, with what it is; see `table.Column`."""

    title: str
    unit: str
    better: str
    peer: str
    limit: str
    table: str
    across: str
    labels: dict[str, str | float]
    value: float | str | None

    @property
    def case(self) -> str:
        """Its row in words: its labels, numbers with what they are of."""
        return ", ".join(
            label if isinstance(label, str) else f"{name} {label:,}" for name, label in self.labels.items()
        )

    @property
    def gain(self) -> float | None:
        """By which factor metamery is better than what it is compared with; None where it is not compared."""
        if not (self.peer or self.limit) or not self.better or not self.number > 0:
            return None
        return self.number if self.better == "higher" else 1 / self.number

    @property
    def number(self) -> float:
        """Its value as a number; NaN where it is a text or missing."""
        return self.value if isinstance(self.value, int | float) else math.nan


@dataclass(frozen=True)
class Run:
    """A run of the suite."""

    made: datetime
    size: str
    commit: str
    hardware: dict[str, Any]
    versions: dict[str, str]
    benchmarks: list[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> Run:
        found = json.loads(file.read_text(encoding="utf-8"))
        return cls(**found | {"made": datetime.fromisoformat(found["made"])})

    @property
    def machine(self) -> str:
        """The hardware, as far as runs are compared by it."""
        threads = f"{self.hardware['cores']} cores, {self.hardware['threads']} threads"
        return ", ".join(filter(None, [self.hardware["processor"], threads, self.hardware.get("GPU", "")]))

    @cached_property
    def figures(self) -> dict[Key, Figure]:
        """All figures."""
        return {
            key(benchmark, figure): figure
            for benchmark in self.benchmarks
            for figure in (Figure(**given) for given in benchmark["figures"])
        }


def key(benchmark: dict[str, Any], figure: Figure) -> Key:
    labels = json.dumps(figure.labels)
    return benchmark["benchmark"], benchmark["options"], figure.table, labels, figure.title, figure.unit


def read_runs(folder: Path) -> list[Run]:
    """Return all runs of a folder, the oldest first."""
    return sorted((Run.read(file) for file in folder.glob("*.json")), key=lambda run: run.made)


def course(runs: Sequence[Run], of: Key) -> list[tuple[Run, float]]:
    """Return a figure in all runs that have it."""
    found = ((run, run.figures[of].number) for run in runs if of in run.figures)
    return [(run, number) for run, number in found if math.isfinite(number)]


def worse(runs: Sequence[Run], of: Key) -> float | None:
    """Return by which factor a figure of the newest run is worse than the median of the earlier ones on its hardware.

    None where there is no earlier one, neither direction is better, or either is not above 0.
    """
    newest = runs[-1]
    figure = newest.figures[of]
    earlier = [number for run, number in course(runs[:-1], of) if run.machine == newest.machine]
    if not figure.better or not earlier or not min(figure.number, median(earlier)) > 0:
        return None
    change = figure.number / median(earlier)
    return change if figure.better == "lower" else 1 / change
