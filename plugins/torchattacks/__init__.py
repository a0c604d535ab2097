"""Every attack of torchattacks, by its name. Hooks only: the package is imported on use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_perturbations(register: Register) -> None:
    place = "metamery.plugins.torchattacks.adapter"
    register(
        "torchattacks/",
        f"{place}:torchattack",
        "torchattacks' attacks by its names, such as torchattacks/AutoAttack, with its options",
        names=f"{place}:torchattack_names",
        extra="torchattacks",
    )
