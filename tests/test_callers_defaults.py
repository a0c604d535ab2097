"""Results do not depend on the type, or the device, of tensors that the caller's own code makes by default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.geometry.jacobian import Jacobian
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.synthesis.driver import starting_noise
from metamery.framework import Model, Plugins, Study, open_study
from metamery.framework.context import Context
from metamery.framework.domains import ImageDomain, WaveformDomain
from metamery.framework.recipes import Recipe
from metamery.framework.stimuli import Stimulus
from metamery.framework.study import ModelReference, Reference
from metamery.training.driver import prepare, run_training


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def float16() -> Iterator[None]:
    torch.set_default_dtype(torch.float16)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def elsewhere() -> Iterator[None]:
    torch.set_default_device("meta")  # as cuda would be: what is made there does not go with what is on the CPU
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@contextmanager
def half() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


DEFAULTS = [float64, float16, elsewhere]


@pytest.mark.parametrize("default", [*DEFAULTS, inference, half])
@pytest.mark.parametrize("domain", [ImageDomain(3, 8, 8), WaveformDomain(100, 8000)])
def test_the_starting_noise(default: Callable[..., Any], domain: Any) -> None:
    before = starting_noise(domain, None, 1, 0, "a")
    with default():
        noise = starting_noise(domain, None, 1, 0, "a")
    assert (noise.dtype, noise.device.type) == (torch.float32, "cpu")
    assert torch.equal(noise, before)


@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize("name", ["small-cnn", "cifar-resnet20", "coch-cnn-digits", "antialias/blur3/small-cnn"])
def test_the_weights_of_a_network_by_name(default: Callable[..., Any], name: str) -> None:
    plugins, options = Plugins(installed=[]), {"width": 2}
    before: Model = plugins.load("model", name, **options)
    with default():
        model: Model = plugins.load("model", name, **options)
    assert model.weights_sha256() == before.weights_sha256()
    assert {weight.dtype for weight in model.module.parameters()} == {torch.float32}
    buffers = {key: value for key, value in model.module.named_buffers() if value.is_floating_point()}
    for key, value in before.module.named_buffers():
        if value.is_floating_point():
            assert buffers[key].dtype == value.dtype
            assert torch.equal(buffers[key], value)


def study_of(pictures: Path) -> Study:
    return Study(
        (ModelReference("small-cnn", ("features.relu1", "output"), {"width": 2, "size": 8, "num_classes": 3}),),
        Reference("folder", {"path": str(pictures), "limit": 2}),
        Reference("folder", {"path": str(pictures)}),
        {"steps": 3, "total_variation": 0.1, "seeds": 2},
    )


@pytest.mark.parametrize("default", DEFAULTS)
def test_a_study(default: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    plugins = Plugins(installed=[])
    run_study(study_of(pictures), tmp_path / "before", plugins)
    with default():
        run_study(study_of(pictures), tmp_path / "after", plugins)
    with open_study(tmp_path / "before") as before, open_study(tmp_path / "after") as after:
        for node in before.subtree:
            xr.testing.assert_equal(node.to_dataset(inherit=False), after[node.path].to_dataset(inherit=False))


@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize(
    "name",
    ["accuracy", "geometry", "invariance", "principal-distortions", "robustness", "shift-consistency", "similarity"],
)
def test_an_evaluator(default: Callable[..., Any], name: str) -> None:
    plugins = Plugins(installed=[])
    drawn = torch.Generator().manual_seed(0)
    signals = [torch.rand(3, 8, 8, generator=drawn) for _ in range(5)]
    stimuli = [Stimulus(signal, "01"[place % 2], name=str(place)) for place, signal in enumerate(signals)]
    made = {"width": 2, "size": 8, "labels": ["0", "1"]}
    models: dict[str, Model] = {"m": plugins.load("model", "small-cnn", **made)}
    if name == "principal-distortions":  # which compares models
        models["n"] = plugins.load("model", "small-cnn", **made, seed=1)
    options = {
        "geometry": {"layers": ["features.relu1", "output"], "components": 2},
        "principal-distortions": {"steps": 3, "starts": 1, "limit": 2},
        "robustness": {"steps": 1, "apgd_steps": 2, "epsilons": [0.1]},
        "invariance": {"resamples": 5},
    }
    found = []
    for use in (None, default):
        evaluate = plugins.load("evaluator", name, **options.get(name, {}))
        context = Context(models, stimuli, generator=torch.Generator().manual_seed(0))
        if use is None:
            found.append(evaluate(context))
        else:
            with use():
                found.append(evaluate(context))
    xr.testing.assert_equal(*found)


@pytest.mark.parametrize("default", [float64, float16])
def test_a_training(default: Callable[..., Any], pictures: Path, tmp_path: Path) -> None:
    plugins = Plugins(installed=[])
    recipe = Recipe(
        epochs=2, batch_size=2, schedule="constant", augment=["flip", "crop", "gaussian"], perturbation="pgd_linf",
        perturbation_options={"steps": 1}, ema=0.5,
    )  # fmt: skip
    model = Reference("small-cnn", {"width": 2, "size": 8})
    use = Reference("folder", {"path": str(pictures)})
    histories = []
    for name in ("before", "after"):
        run, stimuli = prepare(model, use, use, recipe, plugins)
        if name == "before":
            histories.append(run_training(run, tmp_path / name, plugins, stimuli=stimuli))
        else:
            with default():
                histories.append(run_training(run, tmp_path / name, plugins, stimuli=stimuli))
    for history in histories:
        for epoch in history:
            epoch.pop("seconds")
    assert json.dumps(histories[0]) == json.dumps(histories[1])
    assert not np.isnan([epoch["loss"] for epoch in histories[0]]).any()


def test_probes_of_a_jacobian() -> None:
    network = torch.nn.Linear(4, 3)
    before = Jacobian(network, "output", torch.zeros(4)).draw(2, torch.Generator().manual_seed(0))
    with float64():
        after = Jacobian(network, "output", torch.zeros(4, dtype=torch.float32)).draw(
            2, torch.Generator().manual_seed(0)
        )
    assert torch.equal(before, after)
