"""The command line: commands that make, measure, show and export metamers."""

from __future__ import annotations

import typer

from ...framework.hookspecs import hookimpl
from .cards import card
from .demo import demo
from .evaluations import compare, evaluate, statistics
from .experiments import experiment
from .studies import cluster, export, report, run, show, synthesise


@hookimpl
def register_commands(app: typer.Typer) -> None:
    app.command()(demo)
    app.command()(show)
    app.command()(synthesise)
    app.command("run")(run)
    app.command()(cluster)
    for command in (evaluate, compare, statistics):
        app.command()(command)
    app.command()(card)
    app.command()(report)
    app.command()(export)
    app.add_typer(experiment)
