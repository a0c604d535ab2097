"""Clusters of Dask's workers: processes on this machine, and jobs of SLURM, PBS, LSF, SGE, OAR, HTCondor or Moab.

A file describes the jobs::

    cluster = "slurm"
    workers = 8

    [options]          # of dask_jobqueue.SLURMCluster
    queue = "gpu"
    cores = 4
    memory = "16GB"
    walltime = "04:00:00"
    job_extra_directives = ["--gres=gpu:1"]

Each job is one worker, which computes one unit at a time on all of its cores.
"""

from __future__ import annotations

import inspect
import logging
import re
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...framework.checks import whole, wrong
from ...framework.errors import MetameryError, unknown
from ...framework.limits import text_of

if TYPE_CHECKING:
    from distributed.deploy import Cluster

CLUSTERS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
}
"""Classes of dask_jobqueue by the name of the cluster's scheduler."""

MOST_WORKERS = 10_000

QUEUE = ("squeue", "--me", "--noheader", "--format=%A")
"""Command that lists one's jobs of SLURM that wait or run."""

LOOK_SECONDS = 10.0
"""Seconds between looks at that list."""

LOST_SECONDS = 20.0
"""Seconds after which a job that is not in it is replaced: more than Dask takes to forget a worker that it has lost."""

_OWN = {"processes", "n_workers", "asynchronous", "worker_extra_args", "silence_logs"}


def is_elsewhere(scheduler: str) -> bool:
    """Whether a scheduler's workers may be on other machines, which may have other devices."""
    return bool(scheduler) and not scheduler.startswith("local:")


@contextmanager
def open_cluster(scheduler: str, device: torch.device) -> Iterator[Cluster]:
    """Start the cluster that a text describes, ``local:N`` or a file, and stop it at the end.

    Raises
    ------
    MetameryError
        The text or the file has another form, or no job can be submitted.
    """
    if found := re.fullmatch(r"local:(\d{1,9})", scheduler):
        with _local(whole("local:N", int(found[1]), least=1, most=MOST_WORKERS), device) as cluster:
            yield cluster
    elif scheduler.endswith(".toml"):
        with job_cluster(Path(scheduler), device) as (cluster, count):
            try:
                cluster.scale(jobs=count)
            except (OSError, RuntimeError) as error:
                raise MetameryError(f"'{scheduler}': no job can be submitted: {str(error).splitlines()[0]}") from None
            yield cluster
    else:
        raise MetameryError(f"scheduler is '{scheduler}', expected local:N, tcp://HOST:PORT or FILE.toml")


def _local(count: int, device: torch.device) -> Cluster:
    """Start processes on this machine, which share its cores, and each of which has one of its GPUs."""
    from distributed import Nanny, Scheduler
    from distributed.deploy.spec import SpecCluster

    threads = max(1, torch.get_num_threads() // count)
    environment = {"OMP_NUM_THREADS": str(threads)}
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, "host": "127.0.0.1"}
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                **options,
                "env": environment | ({"CUDA_VISIBLE_DEVICES": str(number % gpus)} if gpus else {}),
            },
        }
        for number in range(count)
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    cluster = SpecCluster(workers={}, scheduler=scheduler, silence_logs=False, name="metamery")
    cluster.worker_spec.update(workers)  # now, since a worker that ends while it starts would be an error above
    cluster.scale(count)
    return cluster


