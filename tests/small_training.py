"""A training of a small network on bright and dark pictures, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from metamery.framework import ImageDomain, Model, Recipe, Stimulus
from metamery.framework.progress import Progress
from metamery.training.data import Examples, examples
from metamery.training.loop import train
from metamery.training.tools import TrainingTools

CLASSES = ["bright", "dark"]
DOMAIN = ImageDomain(1, 4, 4)


def network() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.2),
            torch.nn.Flatten(), torch.nn.Linear(64, 2),
        )  # fmt: skip
    return Model(module, DOMAIN, ["output"], CLASSES)


def pictures(count: int = 40, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    values = 0.5 * torch.rand(count, 1, 4, 4, generator=generator)
    values[::2] += 0.4
    stimuli = [Stimulus(value, CLASSES[index % 2], name=str(index)) for index, value in enumerate(values)]
    return examples(stimuli, CLASSES, DOMAIN)


def cross_entropy(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model.module(signals), labels)


def noise(epsilon: float) -> Any:
    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randn(signals.shape, generator=generator).to(signals.device)
        return (signals + 0.1 * epsilon * drawn).clamp(0, 1)

    return perturb


def tools(**changes: Any) -> TrainingTools:
    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    return TrainingTools(**{"loss": cross_entropy, "optimizer": sgd, "perturbation": noise, **changes})


RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=0.1, schedule="cosine", ema=0.9, epsilon_warmup=1)


def run(folder: Path, recipe: Recipe = RECIPE, model: Model | None = None, **more: Any) -> tuple[Model, Any]:
    model = model or network()
    fabric = Fabric(accelerator="cpu", devices=1)
    with_tools = more.pop("tools", tools())
    data = more.pop("data", pictures())
    validation = more.pop("validation", pictures(20, seed=1))
    return model, train(model, data, validation, recipe, with_tools, folder, fabric=fabric, **more)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def timeless(history: Any) -> Any:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


class Stopping(Progress):
    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, total: int, description: str = "") -> None:
        self.total = total

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt
