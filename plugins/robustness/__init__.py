"""Training objectives, random perturbations and recipes."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_losses(register: Register) -> None:
    place = "metamery.plugins.robustness.losses"
    register("cross_entropy", f"{place}:cross_entropy", "cross-entropy of the logits, with label smoothing if wanted")


@hookimpl
def register_perturbations(register: Register) -> None:
    place = "metamery.plugins.robustness.random"
    register("random_l2", f"{place}:random_l2", "a random direction of length epsilon: the control of L2 attacks")
    register("random_linf", f"{place}:random_linf", "a random corner, ±epsilon: the control of Linf attacks")


@hookimpl
def register_recipes(register: Register) -> None:
    register("standard", "metamery.framework.recipes:Recipe", "training on the signals as they are")
