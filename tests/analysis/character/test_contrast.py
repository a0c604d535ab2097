"""The evaluator `contrast`, on linear networks: their metamers and their adversarial examples are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.character.spectra import spectral_slope
from metamery.framework import Context, ImageDomain, MetameryError, Model, Plugins
from metamery.framework.schema import STATES, check_dataset, model_key
from metamery.framework.testing import example_context, example_study
from torch import nn

DOMAIN = ImageDomain(3, 12, 12)
KINDS = ["metamer", "adversarial", "noise"]


def found(context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", "contrast", **options)(context)
    return dataset


def linear_model(seed: int = 0, classes: int = 2, domain: ImageDomain = DOMAIN) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(3 * domain.height * domain.width, classes))
    return Model(module.eval(), domain, ["0", "output"])


def naturals(count: int = 6, domain: ImageDomain = DOMAIN) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(count, *domain.shape, generator=torch.Generator().manual_seed(1))


def in_null_space(model: Model, natural: torch.Tensor, size: float, seeds: int = 2) -> torch.Tensor:
    """True metamers of a linear network at its last layer: the natural signals plus what it cannot see."""
    weight = model.module[1].weight.detach().double()
    seen = torch.linalg.qr(weight.T).Q  # (n, classes)
    shape = (len(natural), seeds, weight.shape[1])
    change = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    change = change - change @ seen @ seen.T
    change = size * change / torch.linalg.vector_norm(change, dim=2, keepdim=True)
    return (natural[:, None].double() + change.reshape(*shape[:2], *natural.shape[1:])).float()


def context(models: dict[str, tuple[Model, torch.Tensor, torch.Tensor]], settings: str | None = None) -> Context:
    """A study of some models; of each the natural signals and the metamers at ``output``, NaN where missing.

    Those at the layer ``0`` are grey.
    """
    nodes = {}
    for name, (model, natural, signals) in models.items():
        path, dims = f"/models/{model_key(name)}", model.domain.dims
        names = [f"s{number}" for number in range(len(natural))]
        both = torch.stack([torch.full_like(signals, 0.5), signals])
        state = np.where(both.isfinite().flatten(3).all(dim=3), STATES["done"], STATES["failed"])
        each = ("layer", "stimulus", "seed")
        nodes[path] = xr.Dataset(attrs={"model": name})
        nodes[f"{path}/stimuli"] = xr.Dataset({"signal": (("stimulus", *dims), natural)}, {"stimulus": names})
        nodes[f"{path}/metamers"] = xr.Dataset(
            {"signal": ((*each, *dims), both), "state": (each, state)},
            {"layer": list(model.layers), "stimulus": names, "seed": list(range(signals.shape[1])), "step": [0]},
            {} if settings is None else {"settings": settings},
        )
    study = xr.DataTree.from_dict(nodes)
    return Context({name: given[0] for name, given in models.items()}, [], study)  # type: ignore[arg-type]


def answer_moves(model: Model, natural: torch.Tensor) -> np.ndarray[Any, Any]:
    """The Euclidean size from which a linear network of two classes can be made to change its answer."""
    weight, bias = (each.detach().double() for each in (model.module[1].weight, model.module[1].bias))
    difference = weight[0] - weight[1]
    margin = (natural.flatten(1).double() @ difference + bias[0] - bias[1]).abs()
    return (margin / torch.linalg.vector_norm(difference)).numpy()


def test_a_metamer_keeps_what_an_adversarial_example_of_its_size_flips() -> None:
    model, natural = linear_model(), naturals()
    limits = answer_moves(model, natural)
    size = 1.1 * limits.max()
    result = found(context({"net": (model, natural, in_null_space(model, natural, size))}))
    assert result.transformation.values.tolist() == KINDS
    at = result.sel(site="net output")
    np.testing.assert_allclose(at.size, size, rtol=1e-5)
    np.testing.assert_allclose(
        at.psnr_db.sel(transformation="noise"), at.psnr_db.sel(transformation="metamer"), rtol=1e-4
    )
    assert at.kept.values.tolist()[:2] == [1, 0]
    np.testing.assert_allclose(at.own_distance.sel(transformation="metamer"), 0, atol=1e-4)
    assert (
        at.own_distance.sel(transformation="adversarial") > 100 * at.own_distance.sel(transformation="metamer")
    ).all()
    xr.testing.assert_equal(at.own_distance, at.distance.sel(measured_layer="output", drop=True))
    # At the signal itself both are as far.
    signal = at.distance.sel(measured_layer="0")
    np.testing.assert_allclose(signal, signal.sel(transformation="metamer").broadcast_like(signal), rtol=1e-4)
    confidence = at.confidence
    assert (confidence.sel(transformation="metamer") > 0.5).all()
    assert (confidence.sel(transformation="adversarial") < 0.5).all()


def test_an_answer_flips_from_the_size_on_from_which_it_can() -> None:
    model, natural = linear_model(), naturals(12)
    limits = answer_moves(model, natural)
    size = float(np.median(limits))
    result = found(context({"net": (model, natural, in_null_space(model, natural, size))}), steps=40)
    agrees = result.agrees.sel(site="net output", recogniser="net", transformation="adversarial").values
    clear = np.abs(limits / size - 1) > 0.02
    assert clear.sum() >= 8
    np.testing.assert_array_equal(agrees[clear], np.repeat((limits > size)[clear, None], 2, axis=1))


def test_the_sizes_are_those_of_the_metamers_at_the_range_s_ends_too() -> None:
    model, natural = linear_model(), naturals()
    random = torch.rand(6, 2, *DOMAIN.shape, generator=torch.Generator().manual_seed(4))
    result = found(context({"net": (model, natural, random)}))
    for site in result.site:
        sizes = result.sel(site=site)["size"]
        np.testing.assert_allclose(sizes, sizes.sel(transformation="metamer").broadcast_like(sizes), rtol=1e-5)
    assert (result.largest <= 0.7 + 1e-6).all()
    grey = torch.linalg.vector_norm((0.5 - natural).flatten(1), dim=1)
    np.testing.assert_allclose(result["size"].sel(site="net 0", transformation="metamer", seed=0), grey, rtol=1e-5)
    metamer = result.sel(site="net output", transformation="metamer", seed=1)
    np.testing.assert_allclose(metamer.slope, spectral_slope(random[:, 1]), rtol=1e-6)
    np.testing.assert_allclose(metamer.largest, (random[:, 1] - natural).abs().flatten(1).amax(1), rtol=1e-6)


def test_other_models_are_asked_where_they_take_the_same_signals() -> None:
    model, natural = linear_model(), naturals()
    twin, other, small = linear_model(), linear_model(3), linear_model(0, domain=ImageDomain(3, 11, 11))
    metamers = in_null_space(model, natural, 1.1 * answer_moves(model, natural).max())
    little = naturals(domain=ImageDomain(3, 11, 11))
    given = {
        "net": (model, natural, metamers),
        "twin": (twin, natural, metamers),
        "small": (small, little, little[:, None].repeat(1, 2, 1, 1, 1)),
    }
    with_other = context(given)
    models = {**with_other.models, "other": other}
    result = found(Context(models, [], with_other.study))  # type: ignore[arg-type]
    check_dataset(result)
    agrees = result.agrees.sel(site="net output")
    np.testing.assert_array_equal(agrees.sel(recogniser="twin"), agrees.sel(recogniser="net"))
    assert (agrees.sel(recogniser="small") == -1).all()
    assert (agrees.sel(recogniser="other") >= 0).all()
    with torch.no_grad():
        same = other.module(metamers.flatten(0, 1)).argmax(1) == other.module(natural).argmax(1).repeat_interleave(2)
    np.testing.assert_array_equal(agrees.sel(recogniser="other", transformation="metamer").values.ravel(), same)
    elsewhere = agrees.sel(recogniser=["twin", "other"]).mean(("recogniser", "stimulus", "seed"))
    np.testing.assert_allclose(result.kept_elsewhere.sel(site="net output"), elsewhere)
    assert result.kept_elsewhere.sel(site="small output").isnull().all()
    # A metamer that is the stimulus itself leaves an adversarial example no room.
    unmoved = result.sel(site="small output")
    assert (unmoved["size"] == 0).all()
    assert (unmoved.kept == 1).all()


def test_a_result_depends_neither_on_its_batch_mates_nor_on_other_models() -> None:
    model, natural = linear_model(classes=4), naturals(5)
    metamers = in_null_space(model, natural, 0.5)
    whole = found(context({"net": (model, natural, metamers)}), steps=3)
    xr.testing.assert_allclose(
        whole, found(context({"net": (model, natural, metamers)}), steps=3, batch_size=1), rtol=1e-4, atol=1e-6
    )
    state = torch.get_rng_state()
    both = context({"first": (linear_model(5, 4), natural, metamers), "net": (model, natural, metamers)})
    later = found(both, steps=3).sel(site=whole.site, recogniser=["net"])
    kept = [name for name in whole.data_vars if not str(name).startswith("kept")]
    xr.testing.assert_allclose(later[kept], whole[kept], rtol=1e-4, atol=1e-6)
    assert torch.equal(state, torch.get_rng_state())


def test_a_metamer_that_is_not_done_is_missing_and_a_limit_takes_the_first() -> None:
    model, natural = linear_model(), naturals()
    metamers = in_null_space(model, natural, 0.5)
    whole = found(context({"net": (model, natural, metamers)}), steps=3)
    metamers[1, 0] = metamers[3] = torch.nan
    given = context({"net": (model, natural, metamers)}, '{"preset": "fast", "total_variation": 0.5, "bounds": 0.0}')
    result = found(given, steps=3, limit=4)
    assert result.stimulus.values.tolist() == ["s0", "s1", "s2", "s3"]
    assert {name: result.attrs[name] for name in ("preset", "total_variation", "bounds")} == {
        "preset": "fast",
        "total_variation": 0.5,
        "bounds": 0.0,
    }
    at = result.sel(site="net output")
    for name in ("size", "slope", "confidence", "own_distance"):
        expected = whole[name].sel(site="net output", stimulus=result.stimulus).copy()
        expected[:, 1, 0] = expected[:, 3] = np.nan
        xr.testing.assert_allclose(at[name], expected, rtol=1e-4)
    missing = at.agrees.sel(recogniser="net") == -1
    assert missing.sum(("stimulus", "seed")).values.tolist() == [3, 3, 3]
    nothing = found(context({"net": (model, natural, torch.full_like(metamers, torch.nan))}), steps=3)
    check_dataset(nothing)
    assert nothing.kept.sel(site="net output").isnull().all()


def test_the_example_study_is_as_far_off_as_it_says(tmp_path: Path) -> None:
    result = found(example_context(example_study(tmp_path / "study")), steps=2)
    size = 0.01 * np.sqrt(3 * 12 * 12)
    np.testing.assert_allclose(result["size"][0], size, rtol=1e-4)
    assert result["size"][2, :, 2].isnull().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"limit": 0}, "limit is 0, expected a whole number of at least 1"),
        ({"cutoff": 1}, "cutoff is 1, expected a number between 0 and 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected a whole number of at least 1"),
    ],
)
def test_a_bad_option_is_named_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("evaluator", "contrast", **options)
