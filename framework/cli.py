"""The program: a Typer application made from the loaded plugins. By itself it imports no slow modules."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

import typer

from . import stopping
from .errors import MetameryError, unknown
from .failures import failure_message
from .faults import fault
from .manager import Plugins, own_version
from .registry import KINDS
from .trace import traced


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0 on success, 2 for an error that the user can correct."""
    stopping.begin()
    with warnings.catch_warnings():
        warnings.showwarning = partial(_show_warning, set())
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    plugins: Plugins | None = None
    try:
        plugins = Plugins()
        app = make_app(plugins)
        for problem in plugins.problems:
            print(f"warning: {problem}", file=sys.stderr)
        given = list(sys.argv[1:] if arguments is None else arguments)
        _check_text(given)
        plugins.trust.give(given)
        status = app(args=given or ["--help"], prog_name="metamery", standalone_mode=False)
    except MetameryError as error:
        if not stopping.interrupted():
            return _fail(str(error))
        status = stopping.STATUS
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        context = getattr(error, "ctx", None)
        if context and not message.endswith(("?", ")")):  # those say already what may be meant
            message = f"{message.rstrip('.')}; see {context.command_path} --help"
        return _fail(message) if message else 2
    except (KeyboardInterrupt, typer.Abort):
        status = stopping.STATUS
    except Exception as error:
        if message := failure_message(error):
            return _fail(message)
        if plugins is None or stopping.interrupted() or not (found := fault(error, plugins)):
            raise
        print(f"{found[0]}\n\n{found[1]}", end="", file=sys.stderr)
        return 1
    except SystemExit as error:
        if plugins is None or not (found := fault(error, plugins)):
            raise
        return _fail(f"{found[0]} ends Python by itself; expected an exception")
    if status == stopping.STATUS:  # returned by Typer, too
        stopping.tell()
    return status if isinstance(status, int) else 0


def make_app(plugins: Plugins) -> typer.Typer:
    """Build the program from plugins; two programs share no state.

    A plugin with a command whose name is already taken is left out, with an entry in ``plugins.problems``.
    """
    app = typer.Typer(
        name="metamery",
        help="Find out what a neural network treats as the same: model metamers at every layer.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    _add_own_commands(app, plugins)
    for plugin, add in list(plugins.hook_calls("register_commands")):
        commands, groups = list(app.registered_commands), list(app.registered_groups)
        taken = set(_names(app))
        try:
            added: list[str] = []
            with traced(plugin, "register_commands", added):
                add(app=app)
                added += _names(app, len(commands), len(groups))
            if clash := sorted(taken & {*added}):
                raise MetameryError(f"its command '{clash[0]}' already exists")
            plugins.commands[plugin] = added
        except (Exception, SystemExit) as error:
            app.registered_commands, app.registered_groups = commands, groups
            plugins.reject(plugin, str(error) if isinstance(error, MetameryError) else repr(error))
    return app


def _show_warning(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, once; a warning for programmers is followed by its origin."""
    origin = "" if category is UserWarning else f" ({category.__name__}, {filename}:{lineno})"
    if (text := f"warning: {' '.join(str(message).split())}{origin}") not in shown:
        shown.add(text)
        print(text, file=sys.stderr)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _check_text(arguments: Sequence[str]) -> None:
    """Raise `MetameryError` if an argument is not UTF-8: results store the names of folders and files as text."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise MetameryError(f"{os.fsencode(argument)!r} is not UTF-8: rename that file or folder") from None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metamery {own_version()}")
        raise typer.Exit


def _names(app: typer.Typer, first_command: int = 0, first_group: int = 0) -> list[str]:
    commands = [
        command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")
        for command in app.registered_commands[first_command:]
    ]
    groups = [
        group.name if isinstance(group.name, str) else (group.typer_instance.info.name or "")
        for group in app.registered_groups[first_group:]
        if group.typer_instance is not None
    ]
    return [*commands, *map(str, groups)]


def _add_own_commands(app: typer.Typer, plugins: Plugins) -> None:
    @app.callback()
    def program(
        context: typer.Context,
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
        ] = False,
    ) -> None:
        context.obj = plugins

    @app.command("list")
    def list_names(
        kind: Annotated[
            str, typer.Argument(help=f"One of {', '.join(KINDS)} (or a plural, such as models); all by default.")
        ] = "",
        members: Annotated[bool, typer.Option("--members", help="Also list the members of families.")] = False,
    ) -> None:
        """List the registered names.

        The plugin, and the licence if one is stated, follow in brackets.
        """
        singular = {alias: name for name, hook in KINDS.items() for alias in (name, hook.removeprefix("register_"))}
        if kind and kind not in singular:
            raise unknown("kind", kind, KINDS)
        for each in [singular[kind]] if kind else KINDS:
            typer.echo(f"{each}:" if not kind else "", nl=not kind)
            entries = plugins.entries(each)
            width = max((len(entry.name) for entry in entries), default=0)
            for entry in entries:
                origin = ", ".join(filter(None, (entry.plugin, entry.licence)))
                typer.echo(f"  {entry.name:<{width}}  {entry.summary}  [{origin}]")
                if members and entry.is_family:
                    try:
                        names = entry.members()
                    except MetameryError as error:
                        names = []
                        what = f"the names of {entry.kind} '{entry.qualified}'"
                        print(f"warning: cannot list {what}: {error}", file=sys.stderr)
                    for name in names:
                        typer.echo(f"    {name}")

    @app.command("plugins")
    def list_plugins() -> None:
        """List the plugins, and why any were left out."""
        for plugin in plugins.loaded:
            names = sum(entry.plugin == plugin.name for kind in KINDS for entry in plugins.entries(kind))
            counts = {"name": names, "command": len(plugins.commands.get(plugin.name, ()))}
            parts = [f"{count} {what}{'s' if count > 1 else ''}" for what, count in counts.items() if count]
            typer.echo(f"{plugin.name:<20} {plugin.distribution} {plugin.version}, {', '.join(parts) or 'nothing'}")
        for problem in plugins.problems:
            typer.echo(str(problem))

    @app.command("new-plugin")
    def new_plugin(
        name: Annotated[str, typer.Argument(help="Lower-case letters and digits, with hyphens between them.")],
        output: Annotated[
            Path | None, typer.Option("--output", "-o", help="The package's folder; by default metamery-NAME.")
        ] = None,
        kinds: Annotated[
            str,
            typer.Option(
                "--with", metavar="KIND,…", help=f"Only these: {', '.join(KINDS)}, command; by default all of them."
            ),
        ] = "",
    ) -> None:
        """Write a plugin package that passes its own tests."""
        from .new_plugin import write_plugin

        folder = output or Path(f"metamery-{name}")
        write_plugin(name, folder, [kind.strip() for kind in kinds.split(",") if kind.strip()])
        typer.echo(f"plugin '{name}' is in {folder}; next:\n  cd {folder}\n  pip install -e '.[test]'\n  pytest")
