"""The script of an array job of SLURM whose jobs make the parts of a study."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from ...framework.checks import whole, wrong
from ...framework.errors import MetameryError
from ...framework.remote import Folder, RemotePath
from ...framework.study import Study
from .units import MOST_SHARES

STOP_SECONDS = 120
"""Seconds before its time limit at which a job stops and is queued again."""

_TIME = re.compile(r"(\d{1,4}-\d{1,2}(:\d{1,2}){0,2}|\d{1,7}(:\d{1,2}){0,2})")


def array_script(
    file: Folder, folder: Folder, workers: int, *, cores: int, memory: str, time: str, arguments: list[str]
) -> str:
    """Return a script for ``sbatch``.

    A job that nears its time limit stops, and is queued again until its part is made; the unit that it was at is lost.

    Parameters
    ----------
    file, folder
        The study's file, and the folder of its results, which all machines share.
    workers
        Number of jobs.
    cores, memory, time
        What each job asks for; memory such as ``16G`` and time such as ``04:00:00``, as ``sbatch`` takes them.
    arguments
        Further arguments of ``metamery run``.

    Raises
    ------
    MetameryError
        The file is not that of a study, or a value is invalid.
    """
    Study.read(file)
    whole("workers", workers, least=1, most=MOST_SHARES)
    whole("cores", cores, least=1)
    if not re.fullmatch(r"\d{1,9}[KMGT]?", memory):
        raise wrong("memory", memory, "a size as sbatch takes it, such as '16G'")
    if not _TIME.fullmatch(time):
        raise wrong("time", time, "a time as sbatch takes it, such as '04:00:00'")
    if "%" in str(folder.resolve()):
        raise MetameryError(f"'{folder}' has a %, which sbatch would replace: expected another folder")
    program = Path(sys.executable).with_name("metamery")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "metamery.framework"]
    given = [*command, "run", str(file.resolve()), "--output", str(folder.resolve()), *arguments]
    beside = Path.cwd() if isinstance(folder, RemotePath) else folder.resolve().parent
    log = beside / f"{folder.resolve().name}-%A-%a.log"
    return f"""\
#!/bin/bash
#SBATCH --job-name={shlex.quote(f"metamery-{folder.resolve().name}")}
#SBATCH --array=1-{workers}
#SBATCH --cpus-per-task={cores}
#SBATCH --mem={memory}
#SBATCH --time={time}
#SBATCH --requeue
#SBATCH --signal=B:USR1@{STOP_SECONDS}
#SBATCH --open-mode=append
#SBATCH --output={shlex.quote(str(log))}

export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"

again() {{  # near the time limit: stop, and queue this part again
    kill -TERM "$process" && wait "$process"
    scontrol requeue "$SLURM_JOB_ID"
    exit
}}
trap again USR1

{shlex.join(given)} --part "$SLURM_ARRAY_TASK_ID/{workers}" &
process=$!
wait "$process"
"""
