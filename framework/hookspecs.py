"""The hooks: every way in which a plugin can extend metamery.

A plugin is a module with some of these functions, each marked `@hookimpl`; it is found through the entry-point
group `metamery`. All hooks are called once, when a `Plugins` object is made, in the order of the plugins' names.
Registration is lazy: a name is given with the path of its factory, ``"package.module:attribute"``, which is
imported when the name is first used. Every factory is called with keyword options only.

Arguments are only ever added to a hook, so a plugin may leave out those that it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from .registry import Register

PROJECT = "metamery"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_models(register: Register) -> None:
    """Add networks. The factory returns a `Model`."""


@hookspec
def register_stimuli(register: Register) -> None:
    """Add natural signals, for synthesis and for training. The factory returns `Stimuli`."""


@hookspec
def register_losses(register: Register) -> None:
    """Add training objectives. The factory returns ``loss(model, signals, labels) -> ()``, a scalar tensor.

    A loss that has a parameter `natural` is also given the signals as they were before they were perturbed; one that
    has `targets`, by default None, the probabilities of the classes, ``(B, classes)``, where a recipe mixes signals.
    """


@hookspec
def register_distances(register: Register) -> None:
    """Add distances, which synthesis minimises. The factory returns ``distance(activations, targets) -> (B,)``."""


@hookspec
def register_optimizers(register: Register) -> None:
    """Add optimizers, for weights and for signals. The factory takes ``lr`` and returns
    ``make(parameters) -> torch.optim.Optimizer``.
    """  # noqa: D205


@hookspec
def register_perturbations(register: Register) -> None:
    """Add attacks, noise, shifts and blurs. The factory returns
    ``perturb(model, signals, labels, generator) -> signals``, of the same shape and inside the domain's range.
    """  # noqa: D205


@hookspec
def register_evaluators(register: Register) -> None:
    """Add measurements. The factory returns ``evaluate(context) -> xarray.Dataset`` that passes the schema."""


@hookspec
def register_recipes(register: Register) -> None:
    """Add training set-ups. The factory returns a `Recipe`: names and numbers only."""


@hookspec
def register_commands(app: typer.Typer) -> None:
    """Add commands to the program. `app` is the Typer application; a name that is taken is refused."""
