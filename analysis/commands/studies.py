"""Commands that make, show and export metamers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...framework.command_options import (
    Antialias,
    Background,
    Device,
    DryRun,
    Log,
    ModelOptions,
    Profile,
    Scheduler,
    Seed,
    SkipUnreadable,
    Trust,
    folder_or_name,
    loaded_plugins,
    read_model_options,
    read_options,
    with_antialias,
)
from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE, home, kind
from ...framework.registry import absolute
from ...framework.remote import folder_at, on_disk
from ...framework.study import ModelReference, Reference, Study
from .making import make_study, with_reading

TOGETHER = "synthesis:together"

Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FOLDER", help="The study's folder, or a URL such as s3://BUCKET/FOLDER."),
]
Part = Annotated[
    str,
    typer.Option(
        metavar="I/N", help="Make the I-th of N parts, in a folder that N processes share, also on other machines."
    ),
]


def show(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="A model's name or FILE.py:FUNCTION, or a name of another kind.")
    ],
    what: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help="Kind of the name, as in list, or preset; by default any."),
    ] = "",
    set_: ModelOptions = None,
    antialias: Antialias = "",
    trust: Trust = False,
    full: Annotated[
        bool, typer.Option("--all", help="Print the tree of all modules, not only the model's own layers.")
    ] = False,
) -> None:
    """Show a model's signals and layers, or the options of another name, such as an evaluator's or a recipe's.

    For each layer: shape, number of units, whether it ends in a ReLU, and the memory that synthesis takes.
    """
    from ...framework.contract import examine
    from .descriptions import describe, kinds_of
    from .layer_lines import layer_table, layer_tree

    plugins = loaded_plugins(context, trust)
    kind, *others = ["model"] if antialias else kinds_of(plugins, model, what)
    if kind != "model":
        for line in describe(plugins, model, kind):
            typer.echo(line)
        for other in others:
            typer.echo(f"\nalso a {other}: metamery show {model} --kind {other}")
        return
    model = with_antialias(model, antialias)
    found = plugins.find("model", model)
    loaded = plugins.load("model", model, **read_model_options(set_))
    for note in loaded.notes:
        typer.echo(f"note: {note}")
    layers = examine(loaded, loaded.layers).outline
    weights = sum(weight.numel() for weight in loaded.module.parameters())
    typer.echo(f"{found.qualified}: {loaded.domain}")
    classes = f"{len(loaded.labels)} classes ({loaded.label_space})" if loaded.labels else "classes without names"
    classes = "features, not classes" if loaded.encoder else classes
    count = f"{weights / 1e6:,.2f} M" if weights >= 100_000 else f"{weights:,}"
    typer.echo(f"{count} weights, {classes}")
    if found.entry.licence:
        typer.echo(f"licence: {found.entry.licence}")
    if options := found.options():
        typer.echo(f"options, for --set: {options}")
    for line in layer_tree(loaded, layers) if full else layer_table(loaded, layers):
        typer.echo(line)
    typer.echo("\nReLU: the modified ReLU applies. MB each: what synthesis keeps in memory for each signal of a batch.")


def synthesise(
    context: typer.Context,
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Names of models, or FILE.py:FUNCTION, or runs' folders.")
    ],
    stimuli: Annotated[str, typer.Option(help="A name, or a folder of pictures or sounds, CLASS/FILE or FILE.")],
    output: Output,
    layers: Annotated[
        str,
        typer.Option(help="Names or patterns, such as layer3,*relu, or a number of layers; default: the model's."),
    ] = "",
    together: Annotated[
        bool, typer.Option("--together", help="Match in all of the models at once, not in each by itself.")
    ] = False,
    preset: Annotated[str, typer.Option(help="fast or feather2023.")] = "fast",
    steps: Annotated[int | None, typer.Option(min=1, help="Updates; the schedule keeps its shape.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Metamers of each stimulus, from different noise.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of stimuli.")] = None,
    null_stimuli: Annotated[
        str, typer.Option(help="Signals of the null, a name or a folder; the stimuli themselves by default.")
    ] = "",
    null_signals: Annotated[
        int | None, typer.Option(min=2, help="Number of null signals, drawn at random; 1,415 by default.")
    ] = None,
    batch_size: Annotated[
        str,
        typer.Option(metavar="N", help="Number of stimuli in a batch, or auto: as many as fit in half of the memory."),
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any setting of the preset, such as optimizer_options.beta2=0.8."),
    ] = None,
    set_: ModelOptions = None,
    antialias: Antialias = "",
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    part: Part = "",
    scheduler: Scheduler = "",
    log: Log = None,
    profile: Profile = None,
    seed: Seed = 0,
    trust: Trust = False,
    dry_run: DryRun = False,
) -> None:
    """Make metamers of stimuli at layers of models.

    A sum of layers, such as "layer2 + 0.5 layer4", matches at all of them. With --together, a layer is named with its
    model, as in "resnet50.layer4 + vgg16.features", or by its name in every model. The same command on the same folder
    resumes an interrupted one.
    """
    from ..synthesis.settings import with_options

    options: dict[str, Any] = {}
    if limit is not None:
        options["limit"] = limit
    given = {"steps": steps, "seeds": seeds if seeds > 1 else None, "batch_size": _batch_size(batch_size)}
    named = tuple(name.strip() for name in layers.split(",") if name.strip())
    plugins = loaded_plugins(context, trust)
    study = Study(
        models=_models([with_antialias(absolute(name), antialias) for name in models], named, set_, together),
        stimuli=folder_or_name(plugins, Reference(stimuli, options)),
        null_stimuli=folder_or_name(plugins, Reference(null_stimuli)) if null_stimuli else None,
        synthesis=with_options(
            {
                "preset": preset,
                **{key: value for key, value in given.items() if value is not None},
                **read_options(setting),
            }
        ),
        seed=seed,
        null_signals=null_signals,
    )
    study = with_reading(plugins, study, skip_unreadable, background)
    make_study(
        context, Study.from_toml(study.to_toml()), folder_at(output), device, dry_run, part, scheduler, log, profile
    )


def run(
    context: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the folder that contains it.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FOLDER", help="The study's folder or URL; default: the file's own."),
    ] = "",
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    part: Part = "",
    scheduler: Scheduler = "",
    log: Log = None,
    profile: Profile = None,
    trust: Trust = False,
    dry_run: DryRun = False,
) -> None:
    """Make the metamers that a study file describes.

    A file may name several models. The same command resumes an interrupted one.
    """
    named = home(folder_at(study))
    file = named if kind(named) in ("file", "missing") else named / STUDY_FILE
    asked = with_reading(loaded_plugins(context, trust), Study.read(file), skip_unreadable, background)
    make_study(
        context, asked, folder_at(output) if output else file.parent, device, dry_run, part, scheduler, log, profile
    )


def cluster(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the folder that contains it.")],
    slurm: Annotated[bool, typer.Option("--slurm", help="For SLURM: a script for sbatch.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of jobs, each of which makes a part.")] = 4,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FOLDER", help="The study's folder or URL; default: the file's own."),
    ] = "",
    cores: Annotated[int, typer.Option(min=1, help="Cores of each job.")] = 4,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each job.")] = "16G",
    time: Annotated[str, typer.Option(metavar="TIME", help="Time limit of each job.")] = "04:00:00",
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Print the script of an array job that makes the parts of a study, without a scheduler of Dask.

    A job that nears its time limit is queued again until its part is made.
    """
    from ..studies.batch_script import array_script

    if not slurm:
        raise MetameryError("expected --slurm; jobs of PBS, LSF and SGE are asked for by run --scheduler FILE.toml")
    named = home(folder_at(study))
    file = named if kind(named) in ("file", "missing") else named / STUDY_FILE
    arguments = [*(["--device", device] if device != "auto" else []), *(["--trust"] if trust else [])]
    script = array_script(
        file,
        folder_at(output) if output else file.parent,
        workers,
        cores=cores,
        memory=memory,
        time=time,
        arguments=arguments,
    )
    typer.echo(script, nl=False)


