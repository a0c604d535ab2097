"""People beside models: recognition by layer, people against other models, and people's confusions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .charts import Chart, linear, names
from .matrix import Cell, shade
from .numbers import number
from .snippets import at

if TYPE_CHECKING:
    import xarray as xr
    from markupsafe import Markup
    from numpy.typing import NDArray

GROUP, OTHERS = "human", "recognition"
"""Groups of people's recognition, and of that by models."""

_NEEDED = ("recognised", "recognised_low", "recognised_high", "generator", "confusions")
_MOST_CHOICES = 24  # of a table of confusions
_CURVE, _SCATTER = (300, 160), (220, 200)


@dataclass(frozen=True)
class Confusions:
    """Shares of people's answers to each category at one site; `at` is its place in the store."""

    site: str
    trials: int
    rows: list[tuple[str, list[Cell]]]
    at: str


@dataclass(frozen=True)
class People:
    """What is drawn of people's recognition.

    Parameters
    ----------
    legend
        Styles and names of the lines of `curves`.
    curves
        Names of the models, and a chart over the layers of each.
    scatter
        Chart of people against other models, if these were asked; its legend; and the correlation in words.
    confusions, choices
        Tables over categories and answers, site by site, with the answers' names; empty for long lists of choices.
    sessions
        How many sessions count, and which rules exclude others, in words.
    """

    legend: Sequence[tuple[str, str]]
    curves: Sequence[tuple[str, Markup]]
    scatter: Markup | None
    scatter_legend: Sequence[tuple[str, str]]
    correlation: str
    confusions: Sequence[Confusions]
    choices: Sequence[str]
    sessions: str


def people(tree: xr.DataTree) -> People | None:
    """Return what is drawn of ``/human``; None if the results have none, or in another form."""
    if GROUP not in tree.children:
        return None
    human = tree.children[GROUP].to_dataset(inherit=False)
    if any(name not in human for name in _NEEDED) or not {"model", "layer"} <= {*human.coords}:
        return None
    human = human.load()
    others = _others(tree, human)
    models = list(dict.fromkeys(human["model"].values.tolist()))
    legend = [
        ("s1", "people"),
        ("s2", "the model itself"),
        *([("s3", "other models")] if others else []),
        ("chance", "chance"),
    ]
    scatter, correlation = _scatter(human, others, models)
    choices = [str(name) for name in human["answer"].values]
    return People(
        legend=[each for each in legend if others or each[0] != "s3"],
        curves=[(model, _curve(human, others, model)) for model in models],
        scatter=scatter,
        scatter_legend=[(f"s{index + 1}", model) for index, model in enumerate(models)] if len(models) > 1 else [],
        correlation=correlation,
        confusions=_confusions(human) if len(choices) <= _MOST_CHOICES else [],
        choices=choices,
        sessions=_sessions(human),
    )


_Others = dict[str, "NDArray[np.float64]"]


def _others(tree: xr.DataTree, human: xr.Dataset) -> _Others:
    """Recognition by other models at people's sites, with the ends of its interval; empty without any."""
    if OTHERS not in tree.children:
        return {}
    found = tree.children[OTHERS].to_dataset(inherit=False)
    parts = ("others", "others_low", "others_high")
    if any(name not in found or found[name].dims != ("site",) for name in parts):
        return {}
    at_sites = found[list(parts)].load().reindex(site=human["site"].values)
    values = {name: at_sites[name].values.astype(np.float64) for name in parts}
    return values if np.isfinite(values["others"]).any() else {}


def _curve(human: xr.Dataset, others: _Others, model: str) -> Markup:
    own = np.flatnonzero(human["model"].values == model)
    across = np.arange(len(own), dtype=np.float64)
    chart = Chart(
        names("layer", [str(name) for name in human["layer"].values[own]]), linear("recognised", 0, 1.02), *_CURVE
    )
    chance = np.full(len(own), float(human.attrs.get("chance", np.nan)))
    chart.line(across, chance, "chance")
    of_people = tuple(human[f"recognised{end}"].values[own] for end in ("", "_low", "_high"))
    of_others = tuple(others[f"others{end}"][own] for end in ("", "_low", "_high")) if others else ()
    for style, lines in (("s3", of_others), ("s2", (human["generator"].values[own],)), ("s1", of_people)):
        if len(lines) == 3:
            chart.area(across, lines[1], lines[2], f"range {style}")
        if lines:
            chart.line(across, lines[0], f"series {style}")
            chart.points(across, lines[0], f"series {style}")
    return chart.svg(f"recognition of signals made for {model}, by layer; the numbers are in the tables")


def _scatter(human: xr.Dataset, others: _Others, models: Sequence[str]) -> tuple[Markup | None, str]:
    if not others:
        return None, ""
    by_people, by_models = human["recognised"].values, others["others"]
    chart = Chart(linear("other models", 0, 1.02), linear("people", 0, 1.02), *_SCATTER)
    chart.line([0, 1], [0, 1], "chance")
    for index, model in enumerate(models):
        own = human["model"].values == model
        chart.points(by_models[own], by_people[own], f"series s{index % 8 + 1}")
    known = np.isfinite(by_people) & np.isfinite(by_models)
    spread = known.sum() > 2 and by_people[known].std() > 0 and by_models[known].std() > 0
    r = float(np.corrcoef(by_people[known], by_models[known])[0, 1]) if spread else np.nan
    words = f"Pearson’s r = {number(r)} over {int(known.sum())} sites" if spread else ""
    return chart.svg("recognition by people against that by other models, a point for each layer"), words


def _confusions(human: xr.Dataset) -> list[Confusions]:
    counts = human["confusions"].transpose("site", "category", "answer")
    found = []
    for site, table in zip(human["site"].values.tolist(), counts.values, strict=True):
        rows = []
        for category, row in zip(human["category"].values.tolist(), table, strict=True):
            total = int(row.sum())
            cells = []
            for answer, count in zip(human["answer"].values.tolist(), row.tolist(), strict=True):
                share = count / total if total else float("nan")
                cells.append(Cell(f"{share:.2f}" if total else "–", shade(share, 0, 1), marked=answer == category))
            rows.append((str(category), cells))
        found.append(Confusions(str(site), int(table.sum()), rows, at(group=GROUP, variable="confusions", site=site)))
    return found


def _sessions(human: xr.Dataset) -> str:
    total, excluded = int(human.attrs.get("sessions", 0)), int(human.attrs.get("sessions_excluded", 0))
    if not total:
        return ""
    reasons = json.loads(human.attrs.get("excluded", "{}"))
    listed = f" ({', '.join(f'{reason}: {count}' for reason, count in reasons.items())})" if reasons else ""
    return f"{total - excluded} of {total} sessions count, {excluded} are excluded{listed}."
