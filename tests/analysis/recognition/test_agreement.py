"""The evaluator `agreement`, on studies whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics.proportions import wilson
from metamery.framework import Context, Plugins
from metamery.framework.schema import (
    check_dataset,
    fitted_variables,
    match_variables,
    metamer_variables,
    success_variables,
)
from metamery.framework.store import Group


def context(**models: tuple[list[str], Any]) -> Context:
    """A study of some models; of each its layers and whether each metamer agrees, ``(layer, stimulus, seed)``."""
    nodes = {}
    for name, (layers, agrees) in models.items():
        values = np.array(agrees, dtype=np.int8)
        stimuli = [f"s{number}" for number in range(values.shape[1])]
        at = {"layer": layers, "stimulus": stimuli, "seed": list(range(values.shape[2]))}
        variables = {**match_variables(), **success_variables()}
        match = Group(variables, {**at, "measured_layer": layers, "metric": ["pearson"]}).empty()
        match["agrees"].values[:] = values
        nodes[f"/models/{name}"] = xr.Dataset(attrs={"model": f"plugin:{name}"})
        nodes[f"/models/{name}/stimuli"] = Group(fitted_variables(("time",)), at, {"time": 1}).empty()
        made = Group(metamer_variables(("time",)), {**at, "step": [0]}, {"time": 1})
        nodes[f"/models/{name}/metamers"] = made.empty()
        nodes[f"/models/{name}/match"] = match
    return Context({}, [], xr.DataTree.from_dict(nodes))  # type: ignore[arg-type]


def agreement(given: Context) -> xr.Dataset:
    result: xr.Dataset = Plugins().load("evaluator", "agreement")(given)
    return result


def test_agreement_is_the_proportion_of_agreeing_metamers() -> None:
    given = context(one=(["a", "b"], [[[1, 1], [1, 0]], [[0, 0], [0, 1]]]))
    result = agreement(given)
    assert result.agreement.dims == ("site",)
    assert result.agreement.values.tolist() == [0.75, 0.25]
    assert result.counted.values.tolist() == [4, 4]
    assert result.site.values.tolist() == ["plugin:one a", "plugin:one b"]
    assert [result.agreement_low[0].item(), result.agreement_high[0].item()] == pytest.approx(wilson(3, 4))


def test_what_failed_or_is_missing_does_not_count() -> None:
    result = agreement(context(one=(["a", "b"], [[[1], [-1], [0]], [[-1], [-1], [-1]]])))
    np.testing.assert_array_equal(result.agreement, [0.5, np.nan])
    assert result.counted.values.tolist() == [2, 0]


def test_models_with_other_layers_stand_one_behind_the_other() -> None:
    given = context(one=(["input", "b.10"], [[[1]], [[0]]]), two=(["b.2", "a"], [[[1]], [[1]]]))
    result = agreement(given)
    check_dataset(result)
    assert result.model.values.tolist() == ["plugin:one"] * 2 + ["plugin:two"] * 2
    assert result.layer.values.tolist() == ["input", "b.10", "b.2", "a"]
    assert result.agreement.values.tolist() == [1, 0, 1, 1]
    assert result.counted.dtype.kind == "i"