def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Folder of a study, of evaluations or of a run.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="File of the page; by default report.html beside it.")
    ] = "",
) -> None:
    """Write a page that shows a study, evaluations or a run: one HTML file."""
    from ..report import write_report

    typer.echo(f"report: {write_report(study, output or None).resolve()}")


def export(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study's folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", parser=on_disk, help="Folder of the files.")
    ],
    level: Annotated[
        float | None,
        typer.Option(metavar="DBFS", help="RMS of each sound, with peaks limited to full scale; by default as stored."),
    ] = None,
) -> None:
    """Write signals and metamers as PNG or WAV, with a table."""
    from ..studies.export import export as write

    typer.echo(f"{write(study, output, level)} files in {output.resolve()}, listed in metamers.csv")


def _batch_size(text: str) -> int | str | None:
    """Read a number of stimuli or ``auto``, as in a study's file; None if there is none."""
    try:
        return int(text) if text and text != "auto" else text or None
    except ValueError:
        raise MetameryError(f"--batch-size is '{text}', expected a whole number of at least 1, or auto") from None


def _models(
    names: list[str], layers: tuple[str, ...], set_: ModelOptions, together: bool
) -> tuple[ModelReference, ...]:
    """Return the models of a study: each by itself, or all as one."""
    options = read_model_options(set_)
    if len(names) > 1 and options:
        raise MetameryError("--set is for one model; several with options are named in a study file, see metamery run")
    if not together:
        return tuple(ModelReference(name, layers, options) for name in names)
    from ..synthesis.together import in_all, member_names

    members = member_names(names)
    return (ModelReference(TOGETHER, tuple(in_all(layer, members) for layer in layers), {"models": names}),)
