"""Schedules: how the learning rate, and the size of the perturbation, change over a training."""

from __future__ import annotations

import math

from ..framework.recipes import Recipe


def learning_rate(recipe: Recipe, update: int, updates_per_epoch: int) -> float:
    """Return the learning rate of an update, counted from 0.

    >>> recipe = Recipe(epochs=4, learning_rate=1.0, schedule="steps", decay_every=2, warmup=1.0)
    >>> [learning_rate(recipe, update, 2) for update in range(8)]
    [0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1]
    >>> recipe = Recipe(epochs=4, learning_rate=1.0, schedule="linear", warmup=2.0)
    >>> [learning_rate(recipe, update, 2) for update in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    epoch = update / updates_per_epoch
    shape: float = {
        "constant": 1.0,
        "steps": recipe.decay_factor ** -(epoch // recipe.decay_every),
        "cosine": (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2,
        "linear": min(1.0, (recipe.epochs - epoch) / max(recipe.epochs - recipe.warmup, 1e-9)),
    }[recipe.schedule]
    return recipe.learning_rate * shape * _grown(recipe.warmup, update, updates_per_epoch)


def epsilon_share(recipe: Recipe, update: int, updates_per_epoch: int) -> float:
    """Return the fraction of the perturbation's ``epsilon`` that an update uses, in (0, 1]."""
    return _grown(recipe.epsilon_warmup, update, updates_per_epoch)


def _grown(epochs: float, update: int, updates_per_epoch: int) -> float:
    return min(1.0, (update + 1) / (epochs * updates_per_epoch)) if epochs else 1.0
