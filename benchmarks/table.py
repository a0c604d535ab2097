"""What benchmarks share: their options, and tables that are printed row by row and kept as records.

With ``--json FILE`` each figure and each note is added to the file as a line of JSON as soon as it is known, so that
those of a benchmark that fails later are there. `suite.py` reads these lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

SKIPPED = 77
"""Exit status of a benchmark that needs what is not there."""


@dataclass(frozen=True)
class Column:
    """What the figures of a column are.

    Parameters
    ----------
    title, unit
        What is measured, and in what.
    better
        ``lower`` or ``higher``; empty where neither is.
    peer
        What metamery is compared with, where the figure is a ratio to it.
    limit
        The limit that it is compared with, where the figure is a ratio to one.
    """

    title: str
    unit: str = ""
    better: str = "lower"
    peer: str = ""
    limit: str = ""


class Benchmark:
    """The options of a benchmark, and what it prints.

    Parameters
    ----------
    description
        The script's docstring; its first line describes it in ``--help``.
    """

    def __init__(self, description: str) -> None:
        self._parser = argparse.ArgumentParser(description=description.partition("\n")[0])
        self.option = self._parser.add_argument
        self.option("--threads", type=int, help="of PyTorch, which has its own default")
        self.option("--json", type=Path, help="file to which each figure is added as a line")
        self._file: Path | None = None

    def parse(self) -> argparse.Namespace:
        """Read the command line and set the number of threads, of processes that are started later too."""
        given = self._parser.parse_args()
        self._file = given.json
        if given.threads:
            import torch

            os.environ["OMP_NUM_THREADS"] = str(given.threads)
            torch.set_num_threads(given.threads)
        return given

    def head(self, *packages: str) -> None:
        """Print the hardware and the versions of some packages."""
        print(machine_line())
        print(", ".join(f"{name} {version(name)}" for name in ("metamery", "torch", *packages)))

    def note(self, text: str) -> None:
        """Print a line that belongs to the results."""
        print(text, flush=True)
        self.keep({"note": text})

    def table(self, title: str, labels: Sequence[str], columns: Sequence[Column], across: str = "") -> Table:
        """Begin a table; see `Table`."""
        return Table(self, title, labels, columns, across)

    def keep(self, record: dict[str, Any]) -> None:
        """Add a record to the file of ``--json``."""
        if self._file:
            with self._file.open("a", encoding="utf-8") as file:
                print(json.dumps(record, ensure_ascii=False), file=file)


class Table:
    """A table that grows row by row, printed as Markdown.

    Parameters
    ----------
    benchmark
        Benchmark that the table belongs to.
    title
        Title, the same in each run.
    labels
        Titles of the first columns, whose cells tell the rows apart.
    columns
        Columns of figures.
    across
        One of `labels` whose cells are numbers, along which the figures are drawn as curves.
    """

    def __init__(
        self, benchmark: Benchmark, title: str, labels: Sequence[str], columns: Sequence[Column], across: str = ""
    ) -> None:
        self._benchmark, self._title, self._labels, self._columns = benchmark, title, labels, columns
        self._across = across
        self._heads = [
            *labels,
            *(f"{column.title}, {column.unit}" if column.unit else column.title for column in columns),
        ]
        print(f"\n{title}\n\n| {' | '.join(self._heads)} |\n|{'---|' * len(self._heads)}", flush=True)

    def row(self, *cells: str | float | None) -> None:
        """Print the cells of a row, and keep its figures; None is an empty cell."""
        labels, values = cells[: len(self._labels)], cells[len(self._labels) :]
        texts = [str(label) for label in labels] + [shown(value) for value in values]
        padded = (text.ljust(len(head)) for text, head in zip(texts, self._heads, strict=True))
        print(f"| {' | '.join(padded)} |", flush=True)
        for column, value in zip(self._columns, values, strict=True):
            record = {
                "table": self._title,
                "across": self._across,
                "labels": dict(zip(self._labels, labels, strict=True)),
            }
            is_number = value is not None and not isinstance(value, str)
            self._benchmark.keep(record | column.__dict__ | {"value": float(f"{value:.6g}") if is_number else value})


def shown(value: str | float | None) -> str:
    """Print three digits, and large numbers in full.

    >>> shown(0.012345), shown(12345.6), shown(8), shown(None)
    ('0.0123', '12,346', '8', '')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def skip(reason: str) -> NoReturn:
    """End a benchmark that needs what is not there."""
    print(reason, file=sys.stderr)
    raise SystemExit(SKIPPED)


def machine() -> dict[str, Any]:
    """Return what the machine is, without its name."""
    import torch

    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory, GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": _system(),
        "Python": platform.python_version(),
    }
    return found | ({"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def machine_line() -> str:
    """Say the same in a line."""
    found = machine()
    card = f", {found['GPU']}" if "GPU" in found else ""
    return f"{found['processor']}, cores: {found['cores']}, threads: {found['threads']}{card}, Python {found['Python']}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
