"""A sample of the architectures that benchmarks/architectures.py tries: each works at all of its default layers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "architectures.py"))
SAMPLE = [
    "torchvision/squeezenet1_1", "torchvision/shufflenet_v2_x0_5", "torchvision/mnasnet0_5",
    "torchvision/mobilenet_v3_small", "torchvision/resnet18",
    "timm/test_vit", "timm/lcnet_035", "timm/starnet_s050", "timm/mambaout_femto", "timm/cait_xxs24_224",
]  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE)
def test_an_architecture_works_at_its_default_layers(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    assert name in BENCHMARK["names"]()
    found = BENCHMARK["outcome"](name)
    assert "problem" not in found
    assert found["layers"] >= 3
    assert found["notes"] == []
