"""What the names in a recipe stand for: its loss, optimizer and perturbations, loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from ..framework.errors import MetameryError, UnknownNameError, unknown
from ..framework.manager import Plugins, short
from ..framework.protocols import Loss, Perturbation
from ..framework.recipes import Recipe
from .augmentation import known_augmentations
from .mixing import MIXTURES


@dataclass(frozen=True)
class TrainingTools:
    """What the names in a recipe stand for.

    Parameters
    ----------
    loss
        Training objective; one with a parameter `natural` is also given the unperturbed signals, one with a parameter
        `targets` the probabilities of the classes where signals are mixed.
    optimizer
        Function of the parameters that makes the optimizer.
    perturbation
        Function that builds the perturbation for a fraction of its full ``epsilon``; None for unperturbed signals.
    check
        Perturbation under which the network is evaluated after each epoch, if there is one.
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
        """Whether the loss also takes the unperturbed signals."""
        return "natural" in inspect.signature(self.loss).parameters


def load_tools(recipe: Recipe, plugins: Plugins) -> TrainingTools:
    """Load what the names in a recipe stand for.

    Raises
    ------
    MetameryError
        A name or an option is unknown.
    """
    if recipe.epsilon_warmup and not recipe.replays and "epsilon" not in recipe.perturbation_options:
        raise MetameryError("epsilon_warmup needs perturbation_options.epsilon, to which it grows")
    if recipe.replays and recipe.perturbation:
        raise MetameryError(
            f"replays move the signals by themselves: expected no perturbation, not '{short(recipe.perturbation)}'"
        )
    if recipe.replays and recipe.awp:
        raise MetameryError("awp takes the gradient twice, and replays move the signals by it: expected one of the two")
    if recipe.check_drop and not recipe.check:
        raise MetameryError("check_drop needs check, the perturbation under which the network is evaluated")

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
    mixes = [name for name, _ in recipe.augmentations if name in MIXTURES]
    if mixes and "targets" not in inspect.signature(loss).parameters:
        raise MetameryError(
            f"augmentation '{mixes[0]}' mixes labels, and loss '{short(recipe.loss)}' takes one class for each signal: "
            "expected a loss with a parameter targets, such as cross_entropy or trades"
        )
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
    """Load the perturbations among a recipe's augmentations; the others act on single signals, or mix them."""
    options = {name: dict(given) for name, given in recipe.augmentations if not is_augmentation(plugins, name)}
    names = [name for name, _ in recipe.augmentations if name in options]
    short = {name.partition(":")[2]: name for name in names}
    for key, value in recipe.augment_options.items():
        given, _, option = key.rpartition(".")
        name = given if given in options else short.get(given, "")
        if not name:
            raise unknown("augmentation with options:", given or key, names)
        options[name][option] = value
    return tuple(plugins.load("perturbation", name, **options[name]) for name in names)


def own_augmentations(recipe: Recipe, plugins: Plugins) -> list[tuple[str, dict[str, Any]]]:
    """Return the name and the arguments of a recipe's augmentations that are not registered perturbations."""
    return [(name, given) for name, given in recipe.augmentations if is_augmentation(plugins, name)]


def is_augmentation(plugins: Plugins, name: str) -> bool:
    """Whether a name among a recipe's augmentations is one of training's own, not a registered perturbation.

    Augmentations come first, so that a plugin that registers one of their names changes nothing.
    """
    if name in known_augmentations():
        return True
    try:
        plugins.find("perturbation", name)
    except UnknownNameError:
        return True
    return False
