"""Inputs of many tests: the source of a tiny network, and a folder of tiny pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TINY = '''
"""A network of three classes on 3 × 8 × 8 pictures; `silent` switches its first layer's ReLU off for good."""

import torch
from metamery.framework import ImageDomain, Model


def build(seed: int = 0, silent: bool = False) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
        )
    if silent:
        torch.nn.init.constant_(network[0].bias, -100.0)
    return Model(network.eval(), ImageDomain(3, 8, 8), ["0", "1", "output"], ["cat", "dog", "owl"])


def number() -> int:
    return 3
'''


def draw_pictures(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(values).save(file)
    return folder
