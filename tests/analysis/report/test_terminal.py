"""Datasets as text in a terminal."""

import re

import numpy as np
import xarray as xr
from metamery.analysis.report.terminal import lines
from metamery.framework.schema import site_coordinates

ABOUT = {"long_name": "likeness", "units": "1"}
SITES = {"site": ["net 1", "net 2"], "other_site": ["net 1", "net 2", "net 3"], "metric": ["cka", "rsa"]}


def test_each_measure_of_three_dimensions_gets_a_table_with_its_intervals():
    values = np.arange(12).reshape(2, 2, 3) / 10
    dims = ("metric", "site", "other_site")
    variables = {"like": (dims, values, ABOUT)}
    variables |= {f"like_{end}": (dims, values + by, ABOUT) for end, by in (("low", -0.01), ("high", 0.01))}
    said = list(lines(xr.Dataset(variables, SITES)))
    assert [line for line in said if line.startswith("likeness")] == ["likeness: cka", "likeness: rsa"]
    (second,) = [line for line in said[said.index("likeness: rsa") :] if line.startswith("  net 2")]
    cells = re.split(r"\s{2,}", second.strip())
    assert cells == ["net 2", "0.900 (0.890 to 0.910)", "1 (0.990 to 1.01)", "1.10 (1.09 to 1.11)"]


def test_other_arrays_of_three_dimensions_are_named():
    array = (("site", "other_site", "metric"), np.zeros((2, 3, 2)), ABOUT)
    said = list(lines(xr.Dataset({"like": array}, SITES)))
    assert said == ["", "in the report and the store: like"]


def test_small_numbers_keep_their_digits():
    array = (("metric",), np.array([0.0, 3.2e-7]), {"long_name": "p", "units": "1"})
    assert list(lines(xr.Dataset({"p": array}, {"metric": ["a", "b"]})))[2:] == ["  a  0", "  b  3.20 × 10⁻⁷"]


def test_an_interval_without_ends_is_left_out():
    none = np.array([np.nan, 0.2])
    variables = {
        "own": ("metric", np.array([0.5, 0.3]), ABOUT),
        "own_low": ("metric", none),
        "own_high": ("metric", none),
    }
    said = list(lines(xr.Dataset(variables, {"metric": ["a", "b"]})))
    assert said[2:] == ["  a  0.500", "  b  0.300 (0.200 to 0.200)"]


def test_columns_of_the_only_model_are_its_layers():
    array = (("site", "other_site"), np.zeros((1, 2)), ABOUT)
    for models, headings in ((["net", "net"], ["conv", "output"]), (["net", "two"], ["net conv", "two output"])):
        sites = site_coordinates(list(zip(models, ["conv", "output"], strict=True)), "other_site")
        dataset = xr.Dataset({"like": array}, {**site_coordinates([("net", "conv")]), **sites})
        assert re.split(r"\s{2,}", list(lines(dataset))[2].strip()) == ["site × other_site", *headings]


def test_dimensions_of_a_single_item_are_left_out_of_large_arrays():
    values = np.array([[[0.5, 0.3]], [[0.2, 0.1]]])
    dims = ("site", "stimulus", "component")
    variables = {"value": (dims, values, ABOUT)}
    variables |= {f"value_{end}": (dims, values + by, ABOUT) for end, by in (("low", -0.1), ("high", 0.1))}
    said = list(lines(xr.Dataset(variables, {"site": ["a", "b"], "stimulus": ["s"], "component": [1, 2]})))
    assert re.split(r"\s{2,}", said[4].strip()) == ["b", "0.200 (0.100 to 0.300)", "0.100 (0 to 0.200)"]


def test_the_main_table_is_printed_and_the_others_are_named():
    about = {"long_name": "gain", "units": "dB"}
    variables = {name: ("site", np.array([-1.5, 2.0]), about) for name in ("counted", "gain", "extra")}
    sites = {"site": ["net 1", "net 2"]}
    said = list(lines(xr.Dataset(variables, sites, {"reading_order": ["gain", "extra"]})))
    assert said == [
        "",
        "gain (dB)",
        "  net 1  −1.50",
        "  net 2  2",
        "",
        "also in the report and the store: extra, counted",
    ]
    assert list(lines(xr.Dataset(variables, sites)))[-1].endswith("store: gain, extra")


def test_strengths_are_printed_by_their_values_and_units():
    levels = {
        "transformation": ["gain", "noise"],
        "strength": [0, 1, 2],
        "value": (("transformation", "strength"), [[0.0, 3.0, 6.0], [np.inf, 20.0, -10.0]]),
        "unit": ("transformation", ["dB", "dB SNR"]),
        "site": ["net 1", "net 2"],
    }
    array = (("transformation", "strength", "site"), np.linspace(1, 0, 12).reshape(2, 3, 2), ABOUT)
    said = list(lines(xr.Dataset({"like": array}, levels)))
    assert [line.strip().split("  ")[0] for line in said[said.index("likeness: noise") + 2 :]] == [
        "∞ dB SNR",
        "20 dB SNR",
        "−10 dB SNR",
    ]
    ratios = xr.Dataset(
        {"right": (("model", "strength"), [[0.5, 1.0]], ABOUT)}, {"model": ["a"], "strength": [-5.0, 0.0]}
    )
    ratios["strength"].attrs = {"long_name": "signal-to-noise ratio", "units": "dB"}
    assert re.split(r"\s{2,}", list(lines(ratios))[2].strip())[1:] == ["−5 dB", "0 dB"]
