"""The command that makes the cards of networks, and compares them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...framework.command_options import (
    Background,
    Device,
    DryRun,
    Log,
    ModelOptions,
    SkipUnreadable,
    folder_or_name,
    loaded_plugins,
    read_model_options,
    reading,
)
from ...framework.errors import MetameryError
from ...framework.limits import size
from ...framework.progress import duration
from ...framework.registry import absolute
from ...framework.study import Reference

if TYPE_CHECKING:
    from ...framework.manager import Plugins
    from ..card.contents import Card

BOARD = "index.html"
"""Name of the page with the cards of several networks."""


def card(
    context: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Networks; with --compare, JSON files of cards.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page, such as card.html, beside which the JSON file and the study are kept; for several networks "
            "a folder of them.",
        ),
    ] = "",
    jury: Annotated[
        str, typer.Option(metavar="A,B,…", help="Other networks, which are asked what the metamers show.")
    ] = "",
    stimuli: Annotated[
        str, typer.Option(help="A folder of pictures or sounds, CLASS/FILE, or a name; a few bundled ones by default.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Number of these stimuli.")] = None,
    labels: Annotated[
        str,
        typer.Option(help="Categories in which the jury answers: imagenet-16, cifar-10 or FILE.toml; or its classes."),
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare cards, JSON files or folders of them; with -o on a page, too.")
    ] = False,
    set_: ModelOptions = None,
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    log: Log = None,
    dry_run: DryRun = False,
) -> None:
    """Make the card of a network: a fixed protocol from metamers to the recognition by people that they predict.

    Metamers at five layers are judged against a null and shown to a jury of other networks; robust accuracy, shift
    consistency and aliasing are measured; and from the jury follows how many of the metamers people would recognise,
    with a prediction interval. The same command on the same file resumes an interrupted one.
    """
    if compare:
        making = {
            "--jury": jury,
            "--stimuli": stimuli,
            "--limit": limit,
            "--labels": labels,
            "--set": set_,
            "--dry-run": dry_run,
        }
        if wrong := [name for name, value in making.items() if value]:
            raise MetameryError(f"{wrong[0]} is for making a card, and --compare compares cards that are made")
        _compare(given, output)
        return
    if limit and not stimuli:
        raise MetameryError("--limit is for --stimuli: the bundled ones are the protocol's")
    if (skip_unreadable or background) and not stimuli:
        raise MetameryError("--skip-unreadable and --background are for --stimuli, a folder")
    if set_ and len(given) > 1:
        raise MetameryError("--set is for one network: give one, or name a function that builds it")
    members = [absolute(name.strip()) for name in jury.split(",") if name.strip()]
    plugins = loaded_plugins(context)
    use: Reference | None = None
    if stimuli:
        use = folder_or_name(plugins, Reference(stimuli, {"limit": limit} if limit else {}))
        use = reading(plugins, use, skip_unreadable, background)
    files = _files(given, output, plugins)
    options: dict[str, Any] = {"stimuli": use, "labels": labels, "options": read_model_options(set_)}
    if dry_run:
        for model in given:
            _estimate(model, members, options, plugins, device)
        return
    _make(files, members, options, plugins, device, log)
    if len(given) > 1:
        _compare([str(file.with_suffix(".json")) for file in files.values()], str(Path(output) / BOARD))


def _files(models: Sequence[str], output: str, plugins: Plugins) -> dict[str, Path]:
    """Return the page of each network's card, by the network as it was given."""
    from ...framework.schema import model_key
    from ..card.work import page_file

    if not output:
        raise MetameryError("expected -o FILE, such as -o card.html")
    if len(models) == 1:
        return {absolute(models[0]): page_file(output)}
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise MetameryError(f"'{output}' is a file, expected a folder for the cards of {len(models)} networks")
    files: dict[str, Path] = {}
    for model in models:
        page = folder / f"{model_key(plugins.find('model', model).qualified)}.html"
        if page in files.values():
            raise MetameryError(f"'{model}' is given twice, expected different networks")
        files[absolute(model)] = page
    return files


def _make(
    files: dict[str, Path],
    jury: Sequence[str],
    options: dict[str, Any],
    plugins: Plugins,
    device: str,
    log: Path | None,
) -> None:
    from ...framework.devices import resolve_device
    from ...framework.progress import ProgressBar
    from ..card.work import make_card, plan

    where = resolve_device(device)
    if len(files) > 1:  # all mistakes are found before the first network is worked on
        for model in files:
            plan(model, jury, **options, plugins=plugins)
    for model, file in files.items():
        with ProgressBar(log) as progress:
            made = make_card(model, jury, file, **options, plugins=plugins, device=where, progress=progress)
        _print(made)
        typer.echo(
            f"card:    {file.resolve()}, which says how far to trust it\nnumbers: {file.with_suffix('.json').resolve()}"
        )


def _print(made: Card) -> None:
    from ..card.cautions import cautions
    from ..card.page import ends, estimate

    typer.echo(f"{'layer':24} people would recognise      the jury  idiosyncrasy  success")
    for layer in made.layers:
        people = f"{estimate(layer.people)} {ends(layer.people)}"
        row = f"{layer.name:24} {people:27} {estimate(layer.others):9} {estimate(layer.idiosyncrasy):13}"
        typer.echo(
            f"{row} {estimate(layer.success) if layer.judged else 'unattainable' if layer.unattainable else '–'}"
        )
    for line in cautions(made):
        typer.echo(f"note: {line}")


def _estimate(model: str, jury: Sequence[str], options: dict[str, Any], plugins: Plugins, device: str) -> None:
    from ...framework.devices import resolve_device
    from ..card.work import plan
    from ..studies.estimate import estimate

    asked = plan(absolute(model), jury, **options, plugins=plugins)
    planned = estimate(asked.study, plugins, resolve_device(device))
    typer.echo(asked.study.qualified(plugins).to_toml())
    typer.echo(
        f"{planned.metamers} metamers, {planned.updates} updates, about {duration(planned.seconds)}; "
        f"{size(planned.memory_bytes)} of memory besides PyTorch and the networks, "
        f"at most {size(planned.disk_bytes)} on disk; then evaluate {', '.join(asked.evaluations)}"
    )


def _compare(paths: Sequence[str], output: str) -> None:
    from ..card.compare import boards, lines, read_cards, write_board
    from ..card.work import page_file

    page = page_file(output) if output else None
    entries = read_cards(paths)
    for board in boards(entries):
        for line in lines(board):
            typer.echo(line)
        if board.doubts:
            doubts = " and ".join(board.doubts)
            typer.echo(f"warning: these cards differ in their {doubts}, not in the network alone", err=True)
    if page:
        write_board(entries, page)
        typer.echo(f"page:    {page.resolve()}")
