"""Every attack of torchattacks by its name, and AutoAttack as an evaluator. The package is imported on first use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_perturbations(register: Register) -> None:
    module = "metamery.plugins.torchattacks.adapter"
    register(
        "torchattacks/",
        f"{module}:torchattack",
        "the attacks of torchattacks by name, such as torchattacks/AutoAttack, with its options",
        names=f"{module}:torchattack_names",
        extra="torchattacks",
    )


@hookimpl
def register_evaluators(register: Register) -> None:
    register(
        "autoattack",
        "metamery.plugins.torchattacks.autoattack:autoattack",
        "accuracy under AutoAttack (Croce & Hein 2020), with the authors' 100 steps",
        extra="torchattacks",
    )
