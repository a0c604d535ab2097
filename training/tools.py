"""What the names in a recipe stand for: loss, optimizer, perturbations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from ..framework.errors import MetameryError, UnknownNameError, unknown
from ..framework.manager import Plugins
from ..framework.protocols import Loss, Perturbation
from ..framework.recipes import Recipe


@dataclass(frozen=True)
class TrainingTools:
    """What the names in a recipe stand for.

    Parameters
    ----------
    loss
        ``loss(model, signals, labels) -> ()``; one that names `natural` is given the unperturbed signals by it.
    optimizer
        ``make(parameters) -> torch.optim.Optimizer``.
    perturbation
        Builds the perturbation for a share of its full ``epsilon``; None trains on the signals as they are.
    check
        The perturbation under which the network is measured after each epoch, if there is one.
    augment
        Perturbations that each batch goes through first, in order.
    """

    loss: Loss
    optimizer: Callable[[Any], torch.optim.Optimizer]
    perturbation: Callable[[float], Perturbation] | None = None
    check: Perturbation | None = None
    augment: Sequence[Perturbation] = ()

    @cached_property
    def compares(self) -> bool:
        """Whether the loss wants the unperturbed signals, too."""
        return "natural" in inspect.signature(self.loss).parameters


def load_tools(recipe: Recipe, plugins: Plugins) -> TrainingTools:
    """What the names in a recipe stand for.

    Raises
    ------
    MetameryError
        A name or an option is unknown.
    """
    if recipe.epsilon_warmup and not recipe.replays and "epsilon" not in recipe.perturbation_options:
        raise MetameryError("epsilon_warmup needs perturbation_options.epsilon, to which it grows")
    if recipe.replays and recipe.perturbation:
        raise MetameryError(
            f"replays move the signals by themselves: expected no perturbation, not '{recipe.perturbation}'"
        )
    if recipe.check_drop and not recipe.check:
        raise MetameryError("check_drop needs check, the perturbation under which the network is measured")

    @cache
    def perturbation(share: float) -> Perturbation:
        options = dict(recipe.perturbation_options)
        if share < 1:
            options["epsilon"] = share * float(options["epsilon"])
        built: Perturbation = plugins.load("perturbation", recipe.perturbation, **options)
        return built

    if recipe.perturbation:
        perturbation(1.0)
    loss: Any = plugins.load("loss", recipe.loss, **recipe.loss_options)
    optimizer: Callable[[Any], torch.optim.Optimizer] = plugins.load(
        "optimizer", recipe.optimizer, lr=recipe.learning_rate, **recipe.optimizer_options
    )
    check: Perturbation | None = (
        plugins.load("perturbation", recipe.check, **recipe.check_options) if recipe.check else None
    )
    return TrainingTools(
        loss, optimizer, perturbation if recipe.perturbation else None, check, _augmentations(recipe, plugins)
    )


def _augmentations(recipe: Recipe, plugins: Plugins) -> tuple[Perturbation, ...]:
    """The perturbations among a recipe's augmentations; the others are of pictures, one by one."""
    names = [name for name in recipe.augment if is_perturbation(plugins, name)]
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in recipe.augment_options.items():
        name, _, option = key.rpartition(".")
        if name not in options:
            raise unknown("augmentation with options:", name or key, names)
        options[name][option] = value
    return tuple(plugins.load("perturbation", name, **options[name]) for name in names)


def is_perturbation(plugins: Plugins, name: str) -> bool:
    try:
        plugins.find("perturbation", name)
    except UnknownNameError:
        return False
    return True
