"""The evaluator `similarity`: on natural signals, on metamers, and between the two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.similarity.comparison import similarity_of
from metamery.analysis.similarity.streaming import Gram
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins, Stimulus, Tap, WaveformDomain
from metamery.framework.results import open_study
from metamery.framework.schema import STATES, model_key
from metamery.framework.store import StudyStore
from metamery.framework.testing import check_evaluator, example_model, example_signals
from torch import nn

COUNT = 14
MEASURES = ["cka_linear", "biased_cka_rbf", "rsa_euclidean_spearman"]
QUICK: dict[str, Any] = {"measures": MEASURES, "resamples": 20, "batch_size": 4}


def other_model() -> Model:
    """Takes larger pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(245, 6))
    return Model(module.eval(), ImageDomain(3, 16, 16), ["1", "output"])


def natural(count: int = COUNT) -> list[Stimulus]:
    signals = example_signals(example_model(), count)
    return [Stimulus(signal, name=f"s{number}") for number, signal in enumerate(signals)]


def models() -> dict[str, Model]:
    return {"a:net": example_model(), "b:other": other_model()}


def study(made_by: dict[str, Model], noise: Sequence[float] = (0.02, 0.3, 0.9), missing: int = 0) -> xr.DataTree:
    """Metamers are the natural signals and noise, more at each layer; the last `missing` are not there at the first."""
    nodes: dict[str, xr.Dataset] = {}
    generator = torch.Generator().manual_seed(3)
    for name, model in made_by.items():
        signals = torch.stack([model.domain.fit(stimulus) for stimulus in natural()])
        shape = (len(model.layers), COUNT, 2)
        drawn = torch.rand(*shape, *model.domain.shape, generator=generator)
        share = torch.tensor(noise[: shape[0]]).reshape(-1, 1, 1, 1, 1, 1)
        metamers = (1 - share) * signals[:, None] + share * drawn
        state = np.full(shape, STATES["done"], np.int8)
        if missing:
            state[0, -missing:, 1] = STATES["failed"]
            metamers[0, -missing:, 1] = torch.nan
        names = [f"s{number}" for number in range(COUNT)]
        path = f"/models/{model_key(name)}"
        nodes[path] = xr.Dataset(attrs={"model": name})
        nodes[f"{path}/stimuli"] = xr.Dataset(
            {"signal": (("stimulus", *model.domain.dims), signals.numpy())}, {"stimulus": names}
        )
        each = ("layer", "stimulus", "seed")
        nodes[f"{path}/metamers"] = xr.Dataset(
            {"signal": ((*each, *model.domain.dims), metamers.numpy()), "state": (each, state)},
            {"layer": list(model.layers), "stimulus": names, "seed": [0, 1]},
        )
    return xr.DataTree.from_dict(nodes)


def found(context: Context, **options: Any) -> xr.Dataset:
    result: xr.Dataset = Plugins(installed=()).load("evaluator", "similarity", **{**QUICK, **options})(context)
    return result


def read(model: Model, signals: torch.Tensor) -> dict[str, Gram]:
    with Tap(model.module, model.layers) as tap, torch.no_grad():
        return {layer: Gram.of(rows) for layer, rows in tap(signals).items()}


def test_between_any_two_layers_of_any_two_models() -> None:
    given, stimuli = models(), natural()
    result = found(Context(given, stimuli))
    sites = ["a:net 1", "a:net 2", "a:net output", "b:other 1", "b:other output"]
    assert result.site.values.tolist() == result.other_site.values.tolist() == sites
    assert result.model.values.tolist() == ["a:net"] * 3 + ["b:other"] * 2
    assert result.other_layer.values.tolist() == ["1", "2", "output", "1", "output"]
    inners = [
        inner
        for model in given.values()
        for inner in read(model, torch.stack([model.domain.fit(stimulus) for stimulus in stimuli])).values()
    ]
    for measure in MEASURES:
        expected = similarity_of(inners, measure).matrix()
        np.testing.assert_allclose(result.similarity.sel(metric=measure), expected, atol=1e-5)
    assert result.counted.item() == COUNT
    apart = ~np.eye(5, dtype=bool)
    for metric in (0, 2):
        assert (result.similarity_low.values[metric][apart] < result.similarity_high.values[metric][apart]).all()
    assert result.similarity_low.values[1][apart].tolist() == pytest.approx([np.nan] * 20, nan_ok=True)
    assert result.title == "Similarity of layers"


def test_neither_batches_nor_memory_nor_other_models_matter() -> None:
    given, stimuli = models(), natural()
    whole = found(Context(given, stimuli))
    each = 4 * (6 * 100 + 6 * 25 + 4 + 5 * 49 + 6)
    fixed = (24 * 5 + 64) * COUNT**2 + 2**27
    tight = found(Context(given, stimuli), batch_size=3, memory=(fixed + each * (6 + 4)) / 2**30)
    assert tight.attrs["memory_bytes"] == fixed + each * (6 + 3) < whole.attrs["memory_bytes"]
    xr.testing.assert_allclose(tight, whole, rtol=1e-5)
    alone = found(Context({"a:net": given["a:net"]}, stimuli))
    xr.testing.assert_allclose(whole.isel(site=slice(3), other_site=slice(3)), alone, rtol=1e-5)
    with pytest.raises(
        MetameryError, match=r"similarity of 14 stimuli, 5 sets of activations, takes .* memory is 0.1:"
    ):
        found(Context(given, stimuli), memory=0.1)


def test_layers_are_those_that_a_model_has() -> None:
    context = Context(models(), natural())
    result = found(context, layers=["4", "input"], resamples=0)
    assert result.site.values.tolist() == ["a:net 4", "a:net input", "b:other input"]
    assert set(result.data_vars) == {"similarity", "counted"}
    with pytest.raises(MetameryError, match="unknown layer '9'"):
        found(context, layers=["9"])


def test_a_limit_draws_stimuli_with_the_generator() -> None:
    given, stimuli = {"a:net": example_model()}, natural(30)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    first, again, other = (
        found(Context(given, stimuli, generator=generator), limit=12, batch_size=12) for generator in generators
    )
    assert first.counted.item() == 12
    assert first.identical(again)
    assert not np.allclose(first.similarity, other.similarity)


def test_metamers_against_their_natural_signals() -> None:
    given = {"a:net": example_model()}
    tree = study(given)
    result = found(Context(given, natural(), tree), signals="both")
    assert result.site.values.tolist() == result.other_site.values.tolist() == ["a:net 1", "a:net 2", "a:net output"]
    group = tree["/models/a+net"]
    model = given["a:net"]
    original = read(model, model.domain.quantise(torch.from_numpy(group["stimuli/signal"].values)))
    for row, layer in enumerate(model.layers):
        by_seed = [
            read(model, model.domain.quantise(torch.from_numpy(group["metamers/signal"].values[row, :, seed])))
            for seed in range(2)
        ]
        for column, place in enumerate(model.layers):
            repeated = [own[place] for own in by_seed]
            for metric, measure in enumerate(MEASURES):
                matrix = similarity_of([original[place], *repeated], measure).matrix()
                assert result.similarity.values[metric, row, column] == pytest.approx(
                    float(matrix[0, 1:].mean()), abs=1e-4
                ), layer
                ceiling = similarity_of(repeated, measure).ceiling()
                for bound, end in zip(ceiling, ("lower", "upper"), strict=True):
                    assert result[f"ceiling_{end}"].values[metric, row, column] == pytest.approx(bound, abs=1e-4)
    own = result.similarity.sel(metric="cka_linear", other_site="a:net 1").values
    assert own[0] > 0.98 > own[1] > own[2]
    inside = (result.similarity_low <= result.similarity + 1e-9) & (result.similarity <= result.similarity_high + 1e-9)
    assert inside.sel(metric=[MEASURES[0], MEASURES[2]]).mean() > 0.9
    assert result.similarity_low.sel(metric="biased_cka_rbf").isnull().all()  # its bias would be the copies'


def test_metamers_of_one_model_are_shown_to_others() -> None:
    given = models()
    both = found(Context(given, natural(), study(given)), signals="both", made_at="b:other 1")
    assert both.site.values.tolist() == ["b:other 1"]
    assert both.other_model.values.tolist() == ["a:net"] * 3 + ["b:other"] * 2
    assert (both.similarity.sel(metric="cka_linear") > 0.95).all()  # they are nearly the natural signals


def test_between_layers_on_metamers() -> None:
    given = models()
    context = Context(given, natural(), study(given))
    result = found(context, signals="metamers", made_at="a:net 1")
    plain = found(context)
    assert result.similarity.dims == plain.similarity.dims
    assert result.attrs["made_at"] == "a:net 1"
    assert result.ceiling_upper.dims == ("metric", "site")
    np.testing.assert_allclose(result.similarity, plain.similarity, atol=0.1)  # there is little noise
    other = found(context, signals="metamers", made_at="a:net output")
    assert np.abs(other.similarity - plain.similarity).max() > 0.2
    with pytest.raises(MetameryError, match="made_at is not given: expected one of a:net 1, a:net 2, a:net output, b"):
        found(context, signals="metamers")
    with pytest.raises(MetameryError, match="unknown site of metamers 'a:net 3'; did you mean 'a:net"):
        found(context, signals="both", made_at="a:net 3")
    own = {"a:net": given["a:net"]}
    one = Context(own, natural(), study(own))
    assert found(one, signals="metamers", made_at="output").attrs["made_at"] == "a:net output"


