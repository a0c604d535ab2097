"""The released networks of Feather et al. (2023), by their own names, with weights from the files of the release."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_models(register: Register) -> None:
    module = "metamery.plugins.feather2023.family"
    register(
        "feather2023/",
        f"{module}:feather2023_model",
        summary="the networks of Feather et al. (2023) by the names of their folders; weights=FILE is a released file",
        names=f"{module}:feather2023_names",
    )
