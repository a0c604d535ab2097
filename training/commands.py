"""The commands that train networks."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..framework.command_options import (
    Antialias,
    Background,
    Device,
    DryRun,
    Log,
    ModelOptions,
    Profile,
    Seed,
    SkipUnreadable,
    Trust,
    folder_or_name,
    loaded_plugins,
    read_model_options,
    read_options,
    reading,
    with_antialias,
)
from ..framework.hookspecs import hookimpl
from ..framework.limits import size
from ..framework.progress import duration
from ..framework.remote import on_disk
from ..framework.study import Reference

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

    from ..framework.manager import Plugins
    from ..framework.recipes import Recipe


@hookimpl
def register_commands(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(prepare)


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    model: Annotated[str, typer.Option(help="A model's name, or FILE.py:FUNCTION.")],
    stimuli: Annotated[str, typer.Option(help="A name, or a folder CLASS/FILE, or SPLIT/CLASS/FILE with train in it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", parser=on_disk, help="The run's folder.")],
    validation: Annotated[
        str, typer.Option(help="Stimuli to measure on after each epoch; by default val or test beside train.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=2, help="Number of stimuli to train on, evenly spread.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of passes over the stimuli.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any entry of the recipe, such as perturbation_options.epsilon=0.1."),
    ] = None,
    set_: ModelOptions = None,
    antialias: Antialias = "",
    start: Annotated[str, typer.Option("--from", help="Weights to start from: a run, or a file in any format.")] = "",
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Layers or weights that stay as they are, such as 'layer*'."),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    devices: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Processes on each machine, each with a device of its own."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Machines; torchrun and srun say it by themselves.")
    ] = None,
    sync_batch_norm: Annotated[
        bool, typer.Option("--sync-batch-norm", help="Batch normalisation over the signals of all processes.")
    ] = False,
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the passes through the network, which a GPU gains from.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Processes that decode signals.")] = 0,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="Updates between checkpoints within an epoch.")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes between checkpoints within an epoch.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write what TensorBoard shows, to FOLDER/tensorboard.")
    ] = False,
    wandb: Annotated[str, typer.Option(metavar="PROJECT", help="Also log to this project of Weights & Biases.")] = "",
    log: Log = None,
    profile: Profile = None,
    seed: Seed = 0,
    trust: Trust = False,
    dry_run: DryRun = False,
) -> None:
    """Train a network.

    The run's folder can then be used as a model, by its path. The same command on the same folder resumes an
    interrupted training.
    """
    from ..framework.progress import ProgressBar
    from ..framework.registry import absolute
    from .driver import prepare, run_training
    from .estimate import estimate
    from .hardware import Hardware
    from .keeping import epochs_done
    from .launchers import is_first
    from .loggers import WeightsAndBiases
    from .loggers import tensorboard as tensorboard_of
    from .splits import splits, splits_of_name

    plugins = loaded_plugins(context, trust)
    changes = {**({"epochs": epochs} if epochs is not None else {}), **read_options(setting)}
    resolved = _recipe(plugins, recipe).changed(changes)
    resolved.check_warmup(changes)
    folder = Path(os.path.expanduser(stimuli))
    learned, held_out = splits(folder) if os.path.isdir(folder) else splits_of_name(plugins, Reference(stimuli))
    if validation:
        held_out = folder_or_name(plugins, Reference(validation))
    if limit is not None:
        learned = Reference(learned.name, {**learned.options, "limit": limit})
    learned = reading(plugins, learned, skip_unreadable, background)
    held_out = held_out and reading(plugins, held_out, skip_unreadable, background, is_asked=False)
    use = Reference(with_antialias(absolute(model), antialias), read_model_options(set_))
    run, loaded = prepare(
        use, learned, held_out, resolved, plugins, seed=seed, start=absolute(start), freeze=freeze or ()
    )
    hardware = Hardware(device, devices, precision, workers, nodes, sync_batch_norm, compiled)
    source = Path(recipe) if recipe.endswith(".toml") else None
    if dry_run and not is_first():
        return
    if dry_run:
        with plugins.trust.named_in(source):
            planned = estimate(run, output, plugins, hardware, loaded)
        typer.echo(run.qualified(plugins).to_toml())
        if (done := epochs_done(output)) == run.recipe.epochs:
            typer.echo(f"'{output}' holds this run, which is finished: the command would train nothing")
            return
        if done:
            typer.echo(f"'{output}' holds this run, trained for {done} of {run.recipe.epochs} epochs; in all it takes")
        typer.echo(
            f"{planned.updates} updates, at least {duration(planned.seconds)}; at least "
            f"{size(planned.memory_bytes)} of memory besides PyTorch, and {size(planned.disk_bytes)} on disk"
        )
        held = "all signals are in memory" if planned.read == math.inf else f"{planned.read:.3g} a second are read"
        epoch = planned.epoch_seconds
        typer.echo(
            f"{duration(epoch) if epoch > 10 else f'{epoch:.2g} s'} an epoch: the network takes {planned.trained:.3g} "
            f"signals a second, and {held}, so that the {planned.binds} binds"
        )
        return
    loggers: list[Logger] = [tensorboard_of(output)] if tensorboard else []
    if wandb and is_first():
        loggers.append(WeightsAndBiases(output, wandb, tomllib.loads(run.qualified(plugins).to_toml())))
    with ProgressBar(log, profile) as progress, plugins.trust.named_in(source):
        history = run_training(
            run,
            output,
            plugins,
            hardware,
            stimuli=loaded,
            checkpoint_every=checkpoint_every,
            checkpoint_minutes=checkpoint_minutes,
            loggers=loggers,
            progress=progress,
        )
    for logger in loggers:
        logger.finalize("success")
    shown = {"loss": "loss", "accuracy": "accuracy, training", "validation_accuracy": "accuracy, validation"}
    if not is_first():
        return
    typer.echo("  ".join(f"{text} {history[-1][name]:.3f}" for name, text in shown.items() if name in history[-1]))
    typer.echo(f"model: {output}")


def prepare(
    context: typer.Context,
    stimuli: Annotated[str, typer.Argument(help="A name, or a folder of pictures CLASS/FILE.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", parser=on_disk, help="File to write, NAME.prepared.")
    ],
    side: Annotated[
        int, typer.Option(min=1, help="Side length in pixels; RandomResizedCrop takes its crops from it.")
    ] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of pictures, evenly spread.")] = None,
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Processes that decode pictures.")] = 0,
    log: Log = None,
    trust: Trust = False,
) -> None:
    """Decode pictures once, into a file that trainings map into memory.

    Each is scaled until it just covers a square, and cropped about its centre. The file can then be given wherever
    stimuli can. The same command on the same file resumes where it was stopped.
    """
    from ..framework.progress import ProgressBar
    from ..framework.study import load_stimuli
    from .prepared import prepare as written

    plugins = loaded_plugins(context, trust)
    use = reading(plugins, folder_or_name(plugins, Reference(stimuli)), skip_unreadable, background)
    use = Reference(use.name, {**use.options, "limit": limit} if limit is not None else use.options)
    with ProgressBar(log) as progress:
        made = written(load_stimuli(plugins, use), output, side, workers=workers, progress=progress)
    classes = len({category for category in made.categories if category})
    held = f"{len(made)} pictures of {made.side} × {made.side} pixels, {classes} classes"
    typer.echo(f"{held}, {size(output.stat().st_size)}: {output}")


def _recipe(plugins: Plugins, name: str) -> Recipe:
    from ..framework.limits import text_of
    from ..framework.recipes import Recipe

    if not name.endswith(".toml"):
        loaded: Recipe = plugins.load("recipe", name)
        return loaded
    return Recipe.from_toml(text_of(Path(name), "no recipe in"))
