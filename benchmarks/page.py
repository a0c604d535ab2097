"""The page of the suite's results, in the style of metamery's reports; ``python benchmarks/page.py`` draws it again."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from history import SLOWER, Figure, Key, Run, course, key, read_runs, worse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from metamery.analysis import report
from metamery.analysis.report.charts import Axis, Chart, linear
from metamery.analysis.report.numbers import number

HERE = Path(__file__).parent
REPORT = Path(report.__file__).parent
SMALL, LARGE = (170, 80), (240, 140)  # pixels of charts of earlier runs, and of growth
STYLES = 8  # of lines in the report's style sheet


@dataclass(frozen=True)
class Cell:
    """A figure as the page shows it; `worse` is by which factor it is worse than before, if that is to be marked."""

    figure: Figure
    worse: float | None

    @property
    def text(self) -> str:
        value = self.figure.value
        return "" if value is None else value if isinstance(value, str) else number(value)


@dataclass(frozen=True)
class Table:
    title: str
    heads: list[str]
    rows: list[tuple[list[str], list[Cell]]]


@dataclass(frozen=True)
class Bar:
    """A ratio as a bar from 1; its ends in percent of the width."""

    benchmark: str
    anchor: str
    cell: Cell
    low: float
    high: float


@dataclass(frozen=True)
class Course:
    """The drawing of a figure in all runs."""

    cell: Cell
    chart: Markup


@dataclass(frozen=True)
class Section:
    """A benchmark."""

    anchor: str
    name: str
    found: dict[str, Any]
    tables: list[Table]
    courses: list[Course]


def write_page(folder: Path) -> Path:
    """Draw all runs of a folder as ``index.html`` in it."""
    page = folder / "index.html"
    page.write_text(render(read_runs(folder)), encoding="utf-8")
    return page


def render(runs: Sequence[Run]) -> str:
    """Return the page: figures of the newest run, and the course of each over all runs."""
    newest = runs[-1]
    machines = [newest.machine, *sorted({run.machine for run in runs} - {newest.machine})]
    sections = [_section(index, found, runs, machines) for index, found in enumerate(newest.benchmarks)]
    environment = Environment(
        loader=FileSystemLoader([HERE, REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template("results.html").render(
        style=Markup("\n".join((REPORT / name).read_text(encoding="utf-8") for name in ("page.css", "figures.css"))),
        newest=newest,
        earlier=sum(run.machine == newest.machine for run in runs) - 1,
        machines=[(_style(machine, machines), machine) for machine in machines],
        sections=sections,
        bars=list(_bars(sections)),
        growth=list(_growth(sections)),
        marked=[(section, cell) for section in sections for cell in _cells(section) if cell.worse],
        slower=round(100 * (SLOWER - 1)),
        seconds=sum(found["seconds"] for found in newest.benchmarks),
        has_contents=False,
    )


def _section(index: int, found: dict[str, Any], runs: Sequence[Run], machines: list[str]) -> Section:
    cells = {}
    for figure in (Figure(**given) for given in found["figures"]):
        of = key(found, figure)
        change = worse(runs, of)
        cells[of] = Cell(figure, change if change and change > SLOWER else None)
    courses = [Course(cell, _course(runs, of, machines)) for of, cell in cells.items() if _is_drawn(runs, of, cell)]
    courses.sort(key=lambda course: not course.cell.worse)
    return Section(f"{found['benchmark']}-{index}", found["benchmark"], found, _tables(cells.values()), courses)


def _is_drawn(runs: Sequence[Run], of: Key, cell: Cell) -> bool:
    return bool(cell.figure.better) and len(course(runs, of)) > 1


def _cells(section: Section) -> Iterator[Cell]:
    for table in section.tables:
        for _, cells in table.rows:
            yield from cells


def _tables(cells: Any) -> list[Table]:
    """Put figures into their tables again."""
    grouped: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        grouped.setdefault(cell.figure.table, {}).setdefault(cell.figure.case, []).append(cell)
    tables = []
    for title, rows in grouped.items():
        first = next(iter(rows.values()))
        heads = [*first[0].figure.labels, *(_head(cell.figure) for cell in first)]
        body = [([_label(value) for value in row[0].figure.labels.values()], row) for row in rows.values()]
        tables.append(Table(title, heads, body))
    return tables


def _head(figure: Figure) -> str:
    return ", ".join(filter(None, [figure.title, figure.unit]))


def _label(value: str | float) -> str:
    return value if isinstance(value, str) else number(value)


def _bars(sections: list[Section]) -> Iterator[Bar]:
    """Draw all ratios on one logarithmic scale, those to peers first."""
    found = [(s, cell) for s in sections for cell in _cells(s) if cell.figure.gain]
    reach = max((abs(math.log(cell.figure.gain)) for _, cell in found), default=1.0) or 1.0
    for section, cell in sorted(found, key=lambda pair: not pair[1].figure.peer):
        end = 50 + 50 * math.log(cell.figure.gain) / reach
        yield Bar(section.name, section.anchor, cell, min(50, end), max(50, end))


def _growth(
    sections: list[Section],
) -> Iterator[tuple[Section, str, list[tuple[str, Markup]], list[tuple[str, str]]]]:
    """Draw the tables along numbers: for each, a chart of each column, and the styles and names of the lines."""
    for section in sections:
        for table in section.tables:
            columns: dict[str, list[Cell]] = {}
            for _, cells in table.rows:
                for cell in cells:
                    if cell.figure.across and cell.figure.better and math.isfinite(cell.figure.number):
                        columns.setdefault(_head(cell.figure), []).append(cell)
            charts = [(head, _growth_chart(cells)) for head, cells in columns.items() if len(cells) > 1]
            if charts:
                lines = _lines(next(iter(columns.values())))
                legend = [(f"s{number}", line) for number, line in enumerate(lines, 1)] if len(lines) > 1 else []
                yield section, table.title, charts, legend


def _lines(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Figures of a column by their labels but the one that they are drawn along."""
    lines: dict[str, list[Cell]] = {}
    for cell in cells:
        others = (str(label) for name, label in cell.figure.labels.items() if name != cell.figure.across)
        lines.setdefault(", ".join(others), []).append(cell)
    return dict(list(lines.items())[:STYLES])


