"""Write commands.md: the help of every command, as the program prints it."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

import typer
from metamery.framework import Plugins
from metamery.framework.cli import make_app

HEAD = "# Commands\n\nThe help texts as the program prints them (`python docs/commands.py` writes this page).\n"


def page() -> str:
    """Return the complete page."""
    os.environ["COLUMNS"] = "100"
    app = make_app(Plugins(installed=()))
    names = _names(app)
    parts = [HEAD, f"```text\n{_help(app)}\n```\n"]
    commands = [(name,) for name in names] + [
        (group.typer_instance.info.name, *inner)
        for group in app.registered_groups
        for inner in [(), *((name,) for name in _names(group.typer_instance))]
    ]
    parts += [f"## metamery {' '.join(each)}\n\n```text\n{_help(app, *each)}\n```\n" for each in commands]
    return "\n".join(parts)


def _names(app: typer.Typer) -> list[str]:
    return [
        command.name or command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    ]


def _help(app: object, *command: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        app(args=[*command, "--help"], prog_name="metamery", standalone_mode=False)
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(page(), encoding="utf-8")
