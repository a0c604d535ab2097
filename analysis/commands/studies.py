"""Commands that make, show and export metamers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    reading,
    with_antialias,
)
from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE, home, kind
from ...framework.limits import size
from ...framework.registry import absolute
from ...framework.remote import Folder, folder_at, on_disk
from ...framework.study import ModelReference, Reference, Study
from .experiments import demonstrate, require_server
from .success_lines import success_lines

if TYPE_CHECKING:
    from ...framework.manager import Plugins
    from ...framework.store import StudyStore

DEMO_LAYERS = ("_blocks.1", "_blocks.4", "_blocks.8", "_blocks.12", "_blocks.15", "output")
AUDIO_DEMO_LAYERS = ("cochleagram", "relu1", "relu3", "relu5", "output")
DEMO_STEPS = 450
DEMO_STIMULI = 6
DEMO_NULL_SIGNALS = 200
EXPERIMENT_DEMO_LAYERS = ("_blocks.1", "_blocks.8", "output")
EXPERIMENT_DEMO_STEPS = 100
EXPERIMENT_DEMO_STIMULI = 10

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


def demo(
    context: typer.Context,
    audio: Annotated[bool, typer.Option("--audio", help="Use sounds, spoken digits, instead of photographs.")] = False,
    experiment: Annotated[
        bool, typer.Option("--experiment", help="Make a small experiment of them, and serve it to your browser.")
    ] = False,
    stimuli: Annotated[str, typer.Option(help="Use some of these stimuli instead: a name or a folder.")] = "",
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder; by default demo, or with the options, such as demo-audio."
        ),
    ] = "",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Updates of each metamer; {DEMO_STEPS}, or {EXPERIMENT_DEMO_STEPS} for --experiment"),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    background: Background = "",
    device: Device = "auto",
    seed: Seed = 0,
    dry_run: DryRun = False,
) -> None:
    """Make metamers of six photographs or sounds, and a page that shows or plays them.

    Photographs are matched at six layers of EfficientNet-Lite0, whose weights come with the extra ``demo``. With
    --audio, the bundled words, which are synthesised speech, are matched at five layers of coch-cnn-digits. With
    --experiment there are ten photographs at three layers, or ten words, and you are asked what they show.
    """
    if audio:
        model, bundled = ModelReference("audio:coch-cnn-digits", AUDIO_DEMO_LAYERS), "audio:spoken-digits"
    else:
        layers = EXPERIMENT_DEMO_LAYERS if experiment else DEMO_LAYERS
        model, bundled = ModelReference("vision:efficientnet-lite0", layers), "vision:natural"
    steps = steps or (EXPERIMENT_DEMO_STEPS if experiment else DEMO_STEPS)
    folder = folder_at(output or "-".join(["demo", *["audio"] * audio, *["experiment"] * experiment]))
    plugins = loaded_plugins(context)
    named = reading(plugins, folder_or_name(plugins, Reference(stimuli or bundled)), skip_unreadable, background)
    study = Study(
        models=(model,),
        stimuli=Reference(
            named.name, {**named.options, "limit": EXPERIMENT_DEMO_STIMULI if experiment else DEMO_STIMULI}
        ),
        null_stimuli=named,
        synthesis={"preset": "fast", "steps": steps},
        seed=seed,
        null_signals=DEMO_NULL_SIGNALS if stimuli else None,
    )
    if experiment:
        on_disk(folder)
        require_server()
    _make(context, study, folder / "study" if experiment else folder, device, dry_run)
    if experiment and not dry_run:
        demonstrate(on_disk(folder) / "study", on_disk(folder) / "experiment", plugins)


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
    model: Annotated[str, typer.Argument(help="A model's name, or FILE.py:FUNCTION.")],
    stimuli: Annotated[str, typer.Option(help="A name, or a folder of pictures or sounds, CLASS/FILE or FILE.")],
    output: Output,
    layers: Annotated[
        str,
        typer.Option(help="Names or patterns, such as layer3,*relu, or a number of layers; default: the model's."),
    ] = "",
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
    """Make metamers of stimuli at layers of a model.

    The same command on the same folder resumes an interrupted one.
    """
    from ..synthesis.settings import with_options

    options: dict[str, Any] = {}
    if limit is not None:
        options["limit"] = limit
    given = {"steps": steps, "seeds": seeds if seeds > 1 else None, "batch_size": _batch_size(batch_size)}
    named = tuple(name.strip() for name in layers.split(",") if name.strip())
    plugins = loaded_plugins(context, trust)
    study = Study(
        models=(ModelReference(with_antialias(absolute(model), antialias), named, read_model_options(set_)),),
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
    study = _with_reading(plugins, study, skip_unreadable, background)
    _make(context, Study.from_toml(study.to_toml()), folder_at(output), device, dry_run, part, scheduler, log, profile)


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
    asked = _with_reading(loaded_plugins(context, trust), Study.read(file), skip_unreadable, background)
    _make(context, asked, folder_at(output) if output else file.parent, device, dry_run, part, scheduler, log, profile)


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


def _with_reading(plugins: Plugins, study: Study, skip_unreadable: bool, background: str) -> Study:
    """Return a study with a command's options for reading files, which are part of the study and of resuming it."""
    null = study.null_stimuli
    with plugins.trust.named_in(study.source):
        return replace(
            study,
            stimuli=reading(plugins, study.stimuli, skip_unreadable, background),
            null_stimuli=null and reading(plugins, null, skip_unreadable, background, is_asked=False),
        )


