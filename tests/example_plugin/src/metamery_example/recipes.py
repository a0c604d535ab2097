"""The recipe: a training set-up, names and numbers only."""

from __future__ import annotations

from metamery.framework import Recipe


def noisy() -> Recipe:
    """Train for a few epochs on signals in Gaussian noise, with Adam."""
    return Recipe(
        optimizer="synthesis:adam",  # with its plugin: no other plugin's name can come between
        perturbation="robustness:gaussian",
        perturbation_options={"sigma": 0.05},
        epochs=10,
        batch_size=32,
        learning_rate=1e-3,
        schedule="cosine",
    )
