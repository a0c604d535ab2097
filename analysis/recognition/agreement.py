"""Label agreement: how often a model gives a metamer the label that it gives the natural signal."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ...framework.context import Context
from ...framework.errors import MetameryError
from ...framework.protocols import Evaluator


def agreement() -> Evaluator:
    """Build the evaluator: for each model and layer, the proportion of agreeing metamers and their number.

    Metamers that failed or are missing do not count; a layer without any is NaN.
    """

    def evaluate(context: Context) -> xr.Dataset:
        if context.study is None:
            raise MetameryError("evaluator 'agreement' needs a study")
        by_model = []
        for name, group in context.study["models"].children.items():
            agrees = group["match/agrees"].load()
            known = agrees >= 0
            counted = known.sum(("stimulus", "seed"))
            proportion = (agrees == 1).sum(("stimulus", "seed")) / counted.where(counted > 0)
            model = group.attrs.get("model", name)
            by_model.append(
                xr.Dataset(
                    {"agreement": proportion.astype(np.float64), "counted": counted.astype(np.int64)}
                ).expand_dims(model=[model])
            )
        result = xr.concat(by_model, "model", join="outer", fill_value={"counted": 0}, combine_attrs="drop")
        order = dict.fromkeys(layer for part in by_model for layer in part.layer.values)
        result = result.sel(layer=list(order))  # the studies' order; an outer join sorts by name
        result["agreement"].attrs = {
            "long_name": "proportion of metamers with the natural signal's label",
            "units": "1",
        }
        result["counted"].attrs = {"long_name": "metamers that count", "units": "1"}
        return result

    return evaluate
