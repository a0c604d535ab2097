"""The hooks: what the plugin adds, by name. What a name stands for is imported when it is first used."""

from __future__ import annotations

import typer
from metamery.framework import Register, hookimpl


@hookimpl
def register_models(register: Register) -> None:
    register(
        "example-net",
        "metamery_example.models:small_network",
        summary="a small network of random weights on 3 × 32 × 32 pictures",
    )


@hookimpl
def register_distances(register: Register) -> None:
    register(
        "relative_lp",
        "metamery_example.distances:relative_lp",
        summary="‖a − a₀‖ₚ / ‖a₀‖ₚ, for any p from 1",
    )


@hookimpl
def register_perturbations(register: Register) -> None:
    register(
        "salt_and_pepper",
        "metamery_example.perturbations:salt_and_pepper",
        summary="a share of the samples set to the lowest or the highest value",
    )


@hookimpl
def register_evaluators(register: Register) -> None:
    register(
        "signal_rms",
        "metamery_example.evaluators:signal_rms",
        summary="how far metamers are from their natural signals, by layer",
    )


@hookimpl
def register_commands(app: typer.Typer) -> None:
    from .commands import status

    app.command("example-status")(status)