def _make(
    context: typer.Context,
    study: Study,
    folder: Folder,
    device: str,
    dry_run: bool,
    part: str = "",
    scheduler: str = "",
    log: Path | None = None,
    profile: Path | None = None,
) -> None:
    from ...framework.devices import here, resolve_device
    from ...framework.progress import ProgressBar, duration
    from ..report import write_report
    from ..studies.batch_size import with_batch_size
    from ..studies.clusters import is_elsewhere
    from ..studies.estimate import estimate
    from ..studies.run_study import run_study
    from ..studies.units import Share

    if part and scheduler:
        raise MetameryError("--part is for processes without a scheduler: give --part or --scheduler, not both")
    if part:
        Share.parse(part)
    plugins = loaded_plugins(context)
    where = resolve_device(device, elsewhere=is_elsewhere(scheduler))
    if dry_run:
        with plugins.trust.named_in(study.source):
            study = with_batch_size(study, plugins, here(where))
        planned = estimate(study, plugins, here(where))
        typer.echo(study.qualified(plugins).to_toml())
        typer.echo(
            f"{planned.metamers} metamers, {planned.updates} updates, about {duration(planned.seconds)} of updates; "
            f"{size(planned.memory_bytes)} of memory besides PyTorch and the networks, "
            f"at most {size(planned.disk_bytes)} on disk, and {size(planned.scratch_bytes)} temporarily"
        )
        return
    with ProgressBar(log, profile) as progress:
        store = run_study(study, folder, plugins, where, progress, part, scheduler)
    missing, failed, total = _count(store)
    if missing:
        typer.echo(f"results: {store.path.resolve()}")
        typer.echo(f"{total - missing} of {total} metamers are made; the other parts make the rest")
        return
    for line in success_lines(folder):
        typer.echo(line)
    typer.echo(f"results: {store.path.resolve()}")
    typer.echo(f"report:  {write_report(folder).resolve()}")
    if failed:
        raise MetameryError(f"{failed} of {total} metamers failed; the report says why")


def _count(store: StudyStore) -> tuple[int, int, int]:
    """Return how many metamers are missing, have failed, and are asked for."""
    from ...framework.schema import STATES

    states = [store.read(f"models/{key}/metamers", "state") for key in store.children("models")]
    missing, failed = (sum(int((s == STATES[name]).sum()) for s in states) for name in ("missing", "failed"))
    return missing, failed, sum(s.size for s in states)
