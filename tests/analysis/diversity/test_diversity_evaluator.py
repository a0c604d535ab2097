"""The evaluator `diversity`, on studies in memory and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from inputs import TINY, draw_pictures
from metamery.analysis import as_study, evaluate, maximally_different, null_distribution, synthesise
from metamery.analysis.proof.measures import NULL_METRICS, measure
from metamery.analysis.proof.success import settled_from
from metamery.framework import MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.cli import main
from metamery.framework.results import open_study
from metamery.framework.schema import VERDICTS, check_dataset
from metamery.framework.testing import example_model, example_stimuli
from torch import nn

PLUGINS = Plugins(installed=())
MODELS = {"one": example_model(), "two": example_model(seed=1)}
QUICK: dict[str, Any] = {"k": 3, "steps": 40, "resamples": 20, "limit": 2}


@pytest.fixture(scope="module")
def nulls() -> dict[str, xr.Dataset]:
    return {name: null_distribution(model, example_stimuli(count=8), ["1", "2"]) for name, model in MODELS.items()}


def study(nulls: dict[str, xr.Dataset], seeds: int = 3, layers: tuple[str, ...] = ("1",), steps: int = 150) -> Any:
    stimuli = example_stimuli(count=4)
    made = {name: synthesise(model, stimuli, layers, steps=steps, seeds=seeds) for name, model in MODELS.items()}
    return as_study(made, nulls)


@pytest.fixture(scope="module")
def found(nulls: dict[str, xr.Dataset]) -> xr.Dataset:
    return evaluate("diversity", study(nulls), models=MODELS, plugins=PLUGINS, **QUICK)


def test_it_passes_the_schema_and_every_variant_is_a_metamer_after_rounding(
    found: xr.Dataset, nulls: dict[str, xr.Dataset]
) -> None:
    check_dataset(found)
    assert (found.success == VERDICTS["yes"]).all()
    natural = torch.stack([stimulus.signal for stimulus in example_stimuli(count=4)[:2]])
    for site in range(2):
        name, layer = str(found.model.values[site]), str(found.layer.values[site])
        signals = torch.from_numpy(found.signal.values[site])
        assert torch.equal((signals * 255).round() / 255, signals)
        least = settled_from(nulls[name], layer)
        with torch.no_grad(), MODELS[name].tap([layer, "output"]) as tap:
            targets = {key: value.clone() for key, value in tap(natural).items()}
            for stimulus, of_one in enumerate(signals):
                own = tap(of_one)
                values = measure(own[layer], targets[layer][stimulus].expand_as(own[layer]), NULL_METRICS)
                assert (values > [least[metric] for metric in NULL_METRICS]).all()
                assert (own["output"].argmax(1) == targets["output"][stimulus].argmax()).all()


def test_the_spread_is_that_of_the_signals_and_larger_than_that_of_seeds(found: xr.Dataset) -> None:
    for prefix, name in (("", "signal"), ("ordinary_", "start")):
        signals = found[name].values.astype(np.float64)
        for site, stimulus in np.ndindex(2, 2):
            a, b, c = signals[site, stimulus]
            by_hand = np.mean([np.sqrt(np.mean((x - y) ** 2)) for x, y in ((a, b), (a, c), (b, c))])
            assert found[f"{prefix}spread"].values[site, stimulus] == pytest.approx(by_hand, rel=1e-5)
    assert (found.ordinary_success == VERDICTS["yes"]).all()
    assert (found.spread > 2 * found.ordinary_spread).all()
    assert (found.relative_spread > found.ordinary_relative_spread).all()
    natural = torch.stack([stimulus.signal for stimulus in example_stimuli(count=4)[:2]]).double()
    assert found.between_stimuli.values == pytest.approx(float((natural[0] - natural[1]).square().mean().sqrt()))


def test_easiest_and_hardest_are_the_ends_over_all_metamers(found: xr.Dataset) -> None:
    for site, other in ((0, 1), (1, 0)):
        both = np.concatenate([found[name].values[site, other] for name in ("ordinary_correct", "correct")], axis=1)
        assert (both >= 0).all()
        assert found.easiest.values[site] == both.max(axis=1).mean()
        assert found.hardest.values[site] == both.min(axis=1).mean()


def test_seeds_that_a_study_lacks_are_made_as_it_would_make_them(
    found: xr.Dataset, nulls: dict[str, xr.Dataset]
) -> None:
    fewer = evaluate("diversity", study(nulls, seeds=1), models=MODELS, plugins=PLUGINS, **QUICK)
    xr.testing.assert_equal(fewer.start, found.start)
    xr.testing.assert_equal(fewer.signal, found.signal)


def test_a_joint_layer_is_kept_at_each_of_its_terms(nulls: dict[str, xr.Dataset]) -> None:
    made = study(nulls, layers=("1 + 2",), steps=400)
    joint = evaluate("diversity", made, models=MODELS, plugins=PLUGINS, **QUICK)
    assert (joint.success == VERDICTS["yes"]).all()
    natural = example_stimuli()[0].signal[None]
    with torch.no_grad(), MODELS["one"].tap(["1", "2"]) as tap:
        target = {name: value.clone() for name, value in tap(natural).items()}
        own = tap(torch.from_numpy(joint.signal.values[0, 0]))
        for term, values in own.items():
            least = [settled_from(nulls["one"], term)[metric] for metric in NULL_METRICS]
            assert (measure(values, target[term].expand_as(values), NULL_METRICS) > least).all()


def test_metamers_are_pushed_apart_at_a_layer_of_another_model(found: xr.Dataset, nulls: dict[str, xr.Dataset]) -> None:
    there = evaluate("diversity", study(nulls), models=MODELS, plugins=PLUGINS, **{**QUICK, "apart": "two 2"})
    one = there.model.values == "one"
    with torch.no_grad(), MODELS["two"].tap(["2"]) as tap:
        far, near = (tap(torch.from_numpy(each.signal.values[one][0, 0]))["2"] for each in (there, found))
        begun = tap(torch.from_numpy(there.start.values[one][0, 0]))["2"]
    spreads = [float(torch.pdist(each.flatten(1)).mean()) / each[0].numel() ** 0.5 for each in (far, near, begun)]
    assert spreads[0] == pytest.approx(float(there.spread.values[one][0, 0]), rel=1e-5)
    assert spreads[2] == pytest.approx(float(there.ordinary_spread.values[one][0, 0]), rel=1e-5)
    assert spreads[0] > spreads[1]


def test_where_no_metamer_can_be_told_from_chance_there_is_no_spread(nulls: dict[str, xr.Dataset]) -> None:
    perfect = {name: null.copy(deep=True) for name, null in nulls.items()}
    perfect["one"]["maximum"].loc[{"metric": "pearson"}] = 0.9995
    result = evaluate("diversity", study(perfect), models=MODELS, plugins=PLUGINS, **QUICK)
    assert (result.success[0] == VERDICTS["unattainable"]).all()
    assert result.spread[0].isnull().all()
    assert result.spread[1].notnull().all()


def test_sounds_are_pushed_apart() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(400, 60), nn.ReLU(), nn.Linear(60, 3)).eval()
    model = Model(network, WaveformDomain(400, 8000), ["1", "output"], ["no", "yes", "so"])
    waves = 0.3 * torch.randn(6, 400, generator=torch.Generator().manual_seed(0))
    sounds = [Stimulus(wave, "no", name=str(n), sample_rate=8000) for n, wave in enumerate(waves)]
    null = null_distribution(model, sounds, ["1"])
    made = maximally_different(model, sounds[:2], null, ["1"], k=2, push_steps=100, steps=300, plugins=PLUGINS)
    check_dataset(made)
    assert (made.success == VERDICTS["yes"]).all()
    signals = torch.from_numpy(made.signal.values)
    assert torch.equal(model.domain.quantise(signals), signals)
    assert (made.spread > 2 * made.ordinary_spread).all()
    assert made.spread.max() > 0.5  # most of what 60 units see of 400 samples is free, from −1 to 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 1}, "k is 1, expected a whole number of at least 2"),
        ({"unexplained": 0}, "unexplained is 0, expected a number from 0 to 1"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"apart": "2"}, "apart is '2', expected a model and one of its layers, such as \"small-cnn relu1\""),
        ({"apart": "smal-cnn relu1"}, "did you mean 'small-cnn'?"),
        ({"apart": "two 9"}, "'9'"),
        ({"apart": "coch-cnn-digits relu1"}, "cannot share a signal"),
        ({"recognisers": "two"}, "recognisers is 'two', expected a list of models"),
    ],
)
def test_a_slip_gets_one_line(nulls: dict[str, xr.Dataset], options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError) as caught:
        evaluate("diversity", study(nulls, steps=1), models=MODELS, plugins=PLUGINS, **{**QUICK, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_without_a_null_is_refused() -> None:
    made = {name: synthesise(model, example_stimuli(), ["1"], steps=1) for name, model in MODELS.items()}
    with pytest.raises(MetameryError, match="model 'one' has no null, by which metamers are judged"):
        evaluate("diversity", as_study(made), models=MODELS, plugins=PLUGINS, **QUICK)


def test_from_the_command_line_it_is_stored_and_shown(command: Any, tmp_path: Path) -> None:
    network = tmp_path / "tiny.py"
    network.write_text(TINY, encoding="utf-8")
    pictures = draw_pictures(tmp_path / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    asked = [f"{network}:build", "--stimuli", pictures, "--layers", "1", "--steps", 200]
    assert main(["synthesise", *map(str, asked), "-o", str(tmp_path / "study")]) == 0
    said = command("evaluate", "diversity", tmp_path / "study", "--set", "k=2", "--set", "steps=30")
    assert said.status == 0, said.err
    found = open_study(tmp_path / "study")["diversity"].to_dataset()
    check_dataset(found)
    assert dict(found.success.sizes) == {"site": 1, "stimulus": 5, "variant": 2}
    assert "Maximally different metamers" in (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert command("evaluate", "diversity", tmp_path / "study", "--set", "k=1").status == 2
