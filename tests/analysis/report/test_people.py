"""People beside models on the page."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from metamery.analysis import write_report
from metamery.analysis.report.people import people
from metamery.framework.schema import site_coordinates

SITES = [(model, layer) for model in ("a:net", "b:<net>") for layer in ("natural", "conv1", "output")]
CHOICES = ["bear", "boat"]
ONE = {"long_name": "a share", "units": "1"}


def human(choices: int = 2) -> xr.Dataset:
    recognised = np.array([0.9, 0.8, 0.3, 0.95, 0.7, 0.5])
    names = CHOICES if choices == 2 else [f"word{number}" for number in range(choices)]
    counts = np.zeros((len(SITES), choices, choices), np.int32)
    counts[:, 0, :2] = [3, 1]
    variables = {
        "recognised": ("site", recognised, ONE),
        "recognised_low": ("site", recognised - 0.1, ONE),
        "recognised_high": ("site", recognised + 0.05, ONE),
        "generator": ("site", np.ones(len(SITES)), ONE),
        "confusions": (("site", "category", "answer"), counts, ONE),
    }
    about = {"chance": 0.5, "sessions": 5, "sessions_excluded": 2, "excluded": '{"catch trials": 2}', "title": "People"}
    return xr.Dataset(variables, {**site_coordinates(SITES), "category": names, "answer": names}, about)


def others() -> xr.Dataset:
    """Recognition by models, whose sites come in another order."""
    values = np.array([0.5, 0.9, 0.8, 0.3, 0.95, 0.7])
    variables = {
        f"others{end}": ("site", values + shift, ONE) for end, shift in (("", 0), ("_low", -0.1), ("_high", 0.1))
    }
    return xr.Dataset(variables, site_coordinates(SITES[-1:] + SITES[:-1]))


def tree(**groups: xr.Dataset) -> xr.DataTree:
    return xr.DataTree.from_dict(dict(groups))


def test_curves_scatter_and_confusions() -> None:
    found = people(tree(human=human(), recognition=others()))
    assert found is not None
    assert [name for name, _ in found.curves] == ["a:net", "b:<net>"]
    assert [name for _, name in found.legend] == ["people", "the model itself", "other models", "chance"]
    assert found.curves[0][1].count('class="range') == 2
    assert found.correlation == "Pearson’s r = 1 over 6 sites"
    assert found.sessions == "3 of 5 sessions count, 2 are excluded (catch trials: 2)."
    first = found.confusions[0]
    assert (first.site, first.trials) == ("a:net natural", 4)
    (bear, cells), (boat, missing) = first.rows
    assert (bear, boat) == ("bear", "boat")
    assert [(cell.text, cell.marked) for cell in cells] == [("0.75", True), ("0.25", False)]
    assert [cell.text for cell in missing] == ["–", "–"]


def test_people_alone_and_many_choices() -> None:
    found = people(tree(human=human(choices=40)))
    assert found is not None
    assert found.scatter is None
    assert "other models" not in [name for _, name in found.legend]
    assert found.confusions == []


@pytest.mark.parametrize("lacking", ["recognised_low", "confusions"])
def test_a_group_of_another_form_is_left_to_the_tables(lacking: str) -> None:
    assert people(tree(human=human().drop_vars(lacking))) is None
    assert people(tree(other=human())) is None


def test_the_page_has_them(tmp_path) -> None:
    page = write_report({"human": human(), "recognition": others()}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "People beside models, by layer" in page
    assert "People against other models" in page
    assert "answers at b:&lt;net&gt; output" in page
    assert "b:<net>" not in page
