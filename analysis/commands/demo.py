"""The demonstration: the whole way on bundled signals."""

from __future__ import annotations

from typing import Annotated

import typer

from ...framework.command_options import (
    Background,
    Device,
    DryRun,
    Seed,
    SkipUnreadable,
    folder_or_name,
    loaded_plugins,
    reading,
)
from ...framework.remote import folder_at, on_disk
from ...framework.study import ModelReference, Reference, Study
from .experiments import demonstrate, require_server
from .making import make_study

DEMO_LAYERS = ("_blocks.1", "_blocks.4", "_blocks.8", "_blocks.12", "_blocks.15", "output")
AUDIO_DEMO_LAYERS = ("cochleagram", "relu1", "relu3", "relu5", "output")
DEMO_STEPS = 450
DEMO_STIMULI = 6
DEMO_NULL_SIGNALS = 200
EXPERIMENT_DEMO_LAYERS = ("_blocks.1", "_blocks.8", "output")
EXPERIMENT_DEMO_STEPS = 100
EXPERIMENT_DEMO_STIMULI = 10


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
    make_study(context, study, folder / "study" if experiment else folder, device, dry_run)
    if experiment and not dry_run:
        demonstrate(on_disk(folder) / "study", on_disk(folder) / "experiment", plugins)
