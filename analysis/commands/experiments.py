"""Commands of experiments with people: `experiment build` and those that follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...framework.command_options import DryRun, Trust

experiment = typer.Typer(
    name="experiment", no_args_is_help=True, help="Ask people what they recognise: experiments made from a study."
)


@experiment.command()
def build(
    context: typer.Context,
    study: Annotated[Path, typer.Argument(help="A study's folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the experiment.")] = Path("experiment"),
    preset: Annotated[str, typer.Option(help="Published settings to begin with.")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file of settings, as `experiment settings` prints them.")
    ] = None,
    consent: Annotated[Path | None, typer.Option(help="A text file: what participants consent to.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as a.b=value.")
    ] = None,
    dry_run: DryRun = False,
    trust: Trust = False,
) -> None:
    """Make an experiment from a study: a folder that any web server can serve, and its key."""
