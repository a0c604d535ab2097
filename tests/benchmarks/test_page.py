"""The page of the benchmarks: ratios, growth, and figures that became worse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from experiment_pages import chromium
from history import read_runs, worse
from page import write_page

HARDWARE = {"cores": 2, "threads": 2, "memory, GiB": 8, "system": "Debian", "Python": "3.11"}
EPYC, XEON = "AMD EPYC", "Intel Xeon"


def figure(
    title: str, value: float | str | None, unit: str = "ms", better: str = "lower", **more: Any
) -> dict[str, Any]:
    base = {"table": "One update", "across": "", "labels": {"layer": "conv1"}, "peer": "", "limit": ""}
    return base | {"title": title, "unit": unit, "better": better, "value": value} | more


def write_run(folder: Path, day: int, milliseconds: float, ratio: float, processor: str = EPYC) -> None:
    grown = [
        figure("time", float(value), "s", table="Growth", across="stimuli", labels={"stimuli": stimuli})
        for stimuli, value in ((8, 1), (16, 2), (32, 4))
    ]
    figures = [
        figure("metamery", milliseconds),
        figure("peer / metamery", ratio, "×", "higher", peer="a peer"),
        figure("raw / metamery", 0.9, "×", "higher", limit="the bare pass"),
        figure("updates", "not reached", "", ""),
        figure("loss", None, "", ""),
        *grown,
    ]
    found = {"benchmark": "synthesis", "options": "", "question": "How fast?", "outcome": "done", "seconds": 3.0}
    run = {"made": f"2026-11-{day:02}T10:00:00+00:00", "size": "small", "commit": "abc1234", "versions": {"torch": "2"}}
    run |= {"hardware": {"processor": processor, **HARDWARE}}
    run |= {"benchmarks": [found | {"figures": figures, "notes": ["all the same"]}]}
    folder.mkdir(exist_ok=True)
    (folder / f"{day}.json").write_text(json.dumps(run), encoding="utf-8")


@pytest.fixture
def slow_third(tmp_path: Path) -> Path:
    """Two runs, one on another machine that is faster, and a slow one."""
    for day, milliseconds, ratio in ((1, 10, 4), (2, 11, 4.2), (4, 14, 4.1)):
        write_run(tmp_path, day, milliseconds, ratio)
    write_run(tmp_path, 3, 1, 4, XEON)
    return tmp_path


def marks(page: str) -> list[str]:
    return re.findall(r"▲ ([\d.]+)×", page)


def test_a_figure_that_became_worse_is_marked_beside_those_of_its_own_hardware(slow_third: Path) -> None:
    page = write_page(slow_third).read_text(encoding="utf-8")
    assert set(marks(page)) == {"1.33"}  # 14 against the median of 10 and 11
    assert "synthesis</a> (conv1, metamery) 1.33×" in page
    assert "2 earlier on this hardware" in page
    assert f"{XEON}, 2 cores, 2 threads</span>" in page  # a line of its own


@pytest.mark.parametrize(("milliseconds", "ratio", "found"), [(12.5, 4, []), (10, 3, ["1.37"]), (5, 9, [])])
def test_only_what_is_a_fifth_worse_is_marked(
    milliseconds: float, ratio: float, found: list[str], tmp_path: Path
) -> None:
    for day, *values in ((1, 10, 4), (2, 11, 4.2), (3, milliseconds, ratio)):
        write_run(tmp_path, day, *values)
    assert sorted(set(marks(write_page(tmp_path).read_text(encoding="utf-8")))) == found


def test_a_first_run_has_nothing_to_compare_with(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 10, 4)
    write_run(tmp_path, 2, 30, 4, XEON)
    page = write_page(tmp_path).read_text(encoding="utf-8")
    runs = read_runs(tmp_path)
    assert [worse(runs, of) for of in runs[-1].figures] == [None] * 8
    assert marks(page) == []


def test_growth_is_drawn_and_tables_keep_their_cells(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 10, 4)
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert 'aria-label="time, s against stimuli; the numbers are in the table"' in page
    assert '<td class="n">not reached</td><td class="n"></td>' in page
    assert page.index("Other programs") < page.index("Limits") < page.index("How it grows")


def test_the_page_in_a_browser(slow_third: Path) -> None:
    with chromium() as browser:
        page, said = browser.new_page(viewport={"width": 1200, "height": 900}), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(write_page(slow_third).as_uri())
        assert page.locator("details[open] .charts figure").count() == 6
        assert page.locator("details[open] figure .lost").first.is_visible()
        widths = [page.evaluate("document.documentElement.scrollWidth")]
        bars = [bar.bounding_box()["width"] for bar in page.locator(".gain i").all()]
        assert bars[0] > 5 * bars[1] > 0  # 4.1 times, and 0.9
        page.set_viewport_size({"width": 390, "height": 800})
        widths.append(page.evaluate("document.documentElement.scrollWidth"))
        assert widths == [1200, 390]
        assert said == []
