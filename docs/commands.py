"""Write commands.md: the help of every command, as the program prints it."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

from metamery.framework import Plugins
from metamery.framework.cli import make_app

HEAD = "# Commands\n\nThe help texts as the program prints them (`python docs/commands.py` writes this page).\n"


def page() -> str:
    """Return the complete page."""
    os.environ["COLUMNS"] = "100"
    app = make_app(Plugins(installed=()))
    names = [
        command.name or command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    ]
    parts = [HEAD, f"```text\n{_help(app)}\n```\n"]
    parts += [f"## metamery {name}\n\n```text\n{_help(app, name)}\n```\n" for name in names]
    return "\n".join(parts)


def _help(app: object, *command: str) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed):
        app(args=[*command, "--help"], prog_name="metamery", standalone_mode=False)
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(page(), encoding="utf-8")
