"""Inputs of many tests: the source of a tiny network, a folder of tiny pictures, a script that measures memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
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


PEAK_MEMORY = '''
def peak_memory():
    """Most memory that this process has had, in bytes; what getrusage says may be its parent's."""
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
'''
"""For scripts that run in a process of their own, on Linux."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the most memory that a process had is read from /proc")


def draw_pictures(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(values).save(file)
    return folder
