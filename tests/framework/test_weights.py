"""Weights of a file brought into a network: names, classes, last layers and normalisation of other people's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError
from metamery.framework.weights import Loaded, load_network
from torch import nn

CLASSES = 4


def build(classes: int) -> nn.Module:
    """A network with two parts that are named, one with statistics, and a last layer."""
    network = nn.Module()
    network.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    network.fc = nn.Linear(4, classes)
    return network


def trained(classes: int = CLASSES) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(build(classes).state_dict())


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def headless(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Loaded]:
    def load(content: Any, **options: Any) -> Loaded:
        torch.save(content, tmp_path / "w.pt")
        return load_network(build, CLASSES, tmp_path / "w.pt", what="net", **options)

    return load


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "_orig_mod.", "backbone.encoder."])
def test_prefixes_are_left_out(loaded: Callable[..., Loaded], prefix: str) -> None:
    state = trained()
    found = loaded({"state_dict": prefixed(state, prefix)})
    assert found.classes == CLASSES
    assert all(torch.equal(tensor, found.network.state_dict()[name]) for name, tensor in state.items())


def test_a_prefix_of_all_names_of_the_network_itself(tmp_path: Path) -> None:
    torch.save(trained(), tmp_path / "w.pt")
    found = load_network(
        lambda classes: nn.ModuleDict({"wrapped": build(classes)}), CLASSES, tmp_path / "w.pt", what="n"
    )
    assert torch.equal(found.network.state_dict()["wrapped.fc.weight"], trained()["fc.weight"])


def test_a_file_of_robustness_brings_its_normalisation_and_its_copy_is_passed_over(
    loaded: Callable[..., Loaded],
) -> None:
    state = trained()
    normaliser = {"new_mean": torch.full((3, 1, 1), 0.4), "new_std": torch.full((3, 1, 1), 0.25)}
    content = {
        **prefixed(normaliser, "module.normalizer."), **prefixed(state, "module.model."),
        **prefixed(normaliser, "module.attacker.normalize."), **prefixed(state, "module.attacker.model."),
    }  # fmt: skip
    found = loaded({"model": content, "epoch": 3})
    assert torch.equal(found.network.state_dict()["body.0.weight"], state["body.0.weight"])
    assert found.normalisation is not None
    assert found.normalisation[0] == pytest.approx((0.4,) * 3)
    assert found.normalisation[1] == (0.25,) * 3


def test_mu_and_sigma_of_robustbench(loaded: Callable[..., Loaded]) -> None:
    found = loaded({**trained(), "mu": torch.zeros(1, 3, 1, 1), "sigma": torch.ones(1, 3, 1, 1)})
    assert found.normalisation == ((0.0,) * 3, (1.0,) * 3)


def test_the_number_of_classes_is_the_files(loaded: Callable[..., Loaded]) -> None:
    found = loaded(trained(7))
    assert found.classes == 7
    assert torch.equal(found.network.state_dict()["fc.weight"], trained(7)["fc.weight"])


@pytest.mark.parametrize("own", [CLASSES, 7])
def test_another_number_that_is_asked_for_gives_a_new_last_layer(loaded: Callable[..., Loaded], own: int) -> None:
    with pytest.warns(UserWarning, match=rf"the last layer 'fc' starts from random weights: .* has one of {own} "):
        found = loaded(trained(own), num_classes=2)
    assert found.classes == 2
    assert found.network.state_dict()["fc.weight"].shape == (2, 4)
    assert torch.equal(found.network.state_dict()["body.0.weight"], trained(own)["body.0.weight"])


def test_an_encoder_has_no_last_layer(loaded: Callable[..., Loaded]) -> None:
    content = {
        **prefixed(headless(trained()), "module.encoder_q."), "module.encoder_q.fc.0.weight": torch.ones(5, 4),
        **{f"module.encoder_k.{name}": tensor + 1 for name, tensor in headless(trained()).items()},
        "module.queue": torch.ones(2, 2),
    }  # fmt: skip
    with pytest.warns(UserWarning, match="w.pt") as warned:
        found = loaded(content)
    said = [str(each.message) for each in warned]
    assert any("has no last layer 'fc', and the network ends before it" in each for each in said)
    assert any("also holds" in each and "encoder_k" in each for each in said)
    assert found.classes is None
    assert isinstance(found.network.get_submodule("fc"), nn.Identity)
    assert torch.equal(found.network.state_dict()["body.0.weight"], trained()["body.0.weight"])


def test_an_encoder_gets_a_last_layer_where_classes_are_asked_for(loaded: Callable[..., Loaded]) -> None:
    with pytest.warns(UserWarning, match="has no last layer 'fc', which starts from random weights"):
        found = loaded(headless(trained()), num_classes=5)
    assert found.classes == 5
    assert found.network.state_dict()["fc.weight"].shape == (5, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {**state, "body.3.weight": torch.ones(1)}, r"1 tensor \(body.3.weight\) unexpected"),
        (lambda state: {n: t for n, t in state.items() if n != "body.0.bias"}, r"1 tensor \(body.0.bias\) missing"),
        (lambda state: {n: t for n, t in state.items() if "running" not in n}, r"2 tensors \(body.1.running_mean, "),
        (
            lambda state: {**state, "body.0.weight": torch.ones(4, 1, 3, 3)},
            r"1 of another shape \(body.0.weight is \(4, 1, 3, 3\), expected \(4, 3, 3, 3\)\)",
        ),
        (lambda state: {"a.b": torch.ones(1)}, r"8 tensors \(body.0.weight, body.0.bias, body.1.weight, …\) missing"),
    ],
)
def test_weights_of_another_network_are_refused_by_name_and_shape(
    loaded: Callable[..., Loaded], change: Callable[[Any], Any], said: str
) -> None:
    with pytest.raises(MetameryError, match=rf"holds weights of another network than net: .*{said}"):
        loaded(change(trained()))


def test_half_precision_becomes_the_networks(loaded: Callable[..., Loaded]) -> None:
    found = loaded({name: tensor.bfloat16() for name, tensor in trained().items()})
    assert found.network.state_dict()["fc.weight"].dtype == torch.float32
