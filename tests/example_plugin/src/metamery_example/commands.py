"""The command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def status(study: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Say how far a study is: how many metamers are missing, done and failed, by layer."""
    from metamery.framework import models_of, open_study
    from metamery.framework.schema import STATES

    for results in models_of(open_study(study)):
        typer.echo(results.name)
        states = results.metamers["state"]
        for layer in results.layers:
            counts = [f"{int((states.sel(layer=layer) == value).sum())} {name}" for name, value in STATES.items()]
            typer.echo(f"  {layer:<24} {', '.join(counts)}")
