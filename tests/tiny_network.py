"""The source of a tiny network, which tests write to a file."""

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
