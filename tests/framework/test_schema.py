"""The schema: the metadata that every dataset has to have."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import MetameryError
from metamery.framework.schema import (
    DIMENSIONS,
    SIGNAL_DIMENSIONS,
    STATES,
    Variable,
    check_dataset,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    stimuli_variables,
)
from metamery.framework.store import Group

SAID = {"long_name": "what it is", "units": "1"}


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "value": (("layer", "channel"), np.zeros((2, 3)), SAID),
            "text": ("layer", np.array(["a", "b"], dtype=object), SAID),
        },
        {"layer": ["conv", "output"]},
    )


def test_a_dataset_that_says_everything_passes() -> None:
    check_dataset(dataset())
    check_dataset(xr.Dataset())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.rename_dims(layer="layers"), "unknown dimension 'layers'; did you mean 'layer'"),
        (lambda d: d.drop_vars("layer"), "dimension 'layer' has no coordinate"),
        (lambda d: d.assign(value=d.value.assign_attrs(units=1)), "variable 'value' has no 'units'"),
        (lambda d: d.assign(value=d.value.drop_attrs()), "variable 'value' has no 'long_name'"),
        (lambda d: d.assign(text=d.text.copy(data=np.array(["a", 3], dtype=object))), "'text' has type object"),
        (lambda d: d.assign(text=d.text.copy(data=np.array([{}, None], dtype=object))), "'text' has type object"),
        (lambda d: d.assign(value=d.value.astype(complex)), "'value' has type complex128"),
        (lambda d: d.assign(value=d.value.astype("datetime64[ns]")), "'value' has type datetime64"),
        (lambda d: d.assign_coords(layer=np.array([None, "b"], dtype=object)), "variable 'layer' has type object"),
    ],
)
def test_what_is_missing_is_named(change: Callable[[xr.Dataset], xr.Dataset], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        check_dataset(change(dataset()))


@pytest.mark.parametrize("dims", [("channel", "y", "x"), ("time",)])
def test_the_projects_own_groups_pass(dims: tuple[str, ...]) -> None:
    makers = [stimuli_variables(), fitted_variables(dims), metamer_variables(dims), match_variables()]
    for variables in makers:
        used = set(chain.from_iterable(variable.dims for variable in variables.values()))
        assert used <= set(DIMENSIONS)
        coordinates = {dim: ["a", "b"] for dim in used - SIGNAL_DIMENSIONS}
        check_dataset(Group(variables, coordinates, dict.fromkeys(dims, 4)).empty())


def test_flags_follow_the_cf_conventions_and_begin_as_missing() -> None:
    for name, variable in {**fitted_variables(()), **metamer_variables(()), **match_variables()}.items():
        if variable.flags:
            attributes = variable.attributes()
            meanings = attributes["flag_meanings"].split()
            assert dict(zip(meanings, attributes["flag_values"], strict=True)) == variable.flags
            assert variable.dtype == "int8"
            assert variable.fill == variable.flags["missing"], name
    assert metamer_variables(())["state"].flags == STATES


def test_a_variable_without_flags_has_none() -> None:
    assert Variable((), "float32", 0, "length", "m").attributes() == {"long_name": "length", "units": "m"}


@given(st.text(min_size=1))
def test_a_models_key_is_one_step_of_a_path(name: str) -> None:
    key = model_key(name)
    assert key
    assert all(character.isascii() and (character.isalnum() or character in "._-+") for character in key)


def test_no_key_leads_out_of_its_group() -> None:
    assert model_key("vision:torchvision/resnet50") == "vision+torchvision+resnet50"
    assert model_key("../tiny.py:build") not in (".", "..")


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["gian"], "unknown variable in 'reading_order' 'gian'; did you mean 'gain'"),
        ("gain", "attribute 'reading_order' is 'gain', expected a list of variables' names"),
        (["gain", "gain"], "attribute 'reading_order' has 'gain' twice"),
    ],
)
def test_the_reading_order_names_variables(order: object, said: str) -> None:
    dataset = xr.Dataset({"gain": ("seed", [0.1], {"long_name": "gain", "units": "1"})}, {"seed": [0]})
    check_dataset(dataset.assign_attrs(reading_order=["gain"]))
    with pytest.raises(MetameryError, match=said):
        check_dataset(dataset.assign_attrs(reading_order=order))
