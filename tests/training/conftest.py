"""Shared by the tests of training: a network whose number of classes is an option."""

from __future__ import annotations

from pathlib import Path

import pytest

SIZED = """
import torch
from metamery.framework import ImageDomain, Model


def build(num_classes: int = 3, labels=("a", "b", "c"), seed: int = 0) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, num_classes)
        )
    return Model(network, ImageDomain(3, 8, 8), ["1", "output"], list(labels))
"""


@pytest.fixture
def sized(tmp_path: Path) -> str:
    (tmp_path / "sized.py").write_text(SIZED, encoding="utf-8")
    return f"{tmp_path / 'sized.py'}:build"
