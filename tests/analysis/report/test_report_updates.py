"""A run's report draws its log of updates: means over equal stretches, between the lowest and the highest."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis import write_report
from metamery.analysis.report.updates import updates
from metamery.framework import MetameryError
from metamery.framework.folders import UPDATES_FILE
from metamery.framework.store import StudyStore
from metamery.training.update_log import COLUMNS

HEAD = ",".join(COLUMNS)


def row(update: int, loss: float) -> str:
    return f"{update},1,{loss:.7g},0.5,0.1,2,100,0"


def log(folder: Path, losses: list[float], more: str = "") -> Path:
    rows = [row(update, loss) for update, loss in enumerate(losses, 1)]
    (folder / UPDATES_FILE).write_text("\n".join([HEAD, *rows, more]))
    return folder


def heights(chart: str, style: str) -> list[float]:
    """Heights of a path's points, in pixels from the top."""
    (path,) = re.findall(rf'<path class="{style}" d="([^"]*)"', chart)
    return [float(height) for height in re.findall(r"[-\d.]+[ ,]([-\d.]+)", path)]


def test_a_short_log_is_drawn_update_by_update(tmp_path: Path) -> None:
    found = updates(log(tmp_path, [0.0, 2.0, 1.0]))
    assert found is not None
    assert (found.count, found.stretch) == (3, 1)
    name, _, chart = found.charts[0]
    first, second, third = heights(chart, "median")
    assert (name, 'class="range"' in chart) == ("loss", False)
    assert first > third > second  # down the page
    assert third == pytest.approx((first + second) / 2, abs=0.2)


def test_a_long_log_is_drawn_as_means_of_stretches(tmp_path: Path) -> None:
    losses = [float(3 * (update % 2)) for update in range(1000)]  # 0 and 3 in turns
    found = updates(log(tmp_path, [*losses, 1.5]))
    assert found is not None
    assert (found.count, found.stretch) == (1001, 5)
    chart = found.charts[0][2]
    drawn, area = heights(chart, "median"), heights(chart, "range")
    assert len(drawn) == 201
    assert len({round(height) for height in area}) == 3  # 0, 3, and the last alone
    bottom, top = max(area), min(area)
    shares = [(bottom - height) / (bottom - top) for height in drawn]
    assert shares[:2] == pytest.approx([2 / 5, 3 / 5], abs=0.01)
    assert shares[-1] == pytest.approx(0.5, abs=0.01)


def test_a_row_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    found = updates(log(tmp_path, [1.0, 2.0], "3,1,0.5"))
    assert found is not None
    assert found.count == 2


@pytest.mark.parametrize("losses", [None, [], [1.0]])
def test_without_a_log_nothing_is_drawn(tmp_path: Path, losses: list[float] | None) -> None:
    if losses is not None:
        log(tmp_path, losses)
    assert updates(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "is damaged: it has no column 'update'"),
        (f"{HEAD}\n1,2\n3,4\n", "is damaged: 2 columns, and 8 names"),
        (f"{HEAD}\n{row(1, 1)}\n{row(2, 1).replace('0.5', 'half')}\n", "is damaged: could not convert string 'half'"),
    ],
)
def test_a_damaged_log_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / UPDATES_FILE).write_text(text)
    with pytest.raises(MetameryError, match=f"'.*{UPDATES_FILE}' {said}"):
        updates(tmp_path)


def test_a_run_s_page_has_them_beside_its_epochs(tmp_path: Path) -> None:
    loss = ("epoch", np.array([1.0, 0.5]), {"long_name": "loss", "units": "nat"})
    attributes = {"run": 'classes = ["a", "b"]\n[model]\nname = "small-cnn"\n'}
    StudyStore.create(tmp_path, {}, attributes)
    StudyStore.reopen(tmp_path).add("history", xr.Dataset({"loss": loss}, {"epoch": [1, 2]}))
    assert 'id="updates"' not in write_report(tmp_path).read_text(encoding="utf-8")
    page = write_report(log(tmp_path, [1.0, 2.0, 3.0])).read_text(encoding="utf-8")
    assert page.index('id="evaluation-history"') < page.index('id="updates"') < page.index('id="asked"')
    assert "3 updates" in page
