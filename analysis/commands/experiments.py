"""Commands of experiments with people: `experiment build` and those that follow it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...framework.command_options import Device, DryRun, Seed, Trust, loaded_plugins, read_options
from ...framework.errors import MissingExtraError
from ...framework.folders import RESULTS, home
from ...framework.remote import on_disk

if TYPE_CHECKING:
    from ...framework.manager import Plugins

MAX_PARTICIPANTS, MAX_EXPERIMENTS = 100_000, 10**6

MAX_IDLE = 7 * 24 * 60.0

_DEMONSTRATION = {
    "title": "What do you see?",
    "parts": ["consent", "instructions", "practice", "main", "debriefing"],
    "consent.text": ["This is a demonstration for you alone: your answers stay in a folder on this computer."],
    "conditions.stimuli": 8,
    "practice.feedback": 2,
    "practice.free": 0,
    "practice.needed": 0,
    "catch.trials": 2,
    "allocation.blocks": 2,
    "timing.slow_practice": 1,
}
"""Settings of the experiment of `demo --experiment`: two trials of practice and ten to answer."""

experiment = typer.Typer(
    name="experiment", no_args_is_help=True, help="Ask people what they recognise: experiments made from a study."
)


@experiment.command()
def build(
    context: typer.Context,
    study: Annotated[Path, typer.Argument(metavar="STUDY", parser=on_disk, help="A study's folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", parser=on_disk, help="Folder of the experiment.")
    ] = Path("experiment"),
    preset: Annotated[str, typer.Option(help="Published settings to begin with.")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file of settings, as `experiment settings` prints them.")
    ] = None,
    consent: Annotated[Path | None, typer.Option(help="A text file: what participants consent to.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as a.b=value.")
    ] = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    trust: Trust = False,
) -> None:
    """Make an experiment from a study: a folder that any web server can serve, and its key."""
    from ...framework.devices import resolve_device
    from ...framework.progress import ProgressBar
    from ..experiment.build import build as build_experiment

    plugins, changes, where = loaded_plugins(context, trust), read_options(set_), resolve_device(device)
    with ProgressBar() as progress:
        found = build_experiment(
            study,
            output,
            plugins,
            preset=preset,
            file=settings,
            changes=changes,
            consent=consent,
            dry_run=dry_run,
            device=where,
            progress=progress,
        )
    for line in found.lines:
        typer.echo(line)
    for remark in found.remarks:
        typer.echo(f"warning: {remark}", err=True)
    if dry_run:
        typer.echo(f"\n'{output}' would hold the experiment; sounds are measured again when it is built")
        return
    typer.echo(f"\nexperiment: {output.resolve()}")
    typer.echo(f"next:       metamery experiment serve {output}")


@experiment.command()
def trials(
    study: Annotated[Path, typer.Argument(metavar="STUDY", parser=on_disk, help="A study with controversial signals.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", parser=on_disk, help="Folder of the study of trials.")
    ] = Path("trials"),
    categories: Annotated[
        str, typer.Option(metavar="A,B", help="Two categories between which people choose; all by default.")
    ] = "",
) -> None:
    """Make a study of the controversial signals of another, for `experiment build`: people decide between networks."""
    from ..controversial.trials import controversial_trials

    chosen = [each.strip() for each in categories.split(",")] if categories else []
    count = controversial_trials(study, output, chosen)
    typer.echo(f"{count} controversial signals: {output.resolve()}")
    typer.echo(
        f"next: metamery experiment build {output} "
        "--set conditions.natural=false --set sounds.check=false --set answers.alternatives=true"
    )


@experiment.command("settings")
def print_settings(
    preset: Annotated[str, typer.Argument(help="Published settings.")] = "feather2023-pictures",
) -> None:
    """Print all settings of an experiment as TOML, to be edited and given to `experiment build --settings`."""
    from ..experiment.resolving import parse_settings, preset_table

    typer.echo(parse_settings(preset_table(preset)).to_toml(), nl=False)


@experiment.command("import")
def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|FILE…", help="The experiment's folder, and files or folders of results."),
    ],
    study: Annotated[Path, typer.Argument(metavar="STUDY", parser=on_disk, help="The study that it was built from.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A rule of exclusion, such as catch=0.9.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the tables; by default `data` in the experiment's.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Bring people's data back: tables of trials, and their recognition in the study's results and report."""
    from ..experiment.exclusions import Rules
    from ..experiment.importing import HUMAN, import_people
    from ..report import write_report
    from ..report.terminal import lines

    found = import_people(sources, study, Rules.from_options(read_options(set_)), output, seed)
    for line in lines(found.dataset):
        typer.echo(line)
    kept = sum(not reason for reason in found.reasons.values())
    typer.echo(f"\n{kept} of {len(found.reasons)} sessions count")
    for session, reason in found.reasons.items():
        if reason:
            typer.echo(f"  excluded {session}: {reason}")
    for remark in found.remarks:
        typer.echo(f"warning: {remark}", err=True)
    typer.echo(f"\nadded as '{HUMAN}' to {home(study) / RESULTS}")
    typer.echo(f"tables:  {found.folder.resolve()}: {', '.join(found.files)}")
    typer.echo(f"next:    metamery statistics {found.folder / 'participants.csv'}")
    typer.echo(f"report:  {write_report(study).resolve()}")


