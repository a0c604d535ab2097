"""The measures of match: SciPy's values, ties, constants and the ends of float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metamery.analysis import match, synthesise
from metamery.analysis.proof.measures import (
    METRICS,
    _sorted_ranks,
    average_ranks,
    measure,
    measured_layers,
    pearson,
    snr_db,
    spearman,
)
from metamery.framework import ImageDomain, MetameryError, Model, Stimulus
from metamery.framework.testing import example_model
from scipy import stats

EXTREMES = [0.0, 1.0, -1.0, 3e38, -3e38, 1e-38, 1e-45, 1e-20, 7.5]
ROWS = st.lists(st.sampled_from(EXTREMES), min_size=3, max_size=12)


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@given(ROWS)
def test_ranks_are_scipys(values: list[float]) -> None:
    given_rows = rows(values, values[::-1])
    expected = stats.rankdata(given_rows.numpy(), axis=1)
    assert np.array_equal(average_ranks(given_rows).numpy(), expected)
    assert np.array_equal(_sorted_ranks(given_rows).numpy(), expected)  # as on a GPU


@given(
    st.integers(3, 12).flatmap(lambda n: st.tuples(*[st.lists(st.sampled_from(EXTREMES), min_size=n, max_size=n)] * 2))
)
def test_correlations_are_scipys(pair: tuple[list[float], list[float]]) -> None:
    one, two = rows(pair[0]), rows(pair[1])
    for own, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        found = float(own(one, two))
        if len(set(one[0].tolist())) == 1 or len(set(two[0].tolist())) == 1:
            assert found == 0
        else:
            wanted = theirs(one[0].double().numpy(), two[0].double().numpy()).statistic
            assert found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.filterwarnings("ignore:An input array is nearly constant")
def test_correlations_of_a_large_offset() -> None:
    values = 1e4 + torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    wanted = stats.pearsonr(values[0].double().numpy(), values[1].double().numpy()).statistic
    assert float(pearson(values[:1], values[1:])) == pytest.approx(wanted, abs=1e-9)


def test_snr_in_closed_form() -> None:
    targets = rows([3, 4], [3, 4], [0, 0], [0, 0], [3e38, 0])
    activations = rows([3, 4.5], [3, 4], [1, 0], [0, 0], [0, 0])
    assert snr_db(activations, targets).tolist() == pytest.approx([20, math.inf, -math.inf, math.inf, 0])
    assert measure(activations, targets)[0].tolist() == pytest.approx([1, 1, 20, 0.1], rel=1e-6)


def test_relative_l2_and_snr_say_the_same() -> None:
    generator = torch.Generator().manual_seed(1)
    taken = measure(torch.randn(5, 3, 4, generator=generator), torch.randn(5, 3, 4, generator=generator))
    columns = dict(zip(METRICS, taken.T, strict=True))
    assert columns["snr_db"] == pytest.approx(-20 * np.log10(columns["relative_l2"]), rel=1e-5)


def test_a_batch_is_measured_signal_by_signal() -> None:
    generator = torch.Generator().manual_seed(2)
    one, two = (torch.randn(4, 2, 5, generator=generator) for _ in range(2))
    together = measure(one, two)
    for index in range(4):
        assert np.array_equal(measure(one[index : index + 1], two[index : index + 1])[0], together[index])


def test_layers_are_measured_in_network_order() -> None:
    model = example_model()
    assert measured_layers(model, ["4", "0"]) == ("0", "1", "2", "4", "output")
    assert measured_layers(model, ["output"]) == ("1", "2", "output")


@pytest.fixture
def stimuli() -> list[Stimulus]:
    generator = torch.Generator().manual_seed(3)
    return [Stimulus(torch.rand(3, 12, 12, generator=generator), name=name) for name in ("one", "two", "three")]


def test_match_of_metamers_is_that_which_synthesis_writes(stimuli: list[Stimulus]) -> None:
    model = example_model()
    metamers = synthesise(model, stimuli, ["1", "output"], steps=5, seeds=2, batch_size=2)
    again = match(model, metamers)
    assert again.dims == metamers["match"].dims
    assert again.values == pytest.approx(metamers["match"].values, rel=1e-3, abs=1e-4)
    assert float(
        metamers["match"].sel(metric="relative_l2", layer="1", measured_layer="1", stimulus="two", seed=1)
    ) == (pytest.approx(float(metamers["loss"].sel(layer="1", stimulus="two", seed=1)[-1]), rel=1e-4))


def test_match_leaves_out_what_is_missing(stimuli: list[Stimulus]) -> None:
    model = example_model()
    metamers = synthesise(model, stimuli, ["1"], steps=2)
    metamers["signal"].values[0, 1] = np.nan
    found = match(model, metamers)
    assert found.sel(stimulus="two").isnull().all()
    assert found.sel(stimulus=["one", "three"]).notnull().all()


def test_match_refuses_other_datasets(stimuli: list[Stimulus]) -> None:
    metamers = synthesise(example_model(), stimuli, ["1"], steps=1)
    with pytest.raises(MetameryError, match="no variable 'natural'"):
        match(example_model(), metamers.drop_vars("natural"))
    other = Model(torch.nn.Flatten(), ImageDomain(3, 5, 5), ["output"])
    with pytest.raises(MetameryError, match="3 × 5 × 5"):
        match(other, metamers)


def test_quantised_match_is_that_of_the_rounded_signal(stimuli: list[Stimulus]) -> None:
    model = example_model()
    metamers = synthesise(model, stimuli, ["1"], steps=3)
    rounded = metamers.assign(signal=metamers["signal"].copy(data=(metamers["signal"].values * 255).round() / 255))
    wanted = match(model, rounded).sel(measured_layer="1")
    assert metamers["quantised_match"].values == pytest.approx(wanted.values, rel=1e-3, abs=1e-3)
    assert not np.array_equal(metamers["quantised_match"].values, metamers["match"].sel(measured_layer="1").values)
