"""The evaluator `controversial`, of small networks that tell pictures apart in different ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from controversial_networks import LABELS, LEFT_RIGHT, looking, pictures, study
from metamery.analysis import as_study, evaluate, null_distribution, synthesise
from metamery.analysis.controversial.making import cross_entropy
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.schema import VERDICTS, check_dataset
from torch import nn

PLUGINS = Plugins(installed=())


def found_of(
    models: dict[str, Model], stimuli: list[Stimulus], layers: tuple[str, ...] = ("1",), **options: Any
) -> Any:
    options = {"steps": 400, **options}
    return evaluate("controversial", study(models, stimuli, layers), models=models, plugins=PLUGINS, **options)


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return found_of(LEFT_RIGHT, pictures())


def test_networks_that_look_at_different_columns_take_a_signal_for_two_stimuli(found: xr.Dataset) -> None:
    """Nothing that one sees is seen by the other, so each half of the signal is a metamer of its own stimulus."""
    check_dataset(found)
    assert found.site.values.tolist() == ["left against right 1 / 1", "right against left 1 / 1"]
    assert (found.success == VERDICTS["yes"]).all()
    assert found.told_apart.values.tolist() == [1, 1]
    assert (found.match.sel(metric="pearson") > 0.99).all()
    assert (found.other_match.sel(metric="pearson") > 0.99).all()
    natural = {stimulus.name: stimulus.signal for stimulus in pictures()}
    for site, (one, other) in enumerate((("left", "right"), ("right", "left"))):
        for number, name in enumerate(found.stimulus.values):
            partner = str(found.other_stimulus.values[site, number])
            assert partner.rstrip("0123456789") != name.rstrip("0123456789")
            signal = torch.from_numpy(found.signal.values[site, number])
            assert torch.equal((signal * 255).round() / 255, signal)
            for model, stimulus, answer in ((one, name, "answer"), (other, partner, "other_answer")):
                with torch.no_grad(), LEFT_RIGHT[model].tap(["1"]) as tap:
                    own, target = (tap(each[None])["1"] for each in (signal, natural[stimulus]))
                assert float((own - target).norm() / target.norm()) < 0.1
                assert str(found[answer].values[site, number]) == stimulus.rstrip("0123456789")


def test_both_orders_have_the_same_pairs(found: xr.Dataset) -> None:
    assert found.other_stimulus.values[0].tolist() == found.other_stimulus.values[1].tolist()


def test_observers_who_are_one_of_the_two_are_told_apart_at_the_predicted_rate() -> None:
    """Networks that share two of three columns are told apart by some signals; answers of either tell which it is."""
    models = {"one": looking(0, columns=slice(0, 4)), "two": looking(1, columns=slice(2, 6))}
    result = found_of(models, pictures(8), limit=None, steps=40)
    assert float(result.told_apart.mean()) > 0
    for site in range(2):
        pair = (str(result.one_model.values[site]), str(result.other_model.values[site]))
        answers = {}
        with torch.no_grad():
            for name in pair:
                logits = models[name].module(torch.from_numpy(result.signal.values[site]))
                answers[name] = np.array(LABELS)[logits.argmax(dim=1)]
        shows = np.array([name.rstrip("0123456789") for name in result.stimulus.values])
        instead = np.array([name.rstrip("0123456789") for name in result.other_stimulus.values[site]])
        told = (answers[pair[0]] == shows) & (answers[pair[1]] == instead)
        assert told.mean() == result.told_apart.values[site]
        assert (told >= (result.success.values[site] == VERDICTS["yes"])).all()


def test_classes_are_given_with_confidence_by_both(found: xr.Dataset) -> None:
    result = found_of(LEFT_RIGHT, pictures(), objective="classes")
    check_dataset(result)
    assert result.one_layer.values.tolist() == ["output", "output"]
    assert (result.success == VERDICTS["yes"]).all()
    assert (result.confidence > found.confidence.values).all()
    assert "matches" not in result
    logits = torch.tensor([[2.0, 0.0, 1.0]])
    expected = -logits.softmax(dim=1)[0, 2].log()
    assert torch.allclose(cross_entropy(logits, torch.tensor([[0.0, 0.0, 1.0]])), expected)


def test_equal_networks_cannot_disagree_and_it_says_so() -> None:
    result = found_of({"one": looking(0), "two": looking(0)}, pictures(), steps=100)
    assert (result.success == VERDICTS["no"]).all()
    assert result.told_apart.values.tolist() == [0, 0]
    assert result.attrs["warnings"] == ["one and two have the same weights: no signal can be controversial"]


def test_where_no_match_can_be_told_from_chance_it_is_unattainable() -> None:
    """Two logits always correlate with 1 or −1."""
    result = found_of(LEFT_RIGHT, pictures(), layers=("output",))
    agrees = (result.agrees == 1) & (result.other_agrees == 1)
    assert (result.success.values[agrees.values] == VERDICTS["unattainable"]).all()
    assert agrees.any()
    assert (result.unattainable == agrees.sum("stimulus")).all()


def test_models_of_two_sizes_share_the_larger_picture() -> None:
    models = {"small": looking(0, 6, slice(0, 3)), "large": looking(1, 12, slice(6, 12))}
    result = found_of(models, pictures(4, 12))
    assert result.signal.shape == (2, 4, 1, 12, 12)
    assert float((result.agrees == 1).mean()) > 0.9


def test_sounds() -> None:
    def hearing(seed: int, half: slice) -> Model:
        network = nn.Sequential(nn.Linear(200, 8, bias=False), nn.Linear(8, 2, bias=False))
        seen = torch.zeros(200)
        seen[half] = 1
        drawn = torch.randn(8, 200, generator=torch.Generator().manual_seed(seed))
        network[0].weight.data = drawn * seen
        network[1].weight.data = torch.eye(2, 8)
        return Model(network.eval(), WaveformDomain(200, 8000), ["0", "output"], ["no", "yes"])

    models = {"early": hearing(0, slice(0, 100)), "late": hearing(1, slice(100, 200))}
    generator = torch.Generator().manual_seed(0)
    waves = [Stimulus(0.3 * torch.randn(200, generator=generator), name=str(n), sample_rate=8000) for n in range(6)]
    with torch.no_grad():
        fitted = [models["early"].domain.fit(wave) for wave in waves]
        says = [int(models["early"].module(each[None]).argmax()) for each in fitted]
        late = [int(models["late"].module(each[None]).argmax()) for each in fitted]
    shown = [
        Stimulus(wave.signal, f"{one}{two}", name=wave.name, sample_rate=8000)
        for wave, one, two in zip(waves, says, late, strict=True)
    ]
    made = {name: synthesise(model, shown, ["0"], steps=2) for name, model in models.items()}
    nulls = {name: null_distribution(model, shown, ["0"]) for name, model in models.items()}
    result = evaluate("controversial", as_study(made, nulls), models=models, plugins=PLUGINS, steps=400)
    check_dataset(result)
    assert "sample_rate" in result.attrs
    has_partner = result.other_stimulus != ""
    assert has_partner.any()
    assert (result.success.values[has_partner.values] == VERDICTS["yes"]).all()
    assert (result.success.values[~has_partner.values] == VERDICTS["missing"]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "class"}, "did you mean 'classes'"),
        ({"between": ["left", "rigth"]}, "unknown model of the study 'rigth'; did you mean 'right'?"),
        ({"between": ["left"]}, "compares models, and 'left' is alone"),
        ({"between": "left"}, "between is 'left', expected a list of names"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"limit": 1}, "the study's first 1 stimuli are of one category or none: expected two categories"),
    ],
)
def test_a_slip_gets_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError) as caught:
        found_of(LEFT_RIGHT, pictures(2), **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_that_cannot_share_a_signal_are_refused() -> None:
    wide = looking(1)
    network = nn.Sequential(nn.Upsample((6, 6)), *wide.module)
    odd = Model(network.eval(), ImageDomain(1, 6, 12), ["2", "output"], LABELS)
    models = {"left": looking(0), "odd": odd}
    made = {name: synthesise(model, pictures(), ["output"], steps=2) for name, model in models.items()}
    nulls = {name: null_distribution(model, pictures(), ["output"]) for name, model in models.items()}
    with pytest.raises(MetameryError, match="'left' and 'odd' cannot share a signal"):
        evaluate("controversial", as_study(made, nulls), models=models, plugins=PLUGINS)
