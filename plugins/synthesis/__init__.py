"""Distances and optimizers for synthesis."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_distances(register: Register) -> None:
    place = "metamery.plugins.synthesis.distances"
    register("relative_l2", f"{place}:relative_l2", "‖a − a₀‖ / ‖a₀‖, the published one")
    register("cosine", f"{place}:cosine", "1 − cosine of the angle between activations")
    register("correlation", f"{place}:correlation", "1 − Pearson's correlation of activations")


@hookimpl
def register_optimizers(register: Register) -> None:
    place = "metamery.analysis.synthesis.optimizers"
    register("normalised_gd", f"{place}:normalised_gradient_descent", "steps of fixed length, the published one")
    register("adam", f"{place}:adam", "Adam (Kingma & Ba 2015)")
    register("sgd", f"{place}:sgd", "gradient descent, with momentum if wanted")
