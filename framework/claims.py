"""Claims on folders, so that processes take turns at writing, or report which process holds the folder.

A claim is a folder ``.claim-NAME`` in the claimed folder, with one file whose name states which process holds it. It is
made under a temporary name and renamed in one step, which fails if another claim exists, so it needs no file locks,
which network file systems may lack; on an object store it is an object, see `object_claims`. The holder touches the
file every few seconds. The claim of a process that has died lapses: at once on the same machine, after `LAPSE_SECONDS`
without a touch on another. A lapsed claim is taken over by removing its file by name, which only one process can do.
"""

from __future__ import annotations

import errno
import json
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import MetameryError
from .holders import LAPSE_SECONDS, Holder, stated, statement
from .object_claims import PREFIX, ObjectClaim, live_holders
from .owners import Owner, clear, discard, owned
from .remote import Folder, RemoteError, RemotePath

TOUCH_SECONDS = 5.0
"""Seconds between two touches of a claim by its holder."""

WAIT_SECONDS = 600.0
"""Seconds for which a process waits for its turn."""

_WORK, _TURN, _PREPARATION, _PART = (f"{PREFIX}{what}" for what in ("work", "turn", "preparation", "part-"))
_WARN_SECONDS = 1.0
_UNCLEAR_SECONDS = 10.0  # for a claim that appears neither held nor free, as while others take it


@dataclass(eq=False)
class Claim:
    """A claim held by this process; see `work` and `turn`."""

    folder: Folder
    file: Folder
    lost: threading.Event

    def check(self) -> None:
        """Raise `MetameryError` if the claim has lapsed and another process may have taken it."""
        if self.lost.is_set():
            raise MetameryError(
                f"'{self.folder}' was taken over by another process, since this one was inactive for "
                f"{LAPSE_SECONDS:.0f} s; the same command resumes once that is done"
            )

    def others(self) -> list[Holder]:
        """Return the other processes that hold a claim on the folder."""
        if isinstance(self.folder, RemotePath):
            return [each for each in live_holders(self.folder) if each.owner != Owner.this()]
        now = _touched_now(_path(self.file))
        holders = [_holder(claim) for claim in _claims(self.folder)]
        return [holder for holder in holders if holder and holder.owner != Owner.this() and not holder.has_lapsed(now)]


@contextmanager
def work(folder: Folder) -> Iterator[Claim]:
    """Claim a folder for long work, such as a synthesis or a training; a second process is refused at once.

    Others may still take a `turn` meanwhile. A missing folder is created, and removed again if it stays empty.

    Raises
    ------
    MetameryError
        Another process works on the folder or on a part of it, or it cannot be written to.
    """
    with _claim(folder, _WORK, 0.0) as claim:
        _check_free(folder, _PART)
        yield claim


@contextmanager
def part(folder: Folder, name: str) -> Iterator[Claim]:
    """Claim a part of the long work on a folder; processes with other parts may work at the same time.

    Raises
    ------
    MetameryError
        Another process works on this part or on all of the folder, or it cannot be written to.
    """
    with _claim(folder, f"{_PART}{name}", 0.0) as claim:
        _check_free(folder, _WORK)
        yield claim


@contextmanager
def preparation(folder: Folder) -> Iterator[Claim]:
    """Claim a folder for what the processes with its parts need first; others wait, however long it takes."""
    with _claim(folder, _PREPARATION, math.inf) as claim:
        yield claim


@contextmanager
def turn(folder: Folder, wait: float = WAIT_SECONDS) -> Iterator[Claim]:
    """Claim a folder for a short change of its contents; others wait for their turn.

    Raises
    ------
    MetameryError
        Another process holds the folder for longer than `wait` seconds, or it cannot be written to.
    """
    with _claim(folder, _TURN, wait) as claim:
        yield claim


def worker(folder: Folder) -> Holder | None:
    """Return the process that works on a folder, as far as this can be read from the folder."""
    return _live_holder(folder, _WORK)


def turn_holder(folder: Folder) -> Holder | None:
    """Return the process whose turn it is at a folder, as far as this can be read from the folder."""
    return _live_holder(folder, _TURN)


def _live_holder(folder: Folder, name: str) -> Holder | None:
    if isinstance(folder, RemotePath):
        return next(iter(live_holders(folder, name)), None)
    holder = _holder(folder / name)
    return None if holder is None or holder.has_lapsed(time.time()) else holder


def _claims(folder: Path) -> list[Path]:
    """Return the claims on a folder, also those that have lapsed."""
    return [each for each in folder.glob(f"{PREFIX}*") if Owner.of(each.name) is None]


def _check_free(folder: Folder, prefix: str) -> None:
    """Raise `MetameryError` if another process holds a claim on a folder whose name begins with a prefix."""
    if isinstance(folder, RemotePath):
        held = [each for each in live_holders(folder) if each.file.name.startswith(prefix)]
    else:
        found = [_holder(claim) for claim in _claims(folder) if claim.name.startswith(prefix)]
        held = [each for each in found if each is not None and not each.has_lapsed(time.time())]
    if held:
        raise _held(folder, held[0])


