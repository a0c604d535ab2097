"""Weights of a file for every family that builds an architecture: the same logits as the network they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError, Model, Plugins
from metamery.framework.testing import example_signals

SMALL: dict[str, dict[str, Any]] = {
    "small-cnn": {"width": 4},
    "cifar-resnet20": {"width": 4},
    "cifar-resnet32": {"width": 4},
    "cifar-resnet56": {"width": 4},
    "preact-resnet18": {"width": 4},
    "coch-cnn-digits": {"width": 4},
    "coch-cnn-digits-hann": {"width": 4},
    "torchvision/mnasnet0_5": {},
    "timm/test_resnet": {},
}
LARGE: dict[str, dict[str, Any]] = {
    "lowpass-alexnet": {},
    "cochcnn9": {"density": 8},
    "cochcnn9-hann": {"density": 8},
    "cochresnet50": {"density": 8},
    "cochresnet50-hann": {"density": 8},
    "torchaudio/WAV2VEC2_ASR_BASE_960H": {"samples": 4000},
    "torchaudio/WAV2VEC2_BASE": {"samples": 4000, "num_classes": 3},
}


@pytest.fixture(scope="module")
def load() -> Callable[..., Model]:
    plugins = Plugins(installed=())
    return lambda name, **options: plugins.load("model", name, **options)


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(each, marks=pytest.mark.slow) for each in LARGE)])
def test_a_network_whose_weights_are_those_of_a_file(load: Callable[..., Model], tmp_path: Path, name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    options = {**SMALL, **LARGE}[name]
    known = load(name, weights="none", seed=3, **options)
    state = {f"module.{part}": tensor for part, tensor in known.module.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pt")
    asked = {key: value for key, value in options.items() if key != "num_classes"}
    found = load(name, weights=str(tmp_path / "w.pt"), seed=4, **asked)
    signals = example_signals(known, count=1)
    with torch.no_grad():
        assert torch.equal(found(signals), known(signals))
    assert found.notes[0].startswith("weights: ")
    assert found.notes[0].endswith(" tensors of 'w.pt', entry 'state_dict'")


def test_classes_labels_and_normalisation_are_those_of_the_file(load: Callable[..., Model], tmp_path: Path) -> None:
    state = dict(load("small-cnn", width=4, num_classes=3).module.state_dict())
    state["normalise.mean"] = torch.full((3, 1, 1), 0.5)
    torch.save(state, tmp_path / "w.pt")
    model = load("small-cnn", width=4, weights=str(tmp_path / "w.pt"), labels=["cat", "dog", "bird"])
    assert model.labels == ("cat", "dog", "bird")
    assert model.module.normalise.mean.flatten().tolist() == [0.5] * 3
    with pytest.raises(MetameryError, match="2 labels for 3 classes"):
        load("small-cnn", width=4, weights=str(tmp_path / "w.pt"), labels=["cat", "dog"])
    with pytest.raises(MetameryError, match=r"another network than small-cnn: .* of another shape"):
        load("small-cnn", width=8, weights=str(tmp_path / "w.pt"))


def test_part_of_a_network_that_was_wrapped(load: Callable[..., Model], tmp_path: Path) -> None:
    known = load("small-cnn", width=4)
    state = {name.replace("features.", "features.module."): each for name, each in known.module.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    assert load("small-cnn", width=4, weights=str(tmp_path / "w.pt")).weights_sha256() == known.weights_sha256()


def test_weights_that_are_neither_known_nor_a_file(load: Callable[..., Model]) -> None:
    with pytest.raises(MetameryError, match=r"weights of small-cnn: 'imagenet'.* none, FILE"):
        load("small-cnn", weights="imagenet")
    with pytest.raises(MetameryError, match=r"small-cnn: entry = 'ema' needs a file of weights"):
        load("small-cnn", entry="ema")
    with pytest.raises(MetameryError, match=r"cannot read 'nothing.pt': No such file"):
        load("small-cnn", weights="nothing.pt")


def test_a_sound_network_refuses_a_normalisation(load: Callable[..., Model], tmp_path: Path) -> None:
    state = dict(load("coch-cnn-digits", width=4).module.state_dict())
    torch.save({**state, "mean": torch.tensor([0.5]), "std": torch.tensor([2.0])}, tmp_path / "w.pt")
    with pytest.raises(MetameryError, match=r"normalises signals by mean .* which coch-cnn-digits does not do"):
        load("coch-cnn-digits", width=4, weights=str(tmp_path / "w.pt"))
    torch.save({**state, "mean": torch.tensor([0.0]), "std": torch.tensor([1.0])}, tmp_path / "w.pt")
    load("coch-cnn-digits", width=4, weights=str(tmp_path / "w.pt"))