class Replacement:
    """Starts workers of a cluster in place of those that do not come back.

    Dask restarts a process that ends while it works, but neither one that ends while it starts, or takes long to, nor
    a job. A job of SLURM that was cancelled before its worker connected is looked for in the queue.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._looked = time.monotonic()
        self._missing: dict[Any, float] = {}

    def __call__(self) -> int:
        """Start them; return the number of workers that had ended while they started."""
        from distributed.core import Status

        started = dict(self._cluster.workers)
        ended = {name for name, worker in started.items() if worker.status in (Status.closed, Status.failed)}
        ended |= self._cancelled({name: getattr(worker, "job_id", None) for name, worker in started.items()})
        for name in ended:
            self._cluster.workers.pop(name, None)
        if self._cluster.worker_spec.keys() - self._cluster.workers.keys():
            self._cluster.scale(len(self._cluster.worker_spec))
        return len(ended)

    def _cancelled(self, jobs: Mapping[Any, str | None]) -> set[Any]:
        """Names of the jobs that have been out of the queue, and without a connected worker, for long."""
        now = time.monotonic()
        if now < self._looked + LOOK_SECONDS or "SLURM" not in type(self._cluster).__name__:
            return set()
        self._looked = now
        connected = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        queue = _queue() if jobs.keys() - connected else None
        if queue is None:
            return set()
        missing = {name for name, job in jobs.items() if name not in connected and job and job not in queue}
        self._missing = {name: self._missing.get(name, now) for name in missing}
        return {name for name, since in self._missing.items() if now >= since + LOST_SECONDS}


def _queue() -> set[str] | None:
    """Return the jobs of SLURM that wait or run, or None if it does not say."""
    try:
        said = subprocess.run(QUEUE, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.stdout.split())


@contextmanager
def job_cluster(path: Path, device: torch.device) -> Iterator[tuple[Cluster, int]]:
    """Yield the cluster that a file describes, without jobs, and the number of jobs; it is closed at the end.

    Raises
    ------
    MetameryError
        The file has another form, or an option has a wrong value.
    """
    import dask_jobqueue
    from dask.utils import parse_bytes

    kind, count, options = _read(path)
    cores = whole(f"'{path}': cores", options.get("cores"), least=1)
    try:
        parse_bytes(options.get("memory", ""))
    except (ValueError, AttributeError, TypeError):
        raise wrong(f"'{path}': memory", options.get("memory"), "a size such as '16GB'") from None
    options["job_script_prologue"] = [*options.get("job_script_prologue", []), f"export OMP_NUM_THREADS={cores}"]
    options.setdefault("scheduler_options", {"dashboard_address": ":0"})
    gpu = ["--resources", "GPU=1"] if device.type == "cuda" else []
    with ExitStack() as stack:
        try:
            cluster: Cluster = getattr(dask_jobqueue, CLUSTERS[kind])(
                processes=1, worker_extra_args=["--nthreads", "1", *gpu], silence_logs=False, **options
            )
            stack.enter_context(cluster)
            cluster.job_script()  # the options are read here
        except (TypeError, ValueError, OSError, RuntimeError) as error:
            raise MetameryError(f"'{path}': {str(error).splitlines()[0]}") from None
        yield cluster, count


def _read(path: Path) -> tuple[str, int, dict[str, Any]]:
    """Return the kind of a cluster, its number of workers and the options of its jobs."""
    try:
        table = tomllib.loads(text_of(path, "cannot read the cluster"))
    except tomllib.TOMLDecodeError as error:
        raise MetameryError(f"cannot read the cluster '{path}': {error}") from None
    for name in table:
        if name not in ("cluster", "workers", "options"):
            raise unknown(f"key of '{path}'", name, ("cluster", "workers", "options"))
    kind, options = table.get("cluster"), table.get("options", {})
    if not isinstance(kind, str) or kind not in CLUSTERS:
        raise unknown(f"cluster of '{path}'", str(kind), CLUSTERS)
    if not isinstance(options, dict):
        raise MetameryError(f"'{path}': options is {options!r}, expected a table")
    for name in options:
        if name in _OWN or name not in (known := _options(kind)):
            raise unknown(f"option of a {kind} job in '{path}'", name, known)
    return kind, whole(f"'{path}': workers", table.get("workers", 1), least=1, most=MOST_WORKERS), dict(options)


def _options(kind: str) -> list[str]:
    """Return the names of the options of a job."""
    import dask_jobqueue
    from dask_jobqueue.core import Job

    cluster = getattr(dask_jobqueue, CLUSTERS[kind])
    functions = (cluster.job_cls.__init__, Job.__init__)
    names = {name for function in functions for name in inspect.signature(function).parameters}
    return sorted(names - _OWN - {"self", "scheduler", "name", "kwargs", "config_name", "args", "base_class_kwargs"})
