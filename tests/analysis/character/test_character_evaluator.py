"""The evaluator `character`, on studies whose metamers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.character.signals import psnr, ssim
from metamery.analysis.character.spectra import energy_above, folded_share, spectral_slope
from metamery.framework import Context, MetameryError, Model, Plugins, WaveformDomain
from metamery.framework.schema import STATES, check_dataset, model_key
from metamery.framework.testing import example_context, example_model, example_signals, example_study
from torch import nn
from torch.nn import functional as F


def found(context: Context, **options: Any) -> xr.Dataset:
    dataset: xr.Dataset = Plugins(installed=()).load("evaluator", "character", **options)(context)
    return dataset


def context(
    models: dict[str, tuple[Model, torch.Tensor]], natural: torch.Tensor, settings: str | None = None
) -> Context:
    """A study of some models; of each the metamers ``(layer, stimulus, seed, …)``, NaN where they are missing."""
    nodes = {}
    names = [f"s{number}" for number in range(len(natural))]
    for name, (model, signals) in models.items():
        path, dims = f"/models/{model_key(name)}", model.domain.dims
        state = np.where(signals.isfinite().flatten(3).all(dim=3), STATES["done"], STATES["missing"])
        each = ("layer", "stimulus", "seed")
        nodes[path] = xr.Dataset(attrs={"model": name})
        nodes[f"{path}/stimuli"] = xr.Dataset({"signal": (("stimulus", *dims), natural)}, {"stimulus": names})
        nodes[f"{path}/metamers"] = xr.Dataset(
            {"signal": ((*each, *dims), signals), "state": (each, state)},
            {"layer": list(model.layers), "stimulus": names, "seed": list(range(signals.shape[2])), "step": [0, 1]},
            {} if settings is None else {"settings": settings},
        )
    study = xr.DataTree.from_dict(nodes)
    return Context({name: model for name, (model, _) in models.items()}, [], study)  # type: ignore[arg-type]


def metamers(model: Model, natural: torch.Tensor, seeds: int = 3) -> torch.Tensor:
    shape = (len(model.layers), len(natural), seeds, *model.domain.shape)
    moved = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return (natural[None, :, None] + moved).clamp(0, 1)


def test_each_metamer_is_measured_beside_its_natural_signal() -> None:
    model = example_model()
    natural = example_signals(model, 4)
    signals = metamers(model, natural)
    result = found(context({"net": (model, signals)}, natural), cutoff=0.4, batch_size=5)
    assert result.site.values.tolist() == ["net 1", "net 2", "net output"]
    assert result.model.values.tolist() == ["net"] * 3
    assert result.layer.values.tolist() == ["1", "2", "output"]
    assert result.attrs["cutoff"] == 0.4
    one = signals[2, :, 1]
    at = {"site": "net output", "seed": 1}
    np.testing.assert_allclose(result.psnr_db.sel(at), psnr(one, natural, 1.0), rtol=1e-6)
    np.testing.assert_allclose(result.ssim.sel(at), ssim(one, natural, 1.0), rtol=1e-6)
    np.testing.assert_allclose(result.slope.sel(at), spectral_slope(one), rtol=1e-6)
    np.testing.assert_allclose(result.energy_above.sel(at), energy_above(one, 0.4), rtol=1e-6)
    for site in result.site:
        np.testing.assert_allclose(result.natural_slope.sel(site=site), spectral_slope(natural), rtol=1e-6)
        np.testing.assert_allclose(result.natural_energy_above.sel(site=site), energy_above(natural, 0.4), rtol=1e-6)
    assert "peak_db" not in result
    np.testing.assert_allclose(result.summary.sel(metric="psnr_db"), result.psnr_db.mean(("stimulus", "seed")))


def test_what_folds_at_a_pooling() -> None:
    model = example_model()  # convolution, ReLU, average pooling by 2
    natural = example_signals(model, 4)
    signals = metamers(model, natural)
    result = found(context({"net": (model, signals)}, natural))
    assert result.measured_layer.values.tolist() == ["input", "1", "2", "output"]

    def share(given: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return folded_share(F.avg_pool2d(model.module[1](model.module[0](given)), 2, 1), (2, 2))

    np.testing.assert_allclose(
        result.aliasing.sel(site="net 2", seed=0, measured_layer="2"), share(signals[1, :, 0]), rtol=1e-4
    )
    np.testing.assert_allclose(result.natural_aliasing.sel(site="net 1", measured_layer="2"), share(natural), rtol=1e-4)
    assert result.aliasing.sel(measured_layer=["input", "1", "output"]).isnull().all()


def test_diversity_over_seeds_in_the_signals_and_the_activations() -> None:
    model = example_model()
    natural = example_signals(model, 4)
    signals = metamers(model, natural)
    signals[0] = natural[:, None]  # every seed gave the stimulus itself
    signals[1] = torch.rand(signals[1].shape, generator=torch.Generator().manual_seed(0))  # no two have to do
    result = found(context({"net": (model, signals)}, natural), batch_size=1)
    assert (result.diversity.sel(site="net 1", measured_layer="input") == 0).all()
    np.testing.assert_allclose(result.diversity.sel(site="net 1"), 0, atol=1e-4)  # rounding within a batch
    np.testing.assert_allclose(result.diversity.sel(site="net 2", measured_layer="input"), 1, atol=0.1)
    between = result.diversity.sel(site="net output")
    assert ((between > 0) & (between < 1)).all()
    alone = found(context({"net": (model, signals[:, :, :1])}, natural))
    assert alone.diversity.isnull().all()


def test_batches_do_not_change_a_result() -> None:
    model = example_model()
    natural = example_signals(model, 5)
    given = context({"net": (model, metamers(model, natural))}, natural)
    xr.testing.assert_allclose(found(given, batch_size=1), found(given, batch_size=100), rtol=1e-4, atol=1e-5)


def test_a_metamer_that_is_not_done_is_missing() -> None:
    model = example_model()
    natural = example_signals(model, 3)
    signals = metamers(model, natural)
    whole = found(context({"net": (model, signals)}, natural))
    signals[1, 2, 0] = torch.nan
    signals[2] = torch.nan
    result = found(context({"net": (model, signals)}, natural))
    for name in ("psnr_db", "ssim", "slope", "energy_above"):
        expected = whole[name].copy()
        expected[1, 2, 0] = expected[2] = np.nan
        xr.testing.assert_allclose(result[name], expected)
    assert result.aliasing[2].isnull().all()
    assert result.diversity[2].isnull().all()
    assert result.diversity[1].sel(measured_layer="2").notnull().all()
    assert np.isnan(result.summary.sel(site="net output", metric="psnr_db"))


def test_models_stand_side_by_side_each_with_its_own_layers() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 2, 3, stride=3)

        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            return self.first(signals).mean(dim=(2, 3))

    model = example_model()
    natural = example_signals(model, 3)
    other = Model(Other().eval(), model.domain, ["first", "output"])
    both = {"a:net": (model, metamers(model, natural)), "b:z": (other, metamers(other, natural))}
    settings = '{"preset": "fast", "total_variation": 0.1, "bounds": 0.0, "steps": 7}'
    given = context(both, natural, settings)
    result = found(given)
    check_dataset(result)
    assert result.site.values.tolist() == ["a:net 1", "a:net 2", "a:net output", "b:z first", "b:z output"]
    assert result.measured_layer.values.tolist() == ["input", "1", "2", "output", "first"]
    assert result.aliasing.sel(site="b:z first", measured_layer="first").notnull().all()
    assert result.aliasing.sel(site="b:z first", measured_layer="2").isnull().all()
    assert result.attrs["total_variation"] == 0.1
    assert result.attrs["preset"] == "fast"
    alone = found(context({"a:net": both["a:net"]}, natural, settings))
    xr.testing.assert_identical(
        result.sel(site=alone.site, measured_layer=alone.measured_layer, metric=alone.metric), alone
    )


def test_sounds_have_levels_and_no_structural_similarity() -> None:
    network = nn.Sequential(nn.Unflatten(1, (1, 400)), nn.Conv1d(1, 2, 9, stride=4), nn.Flatten(), nn.Linear(196, 3))
    model = Model(network.eval(), WaveformDomain(400, 8000), ["1", "output"])
    natural = 0.5 * (2 * math.pi * 25 * torch.arange(400) / 400).sin().repeat(2, 1)
    signals = (natural[None, :, None] / 2).repeat(2, 1, 2, 1)
    result = found(context({"net": (model, signals)}, natural))
    check_dataset(result)
    assert "ssim" not in result
    np.testing.assert_allclose(result.natural_peak_db, -6.0206, atol=1e-2)
    np.testing.assert_allclose(result.rms_db, -9.0309 - 6.0206, atol=1e-2)
    np.testing.assert_allclose(result.psnr_db, 10 * math.log10(4 / (0.5**2 / 8)), atol=1e-3)
    assert result.aliasing.sel(measured_layer="1").notnull().all()


def test_the_example_study_is_as_far_off_as_it_says(tmp_path: Path) -> None:
    result = found(example_context(example_study(tmp_path / "study")))
    np.testing.assert_allclose(result.psnr_db.sel(layer_is("1", result)), 40, rtol=1e-4)
    assert result.psnr_db[2, 2].isnull().all()
    assert result.psnr_db.sel(site=result.site[2], stimulus="one").notnull().all()


def layer_is(layer: str, result: xr.Dataset) -> dict[str, Any]:
    return {"site": result.site[result.layer == layer]}


def test_bad_options_and_studies_are_named() -> None:
    load = Plugins(installed=()).load
    with pytest.raises(MetameryError, match="cutoff is 2, expected a number between 0 and 1"):
        load("evaluator", "character", cutoff=2)
    with pytest.raises(MetameryError, match="batch_size is 0, expected a whole number of at least 1"):
        load("evaluator", "character", batch_size=0)
    with pytest.raises(MetameryError, match="this one has none"):
        found(Context({}, [], xr.DataTree()))  # type: ignore[arg-type]
    model = example_model()
    natural = example_signals(model)
    given = context({"net": (model, metamers(model, natural))}, natural)
    with pytest.raises(MetameryError, match="unknown model of the study 'net'; did you mean 'nets'"):
        found(Context({"nets": model}, [], given.study))  # type: ignore[arg-type]
