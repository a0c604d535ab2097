"""What the commands that make metamers do with a study: make it, or say what it would take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...framework.command_options import loaded_plugins, reading
from ...framework.errors import MetameryError
from ...framework.limits import size
from ...framework.remote import Folder
from ...framework.study import Study
from .success_lines import success_lines

if TYPE_CHECKING:
    from ...framework.manager import Plugins
    from ...framework.store import StudyStore


def with_reading(plugins: Plugins, study: Study, skip_unreadable: bool, background: str) -> Study:
    """Return a study with a command's options for reading files, which are part of the study and of resuming it."""
    null = study.null_stimuli
    with plugins.trust.named_in(study.source):
        return replace(
            study,
            stimuli=reading(plugins, study.stimuli, skip_unreadable, background),
            null_stimuli=null and reading(plugins, null, skip_unreadable, background, is_asked=False),
        )


def make_study(
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
    """Make the metamers of a study that are missing, write its report, and print how many succeed.

    Raises
    ------
    MetameryError
        Some metamers failed, or `run_study` refuses the study.
    """
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
            f"{planned.metamers} metamers, {planned.updates} updates, about {duration(planned.seconds)}; "
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
