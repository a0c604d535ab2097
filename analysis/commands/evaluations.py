"""Commands that measure: `evaluate`, `compare` and `statistics`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...framework.command_options import (
    Background,
    Device,
    DryRun,
    Log,
    Profile,
    Scheduler,
    Seed,
    SkipUnreadable,
    Trust,
    folder_or_name,
    loaded_plugins,
    read_options,
    reading,
)
from ...framework.errors import MetameryError
from ...framework.folders import READABLE, RESULTS, RUN_FILE, check_input, check_output, home
from ...framework.groups import check_result_name, result_name
from ...framework.limits import size
from ...framework.progress import duration
from ...framework.registry import absolute, is_run
from ...framework.remote import Folder, folder_at
from ...framework.study import Reference

if TYPE_CHECKING:
    import xarray as xr

    from ..studies.cost import Cost

OfEvaluations = Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of results and report.")]

MAX_SHUFFLES = 10**8

WORTH_SAYING = 10.0
"""Number of seconds from which an evaluation says at its start how long it takes."""


def evaluate(
    context: typer.Context,
    evaluator: Annotated[str, typer.Argument(help="An evaluator's name.")],
    what: Annotated[list[str], typer.Argument(metavar="STUDY|MODEL", help="A study's folder, or models or runs.")],
    stimuli: Annotated[
        str, typer.Option(help="Stimuli for models, a name or a folder; for runs by default their validation stimuli.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Number of stimuli, for models.")] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of results and report, for models.")
    ] = "evaluation",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the evaluator.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove its results from a folder, and measure nothing.")
    ] = False,
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    scheduler: Scheduler = "",
    log: Log = None,
    profile: Profile = None,
    seed: Seed = 0,
    trust: Trust = False,
    dry_run: DryRun = False,
) -> None:
    """Measure a study, or models.

    Results are added to the study's results and report; those of models go to a folder of their own.
    """
    from ...framework.devices import here, resolve_device
    from ...framework.progress import ProgressBar
    from ..report import write_report
    from ..report.terminal import lines
    from ..studies.clusters import is_elsewhere
    from ..studies.cost import cost
    from ..studies.evaluate import Evaluation, check_group, held_out, is_study, keep
    from ..studies.workers import open_workers

    plugins = loaded_plugins(context, trust)
    found = plugins.find("evaluator", evaluator)
    name, options = result_name(found.entry.name + found.member), read_options(set_)
    check_result_name(name)
    folder, kept = home(folder_at(what[0])), folder_at(output)
    if remove:
        typer.echo(f"report:  {_remove(name, folder)}")
        return
    of_study = len(what) == 1 and (is_study(folder) or (folder.is_dir() and not is_run(Path(str(folder)))))
    if of_study and (stimuli or limit or skip_unreadable or background):
        raise MetameryError(
            f"'{folder}' is a study, which has its own stimuli: --stimuli, --limit, --skip-unreadable and --background "
            "are for models"
        )
    if len(what) > 1 and (studies := [each for each in what if is_study(folder_at(each))]):
        raise MetameryError(f"'{studies[0]}' is a study, which is evaluated alone: give one study, or models")
    function = plugins.load("evaluator", evaluator, **options)
    where = resolve_device(device, elsewhere=is_elsewhere(scheduler))
    if of_study:
        check_input(folder, ("study", "damaged"), "a study, or models to evaluate")
    check_group(folder if of_study else kept, name, of_study)
    if of_study:
        asked = Evaluation(evaluator, options, folder, seed=seed)
    else:
        names = [absolute(each) for each in what]
        use = folder_or_name(plugins, Reference(stimuli)) if stimuli else held_out(names, plugins)
        use = Reference(use.name, {**use.options, **({"limit": limit} if limit else {})})
        source = None if stimuli else Path(names[0]) / RUN_FILE
        with plugins.trust.named_in(source):
            use = reading(plugins, use, skip_unreadable, background)
        asked = Evaluation(evaluator, options, names, use, seed, source)
    with ProgressBar(log, profile) as progress:
        if scheduler and not dry_run:
            with open_workers(scheduler, plugins, where) as workers:
                dataset = workers.call(asked, progress, name)
        else:
            measured = asked.context(plugins, here(where), progress)
            planned = cost(function, measured)
            if dry_run:
                typer.echo(f"'{found.qualified}' would measure {', '.join(what)}")
                typer.echo(_stated(planned))
                return
            if planned is not None and planned.seconds >= WORTH_SAYING:
                typer.echo(_stated(planned), err=True)
            dataset = asked.measure(function, plugins, measured)
    folder = folder if of_study else kept
    keep(folder, name, dataset)
    for line in lines(dataset):
        typer.echo(line)
    for warning in dataset.attrs.get("warnings", ()):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"\nadded as '{name}' to {folder / 'results.zarr'}")
    typer.echo(f"report:  {write_report(folder).resolve()}")


def _stated(planned: Cost | None) -> str:
    if planned is None:
        return "the evaluator does not state how long it takes"
    if not planned.seconds:
        return "no signals pass through the models, so that it takes little time"
    memory = f"at least {size(planned.memory_bytes)} of memory besides PyTorch"
    return f"at most about {duration(planned.seconds)}, {memory}, and the size of its results on disk"


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY…", help="Folders of studies.")],
    output: OfEvaluations = "comparison",
) -> None:
    """Compare the models of several studies side by side, with intervals.

    Their metamers are compared layer by layer, and so are the results of each evaluator that all studies have.
    """
    from ...framework.results import open_study, steady
    from ..studies.compare import compare as compare_studies
    from ..studies.damage import without_lost

    kept = folder_at(output)
    check_output(kept, "evaluations")
    folders = [check_input(folder_at(each), ("study", "damaged"), "a study's folder").resolve() for each in studies]
    if again := next((folder for folder in folders if folders.count(folder) > 1), None):
        raise MetameryError(f"'{again}' is given twice, expected different studies")
    short = [folder.name for folder in folders]
    names = short if len({*short}) == len(short) else studies
    found = steady(
        folders,
        lambda: compare_studies(
            {name: without_lost(folder, open_study(folder)) for name, folder in zip(names, folders, strict=True)}
        ),
    )
    _keep_and_print(found, kept)


def statistics(
    people: Annotated[Path, typer.Argument(help="A CSV table: participants' recognition of each model's stages.")],
    models: Annotated[str, typer.Option(metavar="A,B,…", help="Models to compare with each other.")] = "",
    recognition: Annotated[
        Path | None, typer.Option(help="A CSV table of models on each other's metamers, to predict people from.")
    ] = None,
    stages: Annotated[str, typer.Option(metavar="A,B,…", help="Stages to analyse; by default all.")] = "",
    without: Annotated[str, typer.Option(metavar="A,B,…", help="Stages to leave out.")] = "",
    shuffles: Annotated[int, typer.Option(min=1, max=MAX_SHUFFLES, help="Permutations in each test.")] = 10_000,
    scheme: Annotated[str, typer.Option(help="Permutations: proper, or feather2023, as published.")] = "proper",
    output: OfEvaluations = "statistics",
    seed: Seed = 0,
) -> None:
    """Analyse people's recognition: alone, against each network, between networks, and as other networks predict it."""
    import numpy as np

    from ...framework.errors import unknown
    from ..statistics import overview, read_participants, read_recognition, select_stages
    from ..statistics.permutation import SCHEMES

    if scheme not in SCHEMES:
        raise unknown("scheme", scheme, SCHEMES)
    compared, chosen, left_out = (
        _between_commas(f"--{name}", given)
        for name, given in (("models", models), ("stages", stages), ("without", without))
    )
    kept = folder_at(output)
    check_output(kept, "evaluations")
    found = overview(
        select_stages(read_participants(people), chosen, left_out),
        read_recognition(recognition) if recognition else None,
        compared,
        generator=np.random.default_rng(seed),
        shuffles=shuffles,
        scheme=scheme,
    )
    about = {"people": people.name, "stages": chosen, "without": left_out}
    given = {name: value for name, value in about.items() if value}
    found = {name: dataset.assign_attrs(given) for name, dataset in found.items()}
    _keep_and_print(found, kept)


def _between_commas(option: str, given: str) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    if given and not names:
        raise MetameryError(f"{option} is '{given}', expected names between commas")
    return names


def _keep_and_print(found: Mapping[str, xr.Dataset], output: Folder) -> None:
    """Store datasets in a folder of evaluations, and print them."""
    from ..report import write_report
    from ..report.terminal import lines
    from ..studies.evaluate import keep

    for name, dataset in found.items():
        keep(output, name, dataset)
        typer.echo(f"\n{dataset.attrs['title']}")
        for line in lines(dataset):
            typer.echo(line)
        for warning in dataset.attrs.get("warnings", ()):
            typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"\nresults: {(output / RESULTS).resolve()}")
    typer.echo(f"report:  {write_report(output).resolve()}")


def _remove(evaluator: str, folder: Folder) -> Folder:
    """Remove an evaluator's results from a folder, and write its report again."""
    from ...framework.store import StudyStore
    from ..report import write_report

    check_input(folder, READABLE, "a study's folder, or that of evaluations")
    store = StudyStore.reopen(folder)
    if evaluator not in store.children():
        raise MetameryError(f"'{folder}' holds nothing of '{evaluator}'")
    store.remove(evaluator)
    return write_report(folder).resolve()
