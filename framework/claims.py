"""Claims on folders, so that processes take turns at writing, or report which process holds the folder.

A claim is a folder ``.claim-NAME`` in the claimed folder, with one file whose name states which process holds it. It is
made under a temporary name and renamed in one step, which fails if another claim exists, so it needs no file locks,
which network file systems may lack. The holder touches the file every few seconds. The claim of a process that has died
lapses: at once on the same machine, after `LAPSE_SECONDS` without a touch on another. A lapsed claim is taken over by
removing its file by name, which only one process can do.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import MetameryError
from .owners import Owner, clear, discard, owned

TOUCH_SECONDS = 5.0
"""Seconds between two touches of a claim by its holder."""

LAPSE_SECONDS = 120.0
"""Seconds without a touch after which the claim of a process on another machine lapses."""

WAIT_SECONDS = 600.0
"""Seconds for which a process waits for its turn."""

PREFIX = ".claim-"
_WORK, _TURN, _PREPARATION, _PART = (f"{PREFIX}{what}" for what in ("work", "turn", "preparation", "part-"))
_WARN_SECONDS = 1.0
_UNCLEAR_SECONDS = 10.0  # for a claim that appears neither held nor free, as while others take it


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim."""

    file: Path
    owner: Owner
    command: str
    since: float
    touched: float

    def has_lapsed(self, now: float) -> bool:
        alive = self.owner.is_alive()
        return now - self.touched > LAPSE_SECONDS if alive is None else not alive

    def __str__(self) -> str:
        then, today = time.localtime(self.since), time.localtime()
        form = "%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M"
        return (
            f"`{self.command}` (process {self.owner.pid} on {self.owner.host}, since {time.strftime(form, then)})"
            if self.command
            else f"process {self.owner.pid} on {self.owner.host}"
        )


@dataclass(eq=False)
class Claim:
    """A claim held by this process; see `work` and `turn`."""

    folder: Path
    file: Path
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
        now = _touched_now(self.file)
        holders = [_holder(claim) for claim in _claims(self.folder)]
        return [holder for holder in holders if holder and holder.owner != Owner.this() and not holder.has_lapsed(now)]


@contextmanager
def work(folder: Path) -> Iterator[Claim]:
    """Claim a folder for long work, such as a synthesis or a training; a second process is refused at once.

    Others may still take a `turn` meanwhile. A missing folder is created, and removed again if it stays empty.

    Raises
    ------
    MetameryError
        Another process works on the folder or on a part of it, or it cannot be written to.
    """
    with _claim(folder, _WORK, 0.0) as claim:
        _check_free(folder, [each for each in _claims(folder) if each.name.startswith(_PART)])
        yield claim


@contextmanager
def part(folder: Path, name: str) -> Iterator[Claim]:
    """Claim a part of the long work on a folder; processes with other parts may work at the same time.

    Raises
    ------
    MetameryError
        Another process works on this part or on all of the folder, or it cannot be written to.
    """
    with _claim(folder, f"{_PART}{name}", 0.0) as claim:
        _check_free(folder, [folder / _WORK])
        yield claim


@contextmanager
def preparation(folder: Path) -> Iterator[Claim]:
    """Claim a folder for what the processes with its parts need first; others wait, however long it takes."""
    with _claim(folder, _PREPARATION, math.inf) as claim:
        yield claim


@contextmanager
def turn(folder: Path, wait: float = WAIT_SECONDS) -> Iterator[Claim]:
    """Claim a folder for a short change of its contents; others wait for their turn.

    Raises
    ------
    MetameryError
        Another process holds the folder for longer than `wait` seconds, or it cannot be written to.
    """
    with _claim(folder, _TURN, wait) as claim:
        yield claim


def worker(folder: Path) -> Holder | None:
    """Return the process that works on a folder, as far as this can be read from the folder."""
    holder = _holder(folder / _WORK)
    return None if holder is None or holder.has_lapsed(time.time()) else holder


def turn_holder(folder: Path) -> Holder | None:
    """Return the process whose turn it is at a folder, as far as this can be read from the folder."""
    holder = _holder(folder / _TURN)
    return None if holder is None or holder.has_lapsed(time.time()) else holder


def _claims(folder: Path) -> list[Path]:
    """Return the claims on a folder, also those that have lapsed."""
    return [each for each in folder.glob(f"{PREFIX}*") if Owner.of(each.name) is None]


def _check_free(folder: Path, claims: Iterable[Path]) -> None:
    """Raise `MetameryError` if another process holds one of some claims on a folder."""
    for claim in claims:
        holder = _holder(claim)
        if holder is not None and not holder.has_lapsed(time.time()):
            raise _held(folder, holder)