@pytest.mark.parametrize(("missing", "counted"), [(3, 11), (12, 2)])
def test_stimuli_without_all_of_their_metamers_do_not_count(missing: int, counted: int) -> None:
    given = {"a:net": example_model()}
    context = Context(given, natural(), study(given, missing=missing))
    result = found(context, signals="both")
    assert result.counted.values.tolist() == [counted, COUNT, COUNT]
    assert result.similarity.isel(site=0).isnull().all() == (counted < 4)
    assert result.similarity.isel(site=[1, 2]).notnull().all()
    if counted < 4:
        with pytest.raises(MetameryError, match="similarity of 2 stimuli, expected at least 4"):
            found(context, signals="metamers", made_at="1")
    else:
        assert found(context, signals="metamers", made_at="1").counted.item() == counted


@pytest.mark.parametrize("options", [{}, {"signals": "both"}, {"signals": "metamers", "made_at": "a:net 2"}])
def test_it_holds_the_contract(options: dict[str, Any], tmp_path: Path) -> None:
    given = models()
    context = Context(given, natural(), study(given))
    evaluate = Plugins(installed=()).load("evaluator", "similarity", **QUICK, **options)
    check_evaluator(evaluate, context)
    StudyStore.create(tmp_path / "kept", {}, {})
    StudyStore.reopen(tmp_path / "kept").add("similarity", evaluate(context))
    with open_study(tmp_path / "kept") as tree:
        assert tree["similarity"].to_dataset().similarity.sizes["site"] in (5, 3)


def test_intervals_need_ten_stimuli() -> None:
    result = found(Context({"a:net": example_model()}, natural(8)))
    assert "similarity_low" not in result
    with pytest.raises(MetameryError, match="similarity of 3 stimuli, expected at least 4"):
        found(Context({"a:net": example_model()}, natural(3)))


class Broken(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return (signals.flatten(1) - signals[0].flatten() + 1).log().nan_to_num(-1) / (
            signals.mean((1, 2, 3))[:, None] > 0
        )


def test_what_is_not_finite_is_named() -> None:
    stimuli = natural()
    stimuli[5] = Stimulus(torch.zeros(3, 12, 12), name="dark")
    context = Context({"net": Model(Broken(), ImageDomain(3, 12, 12), ["output"])}, stimuli)
    with pytest.raises(MetameryError, match="activations at 'net output' to stimulus 'dark' are not finite"):
        found(context)


def test_silent_sounds_and_models_of_another_kind_are_named() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = Model(nn.Sequential(nn.Linear(100, 4)).eval(), WaveformDomain(100, 8000), ["output"])
        longer = Model(nn.Sequential(nn.Linear(120, 4)).eval(), WaveformDomain(120, 8000), ["output"])
    waves = 0.1 * torch.randn(COUNT, 100, generator=torch.Generator().manual_seed(0))
    made = torch.stack([waves, waves], dim=1)[None]
    made[0, 4, 0] = 0
    names = [f"s{number}" for number in range(COUNT)]
    each = ("layer", "stimulus", "seed")
    tree = xr.DataTree.from_dict(
        {
            "/models/net/stimuli": xr.Dataset({"signal": (("stimulus", "time"), waves.numpy())}, {"stimulus": names}),
            "/models/net/metamers": xr.Dataset(
                {
                    "signal": ((*each, "time"), made.numpy()),
                    "state": (each, np.full((1, COUNT, 2), STATES["done"], np.int8)),
                },
                {"layer": ["output"], "stimulus": names, "seed": [0, 1]},
            ),
        }
    )
    stimuli = [Stimulus(wave, name=name, sample_rate=8000) for wave, name in zip(waves, names, strict=True)]
    options = {"signals": "both", "made_at": "net output"}
    assert found(Context({"net": own}, stimuli, tree), **options).similarity.notnull().all()
    tree["/models/longer"] = tree["/models/net"].copy()
    with pytest.raises(MetameryError, match="a signal of stimulus 's4' is silent"):
        found(Context({"net": own, "longer": longer}, stimuli, tree), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measures": "cka_linear"}, r"measures is 'cka_linear', expected a list of names"),
        ({"measures": ["cka"]}, "unknown measure of similarity 'cka'"),
        ({"measures": ["cka_rbf", "cka_rbf"]}, "measure 'cka_rbf' is named twice"),
        ({"signals": "metamer"}, "unknown signals 'metamer'; did you mean 'metamers'"),
        ({"layers": "fc"}, "layers is 'fc', expected a list of names"),
        ({"resamples": -1}, "resamples is -1, expected a whole number of at least 0"),
        ({"limit": 3}, "limit is 3, expected a whole number of at least 4"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number of at least 1"),
        ({"bandwidth": 0}, "bandwidth is 0, expected a number above 0"),
        ({"memory": "lots"}, "memory is 'lots', expected a number above 0"),
        ({"made_at": "a 1"}, "made_at is 'a 1', which is for signals 'metamers' or 'both'"),
    ],
)
def test_a_bad_option_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", "similarity", **options)


def test_metamers_need_a_study() -> None:
    with pytest.raises(MetameryError, match="signals 'both' needs a study; expected 'natural' for models alone"):
        found(Context(models(), natural()), signals="both")
