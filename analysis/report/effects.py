"""Analyses of variance as tables: one row for each effect, as papers print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .numbers import number

if TYPE_CHECKING:
    import xarray as xr

_TESTED = ("F", "df_effect", "df_error", "p")
_COLUMNS = {"p": "p", "p_GG": "p, Greenhouse–Geisser", "p_permutation": "p, permutation", "partial_eta_squared": "η²p"}


def effects(dataset: xr.Dataset) -> list[list[str]]:
    """Return an analysis of variance over ``term``, and perhaps ``model``, as rows of text, the head first.

    Empty where the dataset holds none. An effect is printed as ``F(df of the effect, df of the error) = …``.
    """
    if any(name not in dataset or not {*dataset[name].dims} <= {"model", "term"} for name in _TESTED):
        return []
    columns = {name: head for name, head in _COLUMNS.items() if name in dataset}
    stacked = dataset[[*_TESTED[:3], *columns]].expand_dims([] if "model" in dataset.dims else {"model": [""]})
    rows = [["model", "effect", "F", *columns.values()]]
    for model in stacked["model"].values.tolist():
        for term in stacked["term"].values.tolist():
            own = {str(name): float(array) for name, array in stacked.sel(model=model, term=term).data_vars.items()}
            if not np.isnan(own["F"]):
                tested = f"F({number(own['df_effect'])}, {number(own['df_error'])}) = {number(own['F'])}"
                rows.append(
                    [str(model), str(term).replace(":", " × "), tested, *(number(own[name]) for name in columns)]
                )
    return rows if "model" in dataset.dims else [row[1:] for row in rows]