def _growth_chart(cells: list[Cell]) -> Markup:
    figure = cells[0].figure
    most, highest = (max(_at(cell) for cell in cells), max(cell.figure.number for cell in cells))
    chart = Chart(linear(figure.across, 0, most, whole=True), linear(figure.unit, 0, 1.05 * highest), *LARGE)
    for style, line in enumerate(_lines(cells).values(), 1):
        across, values = [_at(cell) for cell in line], [cell.figure.number for cell in line]
        chart.line(across, values, f"series s{style}")
        chart.points(across, values, f"series s{style}")
    return chart.svg(f"{_head(figure)} against {figure.across}; the numbers are in the table")


def _at(cell: Cell) -> float:
    return float(cell.figure.labels[cell.figure.across])


def _course(runs: Sequence[Run], of: Key, machines: list[str]) -> Markup:
    """Draw a figure in all runs: a line for each hardware."""
    figure, found = runs[-1].figures[of], course(runs, of)
    times = [run.made.timestamp() for run, _ in found]
    first, last = found[0][0].made, found[-1][0].made
    margin = 0.04 * (times[-1] - times[0]) or 1.0
    form = "%d %b" if (last - first).days else "%H:%M"
    ticks = [(times[0], f"{first:{form}}"), (times[-1], f"{last:{form}}")]
    across = Axis("", times[0] - margin, times[-1] + margin, ticks)
    values = [value for _, value in found]
    chart = Chart(across, linear(figure.unit, min(0.0, *values), 1.08 * max(*values, 1e-9), 3), *SMALL)
    for machine in machines:
        own = [(run.made.timestamp(), value) for run, value in found if run.machine == machine]
        if own:
            chart.line(*zip(*own, strict=True), f"series {_style(machine, machines)}")
            chart.points(*zip(*own, strict=True), f"series {_style(machine, machines)}")
    return chart.svg(f"{figure.case}, {figure.title} in {len(found)} runs; the last is {number(figure.number)}")


def _style(machine: str, machines: list[str]) -> str:
    return f"s{machines.index(machine) % STYLES + 1}"


if __name__ == "__main__":
    print(write_page(Path(sys.argv[1]) if sys.argv[1:] else HERE / "results"))
