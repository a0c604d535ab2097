"""Options that several commands share, and functions that read them."""

from __future__ import annotations

import inspect
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from .checks import LARGEST
from .errors import MetameryError, UnknownNameError
from .manager import Plugins
from .registry import absolute_options
from .study import Reference, located

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps, or auto: cuda if available, else cpu.")]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST, help="Seed of all random choices.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and what it would take.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the Python files that a study or a run names.")]
Antialias = Annotated[str, typer.Option(metavar="KIND", help="Blur before subsampling: blur3, blur5 or hann.")]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out files of a folder that cannot be read.")
]
Background = Annotated[
    str, typer.Option(metavar="COLOUR", help="Background of partly transparent pictures of a folder, such as white.")
]
Log = Annotated[Path | None, typer.Option(metavar="FILE", help="Append a line on the progress to a file, every 30 s.")]
Profile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a profile of some steps, for ui.perfetto.dev: .json or .json.gz."),
]
Scheduler = Annotated[
    str,
    typer.Option(
        metavar="local:N|ADDRESS|FILE.toml",
        help="Compute on workers of Dask: N processes here, those of a scheduler, or jobs of a cluster.",
    ),
]
ModelOptions = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the model.")]


def loaded_plugins(context: typer.Context, trust: bool = False) -> Plugins:
    """Return the plugins that the program was made from; `trust` runs the files that studies and runs name."""
    plugins = context.obj
    assert isinstance(plugins, Plugins)
    plugins.trust.everything |= trust
    return plugins


def read_options(given: list[str] | None) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs; a value that is not valid TOML is read as text.

    Raises
    ------
    MetameryError
        An item is not of the form ``KEY=VALUE``.
    """
    options: dict[str, Any] = {}
    for pair in given or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise MetameryError(f"'{pair}': expected KEY=VALUE")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            options[key] = value
        except ValueError as error:
            raise MetameryError(f"'{key}': {error}") from None
    return options


def read_model_options(given: list[str] | None) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs of a model, with absolute paths for files such as those of weights."""
    return absolute_options(read_options(given))


def with_antialias(model: str, kind: str) -> str:
    """Return the name of a model, or of its anti-aliased version."""
    return f"antialias:antialias/{kind}/{model}" if kind else model


def folder_or_name(plugins: Plugins, use: Reference) -> Reference:
    """Return the stimuli that a command names: a registered name as it is, a folder by its absolute path."""
    try:
        plugins.find("stimuli", use.name)
    except MetameryError:
        return located(Reference(f"{use.name}/", use.options) if os.path.isdir(os.path.expanduser(use.name)) else use)
    return located(use)


def reading(
    plugins: Plugins, use: Reference, skip_unreadable: bool, background: str, is_asked: bool = True
) -> Reference:
    """Add a command's options for reading files to the options of its stimuli.

    Parameters
    ----------
    plugins
        Plugins in which the name is looked up.
    use
        Stimuli, as `folder_or_name` returns them.
    skip_unreadable, background
        Values of the command's options.
    is_asked
        Whether stimuli without such an option are refused; otherwise they are returned unchanged, as for stimuli
        besides the command's main ones.

    Raises
    ------
    MetameryError
        The stimuli have no such option.
    """
    given = {"skip_unreadable": skip_unreadable, "background": background}
    options = {name: value for name, value in given.items() if value}
    if not options:
        return use
    try:
        accepted = inspect.signature(plugins.find("stimuli", use.name).entry.factory()).parameters
    except UnknownNameError:
        return use  # refused when it is loaded
    for name in [name for name in options if name not in accepted]:
        if is_asked:
            raise MetameryError(
                f"--{name.replace('_', '-')} is for folders, and stimuli '{use.name}' have no such option"
            )
        del options[name]
    return Reference(use.name, {**use.options, **options})
