"""Evaluators (`register_evaluators`), on studies whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from metamery.framework import Context, MetameryError, Plugins
from metamery.framework.schema import check_dataset, match_variables
from metamery.framework.store import Group
from metamery.framework.testing import check_evaluator


def context(**models: tuple[list[str], Any]) -> Context:
    """A study of some models; of each its layers and whether each metamer agrees, ``(layer, stimulus, seed)``."""
    nodes = {}
    for name, (layers, agrees) in models.items():
        values = np.array(agrees, dtype=np.int8)
        stimuli = [f"s{number}" for number in range(values.shape[1])]
        at = {"layer": layers, "stimulus": stimuli, "seed": list(range(values.shape[2]))}
        dataset = Group(match_variables(), {**at, "measured_layer": layers, "metric": ["pearson"]}).empty()
        dataset["agrees"].values[:] = values
        nodes[f"/models/{name}"] = xr.Dataset(attrs={"model": f"plugin:{name}"})
        nodes[f"/models/{name}/match"] = dataset
    return Context({}, [], xr.DataTree.from_dict(nodes))  # type: ignore[arg-type]


def agreement(given: Context) -> xr.Dataset:
    result: xr.Dataset = Plugins().load("evaluator", "agreement")(given)
    return result


def test_agreement_is_the_proportion_of_agreeing_metamers() -> None:
    given = context(one=(["a", "b"], [[[1, 1], [1, 0]], [[0, 0], [0, 1]]]))
    result = agreement(given)
    assert result.agreement.dims == ("model", "layer")
    assert result.agreement.values.tolist() == [[0.75, 0.25]]
    assert result.counted.values.tolist() == [[4, 4]]
    assert result.model.values.tolist() == ["plugin:one"]
    assert result.layer.values.tolist() == ["a", "b"]
    check_evaluator(Plugins().load("evaluator", "agreement"), given)


def test_what_failed_or_is_missing_does_not_count() -> None:
    result = agreement(context(one=(["a", "b"], [[[1], [-1], [0]], [[-1], [-1], [-1]]])))
    assert result.agreement.sel(layer="a").item() == 0.5
    assert np.isnan(result.agreement.sel(layer="b").item())
    assert result.counted.values.tolist() == [[2, 0]]


def test_models_with_other_layers_stand_side_by_side() -> None:
    given = context(one=(["a", "b"], [[[1]], [[0]]]), two=(["b", "c"], [[[1]], [[1]]]))
    result = agreement(given)
    check_dataset(result)
    assert result.agreement.sel(model="plugin:one", layer="b").item() == 0
    assert result.agreement.sel(model="plugin:two", layer="b").item() == 1
    assert np.isnan(result.agreement.sel(model="plugin:two", layer="a").item())
    assert result.counted.sel(model="plugin:two", layer="a").item() == 0
    assert result.counted.dtype.kind == "i"
    check_evaluator(Plugins().load("evaluator", "agreement"), given)


def test_layers_keep_the_order_of_the_study() -> None:
    layers = ["input", "_blocks.1", "_blocks.10", "_blocks.2", "output"]
    result = agreement(context(one=(layers, [[[1]]] * 5), two=(layers, [[[1]]] * 5)))
    assert result.layer.values.tolist() == layers
    other = agreement(context(one=(layers[:3], [[[1]]] * 3), two=(layers[1:], [[[1]]] * 4)))
    assert other.layer.values.tolist() == layers


def test_agreement_needs_a_study() -> None:
    with pytest.raises(MetameryError, match="evaluator 'agreement' needs a study"):
        agreement(Context({}, []))  # type: ignore[arg-type]