@contextmanager
def ensured(folder: Folder) -> Iterator[None]:
    """Create a folder if it is missing, and remove it again at the end if it stayed empty."""
    made = [] if isinstance(folder, RemotePath) else _make(folder)
    try:
        yield
    finally:
        for each in made:
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _claim(folder: Folder, name: str, wait: float) -> Iterator[Claim]:
    pid, released = os.getpid(), threading.Event()
    with ensured(folder):
        held = ObjectClaim(folder, name) if isinstance(folder, RemotePath) else _FolderClaim(folder, name)
        _take(held, folder, name, wait)
        try:
            claim = Claim(folder, held.file, threading.Event())
            threading.Thread(target=_keep_touching, args=(held, claim.lost, released), daemon=True).start()
            yield claim
        finally:
            released.set()
            if os.getpid() == pid:  # a forked child holds no claim
                held.release()


def _make(folder: Path) -> list[Path]:
    """Create a folder if it is missing; return the folders that were created, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return missing


def _take(claim: _FolderClaim | ObjectClaim, folder: Folder, name: str, wait: float) -> None:
    """Wait until the claim is free, and take it."""
    began, pause, warned, taken = time.monotonic(), 0.02, False, False
    try:
        while not (taken := claim.attempt()):
            waited = time.monotonic() - began
            if claim.holder is None:
                if waited > max(wait, _UNCLEAR_SECONDS):
                    raise MetameryError(f"'{folder}' cannot be claimed: '{name}' in it does not state its holder")
            elif waited > wait:
                raise _held(folder, claim.holder)
            elif waited > _WARN_SECONDS and not warned:
                warnings.warn(f"waiting: '{folder}' is being written to by {claim.holder}", stacklevel=5)
                warned = True
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
    finally:
        if not taken:
            claim.abandon()


class _FolderClaim:
    """An attempt at a claim on a folder of the disk, and the claim when it is held."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._staged = owned(folder, f"{name}.")
        self.file = folder / name / f"{Owner.this().name()}.json"
        self.holder: Holder | None = None

    def attempt(self) -> bool:
        """Take the claim if it is free; otherwise `holder` is the process that holds it, as far as that is known."""
        while True:
            try:
                self._stage()
                if self._moved():
                    return True
                self.holder, now = _holder(self.file.parent), _touched_now(self._staged)
            except FileNotFoundError:  # removed by another process, which had created it for its own claim
                _make(self._folder)
                continue
            except OSError as error:
                raise _cannot_write(self._folder, error) from error
            if self.holder is None or not self.holder.has_lapsed(now):
                return False
            _path(self.holder.file).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove what an attempt that was interrupted may have left."""
        discard(self._staged)
        _remove(self.file)

    def touch(self) -> bool:
        """Touch the claim; return whether it is still held."""
        try:
            os.utime(self.file)
        except FileNotFoundError:
            return False
        return True

    def release(self) -> None:
        """Remove the claim, and those of processes that have died."""
        clear(self._folder, *{each.name.partition("~")[0] for each in self._folder.glob(f"{PREFIX}*~*")})
        for claim in _claims(self._folder):
            holder = _holder(claim)
            if holder is not None and holder.has_lapsed(time.time()):
                _remove(_path(holder.file))
            with suppress(OSError):
                claim.rmdir()
        _remove(self.file)

    def _stage(self) -> None:
        """Make the claim under a temporary name, unless that has been done."""
        with suppress(FileExistsError):
            self._staged.mkdir()
            (self._staged / self.file.name).write_text(json.dumps(statement()), encoding="utf-8")

    def _moved(self) -> bool:
        """Rename the claim to its final name, unless another claim exists."""
        with suppress(OSError):
            self.file.parent.rmdir()  # left empty by a holder that died before it could remove it
        try:
            os.rename(self._staged, self.file.parent)
        except OSError as error:
            if self.file.exists():  # moved, although the answer of a file server was lost
                return True
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True


def _path(file: Folder) -> Path:
    assert isinstance(file, Path)
    return file


def _remove(file: Path) -> None:
    """Remove the file of a claim, and the claim."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()


def _holder(claim: Path) -> Holder | None:
    """Read the holder of a claim; None if there is none, or if the claim is just being taken or released."""
    try:
        file = next(each for each in claim.iterdir() if each.suffix == ".json")
        if (owner := Owner.of(file.name)) is None:
            return None
        with file.open(encoding="utf-8") as opened:  # opened, so that a file server is asked again
            touched = os.fstat(opened.fileno()).st_mtime
            text = opened.read()
    except (OSError, StopIteration):
        return None
    return stated(file, owner, text, touched)


def _touched_now(path: Path) -> float:
    """Touch a path, and return the time by the clock of its file system."""
    os.utime(path)
    return path.stat().st_mtime


def _keep_touching(claim: _FolderClaim | ObjectClaim, lost: threading.Event, released: threading.Event) -> None:
    while not released.wait(TOUCH_SECONDS):
        with suppress(OSError, RemoteError):  # a server that does not answer temporarily
            if not claim.touch():
                lost.set()
                return


def _held(folder: Folder, holder: Holder) -> MetameryError:
    return MetameryError(f"'{folder}' is being written to by {holder}; wait for it to end, or stop it")


def _cannot_write(folder: Path, error: OSError) -> MetameryError:
    return MetameryError(f"cannot write to '{folder}': {error.strerror or error}")
