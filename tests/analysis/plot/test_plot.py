"""Drawings: the axes show what the Dataset has, with its units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from metamery.analysis import judge, null_distribution, plot, success_by_layer, synthesise
from metamery.framework import MetameryError, Model, Stimulus, WaveformDomain
from metamery.framework.schema import site_coordinates
from metamery.framework.testing import example_model, example_stimuli

LAYERS = ["1", "output"]


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    import matplotlib

    matplotlib.use("agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(scope="module")
def metamers() -> xr.Dataset:
    return synthesise(example_model(), example_stimuli(), LAYERS, steps=5, seeds=2)


@pytest.fixture(scope="module")
def null() -> xr.Dataset:
    return null_distribution(example_model(), example_stimuli(count=5), LAYERS)


def proportions(model: str, values: list[float]) -> xr.Dataset:
    about = {"long_name": "proportion right", "units": "1"}
    ends = {f"share_{end}": ("site", np.add(values, by), about) for end, by in (("low", -0.1), ("high", 0.2))}
    sites = site_coordinates([(model, layer) for layer in LAYERS])
    return xr.Dataset({"share": ("site", values, about), **ends}, sites)


def test_lines_and_intervals_are_the_datasets() -> None:
    both = xr.concat([proportions("vision:a", [0.5, 0.25]), proportions("vision:b", [0.75, 0.5])], "site")
    ax = plot.by_layer(both, "share")
    bars = list(ax.containers)
    assert [bar.lines[0].get_ydata().tolist() for bar in bars] == [[0.5, 0.25], [0.75, 0.5]]
    (low, high) = bars[0].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.7))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.get_ylabel() == "proportion right [1]"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == LAYERS


def test_a_model_without_values_has_no_line_and_nothing_at_all_is_said() -> None:
    both = xr.concat([proportions("vision:a", [0.5, 0.25]), proportions("vision:b", [np.nan, np.nan])], "site")
    ax = plot.by_layer(both, "share")
    assert len(ax.containers) == 1
    assert ax.get_legend() is None
    nothing = both.isel(site=slice(2, None))
    nothing["share"].attrs["missing"] = "nobody was asked"
    with pytest.raises(MetameryError, match="'share' has no value to draw: nobody was asked"):
        plot.by_layer(nothing, "share")
    unknown = xr.full_like(both.share, np.nan).expand_dims(recogniser=["c"]).rename("similarity").drop_attrs()
    with pytest.raises(MetameryError, match="'similarity' has no value to draw: all are missing"):
        plot.heat_map(unknown)


def test_a_drawing_goes_on_the_axes_that_it_is_given(metamers: xr.Dataset, null: xr.Dataset) -> None:
    from matplotlib import pyplot

    _, given = pyplot.subplots()
    counts = success_by_layer(metamers.merge(judge(metamers, null)))
    assert plot.by_layer({"net": counts}, "agrees", given) is given
    assert plot.heat_map(metamers.match.sel(metric="pearson"), given) is given
    assert plot.against_null(metamers, null, ax=given) is given


def test_a_heat_map_shows_means(metamers: xr.Dataset) -> None:
    ax = plot.heat_map(metamers.match.sel(metric="snr_db"))
    (image,) = ax.get_images()
    expected = metamers.match.sel(metric="snr_db").mean(["stimulus", "seed"]).transpose("layer", "measured_layer")
    np.testing.assert_allclose(image.get_array(), expected)
    (_, bar) = ax.figure.axes
    assert "[dB]" in bar.get_ylabel()


def test_points_are_filled_where_they_match(metamers: xr.Dataset, null: xr.Dataset) -> None:
    ax = plot.against_null(metamers, null, "snr_db")
    shown = {each.get_label(): len(each.get_offsets()) for each in ax.collections if "metamers" in each.get_label()}
    own = metamers.match.sel(metric="snr_db")
    above = sum(
        int((own.sel(layer=layer, measured_layer=layer) > null.maximum.sel(layer=layer, metric="snr_db")).sum())
        for layer in LAYERS
    )
    assert shown.get("metamers above it", 0) == above
    assert sum(shown.values()) == metamers.state.size
    assert ax.get_ylabel() == "signal-to-noise ratio [dB]"


def test_a_gallery_of_pictures(metamers: xr.Dataset) -> None:
    figure = plot.gallery(metamers, stimuli=["s1"], layers=["output"], seed=1)
    natural, metamer = figure.axes
    assert natural.get_ylabel() == "s1"
    np.testing.assert_allclose(
        metamer.get_images()[0].get_array(),
        metamers.signal.sel(layer="output", stimulus="s1", seed=1).transpose("y", "x", "channel"),
    )


@pytest.mark.parametrize("sounds", ["spectrogram", "waveform"])
def test_a_gallery_of_sounds(sounds: str) -> None:
    import torch

    torch.manual_seed(0)
    domain = WaveformDomain(800, 8000)
    module = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 800)), torch.nn.Conv1d(1, 2, 9), torch.nn.Flatten())
    model = Model(module.eval(), domain, ["1"])
    stimuli = [Stimulus(torch.randn(800) * 0.1, name=f"s{n}", sample_rate=8000) for n in range(2)]
    figure = plot.gallery(synthesise(model, stimuli, steps=2), sounds=sounds)
    assert len(figure.axes) == 4
    assert figure.get_supxlabel() == "time [s]"
    assert figure.get_supylabel() == ("frequency [kHz]" if sounds == "spectrogram" else "amplitude [full scale]")


def test_nothing_is_clipped(metamers: xr.Dataset, null: xr.Dataset) -> None:
    counts = success_by_layer(metamers.merge(judge(metamers, null)))
    long = counts.assign_coords(layer=["features.block_12.expand.conv", "classifier.final_projection"])
    for figure in (
        plot.by_layer(long, "success").figure,
        plot.gallery(metamers),
        plot.against_null(metamers, null).figure,
    ):
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        for ax in figure.axes:
            low, high = sorted(ax.get_ylim())
            ticks = [
                tick for tick in ax.get_yticklabels() if low <= tick.get_position()[1] <= high
            ]  # others are not drawn
            for text in [ax.xaxis.label, ax.yaxis.label, ax.title, *ax.get_xticklabels(), *ticks]:
                box = text.get_window_extent()
                if text.get_text() and text.get_visible():
                    assert -1 <= box.x0 < box.x1 <= width + 1, text
                    assert -1 <= box.y0 < box.y1 <= height + 1, text


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda metamers, _null: plot.by_layer(metamers, "lost"), "loss"),
        (lambda metamers, _null: plot.by_layer(metamers, "margin_low"), "margin_low"),
        (lambda metamers, _null: plot.by_layer(metamers, "loss"), "step"),
        (lambda metamers, _null: plot.by_layer(metamers, "natural_predicted"), "layer or site"),
        (lambda metamers, null: plot.against_null(metamers, null, "relative_l2"), "pearson"),
        (lambda metamers, _null: plot.heat_map(metamers.match), "metric"),
        (lambda metamers, _null: plot.gallery(metamers, layers=["3"]), "layer"),
        (lambda metamers, _null: plot.gallery(metamers, seed=7), "seed"),
        (lambda metamers, _null: plot.gallery(metamers, sounds="loud"), "sounds"),
    ],
)
def test_slips_are_named(metamers: xr.Dataset, null: xr.Dataset, draw: object, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        draw(metamers, null)  # type: ignore[operator]
