"""Several processes that train one network: an error in one ends all, the first prints it, and none keeps running.

The first process starts the others, each with the same command. They share a temporary folder: a process that fails
writes the reason there, and when the first has removed the folder, or has ended, the others end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ..framework.errors import MetameryError

LOOK_SECONDS = 0.2
"""Seconds between two checks of the other processes."""

HANG_SECONDS = 10.0
"""Seconds for which the first process may hang in an exchange with one that has failed."""

_SHARED = "METAMERY_TRAINING_PROCESSES"
_FAILURE = "failure.txt"


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Launch the processes of a training, and end them together.

    Raises
    ------
    MetameryError
        In the first process: another has failed.
    """
    if shared := os.environ.pop(_SHARED, ""):
        first, _, folder = shared.partition(":")
        with _following(int(first), Path(folder)):
            fabric.launch()
            yield
            fabric.barrier()
    elif _starts_others(fabric):
        with _leading(fabric) as launch:
            launch()
            yield
            fabric.barrier()
    else:
        fabric.launch()
        yield


def _starts_others(fabric: Fabric) -> bool:
    """Whether this process starts others; otherwise it is alone, or torchrun or srun started and supervises all."""
    launcher = fabric.strategy.launcher
    return isinstance(launcher, _SubprocessScriptLauncher) and (
        launcher.num_processes > 1 and not launcher.cluster_environment.creates_processes_externally
    )


class _Leading:
    """The first process's side."""

    def __init__(self, fabric: Fabric, folder: Path) -> None:
        self.fabric, self.folder = fabric, folder
        self.others: list[subprocess.Popen[bytes]] = []
        self.is_over = threading.Event()

    def __call__(self) -> None:
        """Start the other processes."""
        os.environ[_SHARED] = f"{os.getpid()}:{self.folder}"
        try:
            self.fabric.launch()
        finally:
            os.environ.pop(_SHARED, None)
            started = getattr(self.fabric.strategy.launcher, "procs", [])
            self.others = list(started)
            started.clear()  # otherwise Fabric kills this process when another ends, before it has reported the reason
        threading.Thread(target=self._watch, daemon=True).start()

    def failure(self) -> str:
        """Return why another process has failed; empty where none has."""
        try:
            return (self.folder / _FAILURE).read_text(encoding="utf-8")
        except OSError:
            ended = ((rank, process.poll()) for rank, process in enumerate(self.others, 1))
            return next((f"process {rank} {_ending(code)}" for rank, code in ended if code is not None), "")

    def explanation(self) -> str:
        """Return why another process has failed, after waiting briefly for it to end."""
        for _ in range(10):
            if reason := self.failure():
                return reason
            time.sleep(LOOK_SECONDS)
        return ""

    def _watch(self) -> None:
        """If another process has failed and this one would wait for it forever, print why and end."""
        while not self.is_over.wait(LOOK_SECONDS):
            if (reason := self.failure()) and not self.is_over.wait(HANG_SECONDS):
                print(f"error: {reason}", file=sys.stderr, flush=True)
                shutil.rmtree(self.folder, ignore_errors=True)
                os._exit(2)


def _ending(code: int) -> str:
    if code >= 0:
        return f"of the training ended with status {code}, before the others"
    reason = ", perhaps for lack of memory" if code == -9 else ""
    return f"of the training was ended by signal {-code}{reason}"


@contextmanager
def _leading(fabric: Fabric) -> Iterator[_Leading]:
    try:
        leading = _Leading(fabric, Path(tempfile.mkdtemp(prefix="metamery-training-")))
    except OSError as error:
        raise MetameryError(f"cannot write to '{tempfile.gettempdir()}': {error.strerror}") from None
    try:
        yield leading
    except MetameryError:
        raise
    except Exception:
        if reason := leading.explanation():
            raise MetameryError(reason) from None
        raise
    finally:
        leading.is_over.set()
        shutil.rmtree(leading.folder, ignore_errors=True)
        for process in leading.others:
            try:
                process.wait(HANG_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _following(first: int, folder: Path) -> Iterator[None]:
    finished = threading.Event()
    threading.Thread(target=_leave, args=(first, folder, finished), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        os._exit(0)  # the first process was interrupted, too
    except BaseException as error:
        time.sleep(3 * LOOK_SECONDS)  # where the first process has failed, this one ends here
        if not isinstance(error, MetameryError):
            traceback.print_exc()
        _write_failure(folder, error)
        os._exit(0)  # with another status Fabric kills the first process before it has reported the error
    finished.set()


def _write_failure(folder: Path, error: BaseException) -> None:
    """Write why this process fails, unless another has."""
    reason = str(error) if isinstance(error, MetameryError) else f"{type(error).__name__}: {error}"
    partial = folder / f"{_FAILURE}.{os.getpid()}"
    try:
        partial.write_text(f"process {os.environ.get('LOCAL_RANK', '?')}: {' '.join(reason.split())}", encoding="utf-8")
        if not (folder / _FAILURE).exists():
            partial.replace(folder / _FAILURE)
    except OSError:
        return  # the first process has ended


def _leave(first: int, folder: Path, finished: threading.Event) -> None:
    """End this process when the first has ended, or has finished the training before this one has."""
    while True:
        if os.getppid() != first:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(1)
        if not finished.wait(LOOK_SECONDS) and not folder.exists():
            os._exit(0)