@experiment.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The experiment's folder.")],
    accuracy: Annotated[
        list[str],
        typer.Option(metavar="P|LAYER=P|FILE.toml", help="Probability of the right answer; `chance` is allowed."),
    ],
    participants: Annotated[int, typer.Option(min=2, max=MAX_PARTICIPANTS, help="Number of participants.")] = 20,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="P|LAYER=P|FILE.toml", help="That of the generating model; by default 1."),
    ] = None,
    experiments: Annotated[
        int, typer.Option(min=1, max=MAX_EXPERIMENTS, help="Number of simulated experiments.")
    ] = 200,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the data of one simulated experiment.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Play synthetic observers through an experiment: tell with which probability an effect is found."""
    import numpy as np

    from ..experiment.key import Key
    from ..experiment.observers import observe, read_accuracy, write_lines
    from ..experiment.power import power
    from ..report.terminal import lines

    key = Key.read(folder)
    people, of_network = read_accuracy(accuracy, key), read_accuracy(network or (), key, default=1.0)
    generator = np.random.default_rng(seed)
    if output is not None:
        write_lines(output, observe(key, participants, people, generator))
        typer.echo(f"data of one simulated experiment: {output.resolve()}")
    found = power(key, participants, people, of_network, experiments=experiments, generator=generator)
    typer.echo(f"{found.attrs['title']}, {experiments} simulated experiments")
    for line in lines(found[["power", "power_low", "power_high"]]):
        typer.echo(line)
    typer.echo("\nlayer: people alone over stages; recogniser:layer: people and the generating model over stages")


@experiment.command()
def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The experiment's folder.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")] = 8000,
    proxy: Annotated[
        str, typer.Option(metavar="ADDRESS,…", help="Proxies whose X-Forwarded-For tells participants' addresses.")
    ] = "",
    idle: Annotated[
        float, typer.Option(min=1, max=MAX_IDLE, help="Minutes of silence after which a place is free again.")
    ] = 30,
) -> None:
    """Serve an experiment to participants, and save what they answer, until it is stopped."""
    require_server()
    from ..experiment.server.serving import serve as run_server

    run_server(folder, host, port, proxy, idle, typer.echo)


def require_server() -> None:
    """Raise `MissingExtraError` if what the server needs is not installed."""
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"experiment serve needs the package '{package}': pip install 'metamery[experiment]'"
            )


def demonstrate(study: Path, folder: Path, plugins: Plugins) -> None:
    """Make a short experiment of a study, unless it is there, and serve it at any free port until it is stopped."""
    from ..experiment.build import build as build_experiment
    from ..experiment.key import KEY_FILE
    from ..experiment.server.serving import serve as run_server

    if not (folder / KEY_FILE).exists():
        for line in build_experiment(study, folder, plugins, changes=_DEMONSTRATION).lines:
            typer.echo(line)
    typer.echo(f"\nafterwards:  metamery experiment import {folder} {study}")
    run_server(folder, "127.0.0.1", 0, "", 30, typer.echo)


@experiment.command()
def status(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The experiment's folder.")]) -> None:
    """Show how many participants have come, finished, ended early and are left, list by list."""
    from ...framework.claims import worker
    from ..experiment.key import Key
    from ..experiment.resolving import read_settings
    from ..experiment.server.progress import progress, total

    key = Key.read(folder)
    participants = read_settings(folder).allocation.participants
    lists = progress(folder, participants)
    every = total(lists)
    holder = worker(folder)
    typer.echo(f"'{key.title}', {len(key.lists)} lists")
    typer.echo(f"server:       {f'runs: {holder}' if holder else 'does not run'}")
    typer.echo(f"have come:    {every.come}")
    typer.echo(f"finished:     {every.finished}")
    typer.echo(f"at it:        {every.at_it}")
    for name, counts in (("ended early", every.ended), ("gone", every.gone)):
        parts = ", ".join(f"{count} {part}" for part, count in sorted(counts.items()))
        typer.echo(f"{name + ':':<13} {counts.total()}{f' ({parts})' if parts else ''}")
    aim = f"of {participants}" if participants else "until all lists are as full as the fullest"
    typer.echo(f"left:         {every.left} {aim}\n")
    row = "{:>5} {:>9} {:>6} {:>12} {:>5} {:>5}".format
    typer.echo(row("list", "finished", "at it", "ended early", "gone", "left"))
    for number, each in enumerate(lists):
        typer.echo(row(number, each.finished, each.at_it, each.ended.total(), each.gone.total(), each.left))


@experiment.command()
def withdraw(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The experiment's folder.")],
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A recruiting service's identifier, a participant or a session.")
    ],
) -> None:
    """Delete one person's data from an experiment for good; it may be served meanwhile."""
    from ..experiment.server.withdrawal import withdraw as delete

    found = delete(folder, identifier)
    typer.echo(f"deleted: {found.records} records and {found.identifiers} identifiers of {', '.join(found.sessions)}")
    if (folder / "data").exists():
        typer.echo(f"{folder / 'data'} was imported before: `metamery experiment import` writes it anew without them")
