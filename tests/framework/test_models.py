"""`Model`: what is refused, and a fingerprint of the weights that distinguishes any two networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Model
from torch import nn

DOMAIN = ImageDomain(3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"module": lambda x: x}, "a model's module is function, expected torch.nn.Module"),
        ({"module": nn.Linear}, "a model's module is type"),
        ({"layers": []}, "a model's layers are"),
        ({"layers": "output"}, "a model's layers are 'output', expected a list of names"),
        ({"layers": ["a", "b", "a"]}, "a model's layers are not unique: a, b, a"),
    ],
)
def test_what_is_no_model_is_refused(changes: dict[str, Any], said: str) -> None:
    fields: dict[str, Any] = {"module": nn.Linear(1, 1), "domain": DOMAIN, "layers": ["output"], **changes}
    with pytest.raises(MetameryError, match=said):
        Model(**fields)


def test_names_are_frozen() -> None:
    model = Model(nn.Linear(1, 1), DOMAIN, ["output"], ["a"])
    assert (model.layers, model.labels) == (("output",), ("a",))
    assert Model(nn.Linear(1, 1), DOMAIN, ["output"]).labels is None


def fingerprint(module: nn.Module) -> str:
    return Model(module, DOMAIN, ["output"]).weights_sha256()


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_equal_weights_have_equal_fingerprints() -> None:
    assert fingerprint(network()) == fingerprint(network())
    assert len(fingerprint(network())) == 64
    transposed = network()
    transposed[0].weight.data = transposed[0].weight.data.to(memory_format=torch.channels_last)
    assert fingerprint(transposed) == fingerprint(network())


def test_any_difference_shows() -> None:
    others = [network() for _ in range(4)]
    with torch.no_grad():
        others[0][0].weight[0, 0, 0, 0] += 1e-6
        others[1][1].running_mean[0] += 1
    others[2].double()
    others[3].append(nn.Linear(1, 1))
    seen = {fingerprint(each) for each in [network(), *others]}
    assert len(seen) == 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.complex64])
def test_weights_of_any_type_count(dtype: torch.dtype) -> None:
    module = nn.Module()
    module.register_buffer("values", torch.zeros(3, dtype=dtype))
    before = fingerprint(module)
    module.values[1] = 1  # type: ignore[operator]
    assert fingerprint(module) != before


def test_a_scalar_and_an_empty_weight_count() -> None:
    module = nn.Module()
    module.register_buffer("scalar", torch.tensor(3))
    module.register_buffer("empty", torch.zeros(0, 2))
    assert len(fingerprint(module)) == 64