@contextmanager
def ensured(folder: Path) -> Iterator[None]:
    """Create a folder if it is missing, and remove it again at the end if it stayed empty."""
    made = _make(folder)
    try:
        yield
    finally:
        for each in made:
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _claim(folder: Path, name: str, wait: float) -> Iterator[Claim]:
    pid, released = os.getpid(), threading.Event()
    with ensured(folder):
        file = _take(folder, name, wait)
        try:
            claim = Claim(folder, file, threading.Event())
            threading.Thread(target=_keep_touching, args=(claim, released), daemon=True).start()
            yield claim
        finally:
            released.set()
            if os.getpid() == pid:  # a forked child holds no claim
                _tidy(folder)
                _release(file)


def _make(folder: Path) -> list[Path]:
    """Create a folder if it is missing; return the folders that were created, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return missing


def _take(folder: Path, name: str, wait: float) -> Path:
    """Wait until the claim is free, and take it; return its file."""
    began, pause, warned = time.monotonic(), 0.02, False
    file = folder / name / f"{Owner.this().name()}.json"
    staged = owned(folder, f"{name}.")
    taken = False
    try:
        while not taken:
            try:
                _stage(staged, file.name)
                if taken := _moved(staged, file):
                    break
                holder, now = _holder(folder / name), _touched_now(staged)
            except FileNotFoundError:  # removed by another process, which had created it for its own claim
                _make(folder)
                continue
            except OSError as error:
                raise _cannot_write(folder, error) from error
            waited = time.monotonic() - began
            if holder is None:
                if waited > max(wait, _UNCLEAR_SECONDS):
                    raise MetameryError(f"'{folder}' cannot be claimed: '{name}' in it does not state its holder")
            elif holder.has_lapsed(now):
                holder.file.unlink(missing_ok=True)
                continue
            elif waited > wait:
                raise _held(folder, holder)
            elif waited > _WARN_SECONDS and not warned:
                warnings.warn(f"waiting: '{folder}' is being written to by {holder}", stacklevel=5)
                warned = True
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
    finally:
        if not taken:
            discard(staged)
            _release(file)
    return file


def _stage(staged: Path, name: str) -> None:
    """Make a claim under a temporary name, unless that has been done."""
    with suppress(FileExistsError):
        staged.mkdir()
        content = json.dumps({"command": _command(), "since": time.time()})
        (staged / name).write_text(content, encoding="utf-8")


def _moved(staged: Path, file: Path) -> bool:
    """Rename a claim to its final name, unless another claim exists."""
    with suppress(OSError):
        file.parent.rmdir()  # left empty by a holder that died before it could remove it
    try:
        os.rename(staged, file.parent)
    except OSError as error:
        if file.exists():  # moved, although the answer of a file server was lost
            return True
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _release(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()


def _tidy(folder: Path) -> None:
    """Remove the claims of processes that have died."""
    clear(folder, *{each.name.partition("~")[0] for each in folder.glob(f"{PREFIX}*~*")})
    for claim in _claims(folder):
        holder = _holder(claim)
        if holder is not None and holder.has_lapsed(time.time()):
            _release(holder.file)
        with suppress(OSError):
            claim.rmdir()


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
    try:
        content = json.loads(text)
        return Holder(file, owner, str(content["command"]), float(content["since"]), touched)
    except (ValueError, KeyError, TypeError):  # truncated, because a disk was full or a machine lost power
        return Holder(file, owner, "", touched, touched)


def _touched_now(path: Path) -> float:
    """Touch a path, and return the time by the clock of its file system."""
    os.utime(path)
    return path.stat().st_mtime


def _keep_touching(claim: Claim, released: threading.Event) -> None:
    while not released.wait(TOUCH_SECONDS):
        try:
            os.utime(claim.file)
        except FileNotFoundError:
            claim.lost.set()
            return
        except OSError:  # a file server that does not answer temporarily
            continue


def _command() -> str:
    """Return the program and its command, as a user types them."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    if program == "metamery":
        return " ".join(["metamery", *[word for word in sys.argv[1:2] if not word.startswith("-")]])
    return program


def _held(folder: Path, holder: Holder) -> MetameryError:
    return MetameryError(f"'{folder}' is being written to by {holder}; wait for it to end, or stop it")


def _cannot_write(folder: Path, error: OSError) -> MetameryError:
    return MetameryError(f"cannot write to '{folder}': {error.strerror or error}")
