"""The network."""

from __future__ import annotations

import torch
from metamery.framework import ImageDomain, Model
from torch import nn
from torchvision.transforms import Normalize


def small_network(seed: int = 0, width: int = 8) -> Model:
    """Build a network of four classes on 3 × 32 × 32 pictures; its weights depend on `seed` alone.

    Parameters
    ----------
    seed
        Where the weights start.
    width
        Channels of the first convolution; the second has twice as many.
    """
    module = nn.Sequential()
    with torch.random.fork_rng(devices=[]):  # whoever builds this keeps their own random numbers
        torch.manual_seed(seed)
        module.add_module("normalise", Normalize([0.5] * 3, [0.25] * 3))
        module.add_module("conv1", nn.Conv2d(3, width, 5, stride=2))  # (B, width, 14, 14)
        module.add_module("relu1", nn.ReLU())
        module.add_module("conv2", nn.Conv2d(width, 2 * width, 3, stride=2))  # (B, 2 width, 6, 6)
        module.add_module("relu2", nn.ReLU())
        module.add_module("flatten", nn.Flatten())
        module.add_module("classify", nn.Linear(2 * width * 36, 4))
    return Model(module.eval(), ImageDomain(3, 32, 32), ["relu1", "relu2", "output"], ["a", "b", "c", "d"])
