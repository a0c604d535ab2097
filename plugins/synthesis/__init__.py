"""Distances and optimizers for synthesis, and several networks as one."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_models(register: Register) -> None:
    summary = "several models, whose metamers match in all of them: models = [NAME, …]"
    register("together", "metamery.analysis.synthesis.together:together", summary)


@hookimpl
def register_distances(register: Register) -> None:
    module = "metamery.plugins.synthesis.distances"
    register("relative_l2", f"{module}:relative_l2", "‖a − a₀‖ / ‖a₀‖, as published")
    register("cosine", f"{module}:cosine", "1 − cosine of the angle between activations")
    register("correlation", f"{module}:correlation", "1 − Pearson's correlation of activations")


@hookimpl
def register_optimizers(register: Register) -> None:
    module = "metamery.analysis.synthesis.optimizers"
    register("normalised_gd", f"{module}:normalised_gradient_descent", "steps of fixed length, as published")
    register("adam", f"{module}:adam", "Adam (Kingma & Ba 2015)")
    register("sgd", f"{module}:sgd", "gradient descent, optionally with momentum")
