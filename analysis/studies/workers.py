"""Workers of Dask, which make a study's nulls and units: processes here, those of a scheduler, or jobs of a cluster."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import torch

from ...framework.errors import MetameryError, MissingExtraError
from ...framework.manager import Plugins
from ...framework.progress import Progress
from ...framework.store import StudyStore
from .clusters import Replacement, open_cluster
from .on_worker import Order, StoredStudy, call, make_null, make_unit, versions
from .units import Unit

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client, Future

RETRIES = 2
"""Number of times that a task is tried again after an error of the system, such as that of a file server."""

MOST_LOST = 20
"""Number of workers that may be lost with a task before it is given up: those of a cluster end by its time limit."""

PATIENCE_SECONDS = 10.0
"""Seconds for which a scheduler may take to answer."""

_LOOK_SECONDS = 1.0


class Workers:
    """Workers of one Dask scheduler.

    Parameters
    ----------
    client
        Connection to the scheduler.
    plugins
        Plugins of the command; workers load the installed ones of the same names.
    device
        Device to compute on. Where workers declare GPUs (``dask worker --resources GPU=1``), each task takes one.
    """

    def __init__(self, client: Client, plugins: Plugins, device: torch.device) -> None:
        installed = tuple(each.name for each in plugins.loaded if each.distribution not in ("", "metamery"))
        self._client, self._order = client, Order(str(device), installed, versions())
        self._dashboard = client.dashboard_link
        # the workers of a scheduler that runs already are not ours to start
        self._replace_lost: Callable[[], int] = Replacement(client.cluster) if client.cluster else lambda: 0
        declared = any("GPU" in worker["resources"] for worker in self._workers().values())
        self._needs = {"GPU": 1} if device.type == "cuda" and declared else None

    def nulls(
        self, store: StudyStore, keys: Sequence[str], progress: Progress
    ) -> Iterator[tuple[str, xr.Dataset | None]]:
        """Measure the nulls of some models; yield each with the key of its model's group."""
        progress.start(len(keys))
        study = StoredStudy.of(store)
        for (_study, key), null in self._run(make_null, [(study, key) for key in keys], progress, "null"):
            progress.advance()
            yield key, null

    def make(self, store: StudyStore, units: Sequence[Unit], progress: Progress, check: Callable[[], None]) -> None:
        """Make some units; `check` raises an error if the study must no longer be written to."""
        progress.start(sum(unit.metamers for unit in units))
        study = StoredStudy.of(store)
        for _unit, made in self._run(make_unit, [(study, unit) for unit in units], progress, "metamers"):
            check()
            progress.advance(made)

    def call(self, function: Callable[[Plugins, torch.device], Any], progress: Progress, what: str) -> Any:
        """Call a function on one worker, with its plugins and its device."""
        progress.start(1)
        ((_function, result),) = self._run(call, [(function,)], progress, what)
        return result

    def _run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], progress: Progress, what: str
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the arguments of each task with its result, in the order in which they end."""
        from distributed.comm import CommClosedError

        ended: Queue[Future] = Queue()
        never_started = 0
        waiting: dict[Future, tuple[tuple[Any, ...], int]] = {}

        def submit(task: tuple[Any, ...], failures: int = 0) -> None:
            future = self._client.submit(function, self._order, *task, pure=False, resources=self._needs)
            waiting[future] = task, failures
            future.add_done_callback(ended.put)

        try:
            with _naming_lost():
                for task in tasks:
                    submit(task)
                while waiting:
                    progress.describe(self._state(what))
                    try:
                        future = ended.get(timeout=_LOOK_SECONDS)
                    except Empty:
                        never_started += self._replace_lost()
                        if never_started >= MOST_LOST:
                            raise MetameryError(
                                f"{what} were given up: {never_started} workers ended while they started, and none "
                                "computed anything meanwhile; is there too little memory?"
                            ) from None
                        continue
                    task, failures = waiting.pop(future)
                    if future.status == "finished":
                        never_started = 0
                        yield task, future.result()
                    else:
                        submit(task, failures + _failures(future, failures, what))
        except CommClosedError:
            raise _gone() from None
        finally:
            with suppress(Exception):  # a scheduler that is gone
                self._client.cancel(list(waiting), force=True)

    def _workers(self) -> dict[str, Any]:
        try:
            return dict(self._client.scheduler_info(n_workers=-1)["workers"])
        except OSError:
            raise _gone() from None

    def _state(self, what: str) -> str:
        count = len(self._workers())
        workers = f"{count} worker{'s' * (count != 1)}" if count else "waiting for workers"
        return f"{what}, {workers}, {self._dashboard}"


def _failures(future: Future, failures: int, what: str) -> int:
    """Return how often a task failed now, if it can be tried again; `failures` is how often it had failed before.

    Raises
    ------
    MetameryError
        It cannot be tried again; other errors of a task are raised as they are.
    """
    from distributed import KilledWorker

    if future.status != "error":
        raise _gone()
    error = future.exception()
    if isinstance(error, KilledWorker):
        if failures + error.allowed_failures < MOST_LOST:
            return int(error.allowed_failures)
        raise MetameryError(
            f"{what} were given up: {failures + error.allowed_failures} workers were lost while they computed them, "
            f"the last of them '{error.last_worker.address}'; is there too little memory?"
        )
    if isinstance(error, OSError) and failures < RETRIES:
        return 1
    if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("metamery"):
        raise MetameryError("a worker does not have metamery installed: expected the same version everywhere")
    raise error


def _gone() -> MetameryError:
    return MetameryError("the scheduler of Dask was lost; the same command resumes")


@contextmanager
def open_workers(scheduler: str, plugins: Plugins, device: torch.device) -> Iterator[Workers]:
    """Start workers, or connect to them.

    Parameters
    ----------
    scheduler
        ``local:N`` for N processes on this machine; the address of a running scheduler, such as
        ``tcp://10.0.0.1:8786``; or a file that describes a cluster, ``FILE.toml``, see `clusters`.
    plugins, device
        See `Workers`.

    Raises
    ------
    MissingExtraError
        Dask is not installed.
    MetameryError
        The text has another form, or nothing answers at the address.
    """
    for package in ("distributed", "dask_jobqueue"):
        if find_spec(package) is None:
            raise MissingExtraError(f"--scheduler needs the package '{package}': pip install 'metamery[distributed]'")
    from distributed import Client

    with _quiet(), ExitStack() as stack:
        if re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+", scheduler):
            address: Any = scheduler
        else:
            address = stack.enter_context(open_cluster(scheduler, device))
        try:
            client = stack.enter_context(Client(address, timeout=PATIENCE_SECONDS, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise MetameryError(f"no scheduler of Dask answers at '{scheduler}': {reason}") from None
        yield Workers(client, plugins, device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the messages of Dask, and of what it is built on."""
    above = ("distributed", "tornado", "asyncio")
    known = {name for name in logging.root.manager.loggerDict if name.partition(".")[0] in above}  # with own handlers
    loggers = [logging.getLogger(name) for name in {*above, *known}]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


@contextmanager
def _naming_lost() -> Iterator[None]:
    """Warn of workers on this machine that end, with the reason."""
    logger, handler = logging.getLogger("distributed.nanny"), _Lost()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Lost(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if re.search(r"was killed by|exited with", record.getMessage()):
            warnings.warn(f"a worker was lost: {record.getMessage()}; others make its units", stacklevel=1)
