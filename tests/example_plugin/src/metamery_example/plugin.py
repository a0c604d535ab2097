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
def register_stimuli(register: Register) -> None:
    register(
        "example-gratings",
        "metamery_example.stimuli:gratings",
        summary="gratings, horizontal and vertical",
        licence="CC0-1.0",
    )
    register(
        "example-gratings/",
        "metamery_example.stimuli:gratings_of",
        summary="gratings of one orientation",
        licence="CC0-1.0",
        names="metamery_example.stimuli:orientations",
    )


@hookimpl
def register_losses(register: Register) -> None:
    register("example-focal", "metamery_example.losses:focal", summary="cross-entropy, most of it from what is hard")


@hookimpl
def register_distances(register: Register) -> None:
    register(
        "example-relative-lp",
        "metamery_example.distances:relative_lp",
        summary="‖a − a₀‖ₚ / ‖a₀‖ₚ, for any p from 1",
    )


@hookimpl
def register_optimizers(register: Register) -> None:
    register(
        "example-sign-descent",
        "metamery_example.optimizers:sign_descent",
        summary="steps of one size along the gradient's sign",
    )


@hookimpl
def register_perturbations(register: Register) -> None:
    register(
        "example-salt-and-pepper",
        "metamery_example.perturbations:salt_and_pepper",
        summary="a share of the samples set to the lowest or the highest value",
    )


@hookimpl
def register_evaluators(register: Register) -> None:
    register(
        "example-signal-rms",
        "metamery_example.evaluators:signal_rms",
        summary="how far metamers are from their natural signals, by layer",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    register("example-noisy", "metamery_example.recipes:noisy", summary="ten epochs in Gaussian noise, with Adam")


@hookimpl
def register_commands(app: typer.Typer) -> None:
    from .commands import status

    app.command("example-status")(status)
