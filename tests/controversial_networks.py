"""Networks that tell whether the top or the bottom of some columns is brighter, pictures for them, and studies."""

from __future__ import annotations

import torch
import xarray as xr
from metamery.analysis import as_study, null_distribution, synthesise
from metamery.framework import ImageDomain, Model, Stimulus
from torch import nn

LABELS = ("top", "bottom")


def looking(seed: int, size: int = 6, columns: slice = slice(None)) -> Model:
    """A network that tells whether the top or the bottom of some columns is brighter."""
    generator = torch.Generator().manual_seed(seed)
    seen = torch.zeros(size, size)
    seen[:, columns] = 1
    network = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 40, bias=False), nn.Linear(40, 2, bias=False))
    network[1].weight.data = torch.randn(40, size * size, generator=generator) * seen.flatten() / size
    half = (torch.arange(size) < size // 2).float()[:, None].expand(size, size)
    network[1].weight.data[:2] = torch.stack([half * seen, (1 - half) * seen]).flatten(1) / size
    network[2].weight.data = torch.zeros(2, 40)
    network[2].weight.data[:, :2] = torch.eye(2)
    return Model(network.eval(), ImageDomain(1, size, size), ["1", "output"], LABELS)


def pictures(count: int = 4, size: int = 6) -> list[Stimulus]:
    found = []
    for number in range(count):
        picture = 0.3 * torch.rand(1, size, size, generator=torch.Generator().manual_seed(number))
        rows = slice(0, size // 2) if number % 2 == 0 else slice(size // 2, None)
        picture[:, rows] += 0.4
        found.append(Stimulus(picture, LABELS[number % 2], name=f"{LABELS[number % 2]}{number}"))
    return found


def study(models: dict[str, Model], stimuli: list[Stimulus], layers: tuple[str, ...] = ("1",)) -> xr.DataTree:
    made = {name: synthesise(model, stimuli, layers, steps=2) for name, model in models.items()}
    return as_study(made, {name: null_distribution(model, stimuli, ["1", "output"]) for name, model in models.items()})


LEFT_RIGHT = {"left": looking(0, columns=slice(0, 3)), "right": looking(1, columns=slice(3, 6))}
