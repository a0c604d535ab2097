"""Claims: who writes to a folder, so that processes take turns, or are told who holds it.

A claim is a folder ``.claim-NAME`` in the folder that is claimed, with one file whose name says which process holds it.
It is made beside its place and moved there in one step, which fails where another's is: so it needs none of the locks
that network file systems lack. Its holder touches the file every few seconds. The claim of a process that has died
lapses: at once on the same machine, after `LAPSE_SECONDS` without a touch on another. It is then taken by removing that
one file by its name, which only one process can.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import MetameryError
from .owners import Owner, clear, discard, owned

TOUCH_SECONDS = 5.0
"""How often a holder touches its claim."""

LAPSE_SECONDS = 120.0
"""After how long without a touch the claim of a process on another machine lapses."""

WAIT_SECONDS = 600.0
"""How long a process waits for its turn."""

PREFIX = ".claim-"
_WORK, _TURN = f"{PREFIX}work", f"{PREFIX}turn"
_SAID_AFTER = 1.0
_UNCLEAR_SECONDS = 10.0  # a claim that is seen neither held nor free, as while others take it


@dataclass(frozen=True)
class Holder:
    """Who holds a claim."""

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
    """A claim that is held; see `work` and `turn`."""

    folder: Path
    file: Path
    lost: threading.Event

    def check(self) -> None:
        """Raise `MetameryError` where the claim has lapsed and another process may have taken it."""
        if self.lost.is_set():
            raise MetameryError(
                f"'{self.folder}' was taken over by another process, since this one did not move for "
                f"{LAPSE_SECONDS:.0f} s; the same command goes on once that is done"
            )

    def others(self) -> list[Holder]:
        """Who else holds a claim on the folder."""
        now = _touched_now(self.file)
        found = [_holder(place) for place in (self.folder / _WORK, self.folder / _TURN)]
        return [holder for holder in found if holder and holder.owner != Owner.this() and not holder.has_lapsed(now)]


@contextmanager
def work(folder: Path) -> Iterator[Claim]:
    """Claim a folder for long work, such as a synthesis or a training; a second process is refused at once.

    Others may still take a `turn` meanwhile. A folder that is missing is made, and removed again where it stays empty.

    Raises
    ------
    MetameryError
        Another process works on it, or it cannot be written to.
    """
    with _claim(folder, _WORK, 0.0) as claim:
        yield claim


@contextmanager
def turn(folder: Path, wait: float = WAIT_SECONDS) -> Iterator[Claim]:
    """Claim a folder for a short change of what it holds; others wait for their turn.

    Raises
    ------
    MetameryError
        Another process holds it for longer than `wait` seconds, or it cannot be written to.
    """
    with _claim(folder, _TURN, wait) as claim:
        yield claim


def worker(folder: Path) -> Holder | None:
    """Who works on a folder, as far as can be told by reading it."""
    holder = _holder(folder / _WORK)
    return None if holder is None or holder.has_lapsed(time.time()) else holder


def turn_holder(folder: Path) -> Holder | None:
    """Who has the turn at a folder, as far as can be told by reading it."""
    holder = _holder(folder / _TURN)
    return None if holder is None or holder.has_lapsed(time.time()) else holder


@contextmanager
def ensured(folder: Path) -> Iterator[None]:
    """Make a folder where it is missing, and in the end remove it again where it stayed empty."""
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
            if os.getpid() == pid:  # a forked child holds nothing
                _tidy(folder)
                _release(file)


def _make(folder: Path) -> list[Path]:
    """Make a folder where it is missing; return those that were made, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return missing


def _take(folder: Path, name: str, wait: float) -> Path:
    """Wait until the claim is free, and take it; return its file."""
    began, pause, said = time.monotonic(), 0.02, False
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
            except FileNotFoundError:  # the folder went with another's claim that had made it
                _make(folder)
                continue
            except OSError as error:
                raise _cannot_write(folder, error) from error
            waited = time.monotonic() - began
            if holder is None:
                if waited > max(wait, _UNCLEAR_SECONDS):
                    raise MetameryError(f"'{folder}' cannot be claimed: '{name}' in it does not say who holds it")
            elif holder.has_lapsed(now):
                holder.file.unlink(missing_ok=True)
                continue
            elif waited > wait:
                raise MetameryError(f"'{folder}' is being written to by {holder}; wait for it to end, or stop it")
            elif waited > _SAID_AFTER and not said:
                warnings.warn(f"waiting: '{folder}' is being written to by {holder}", stacklevel=5)
                said = True
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
    finally:
        if not taken:
            discard(staged)
            _release(file)
    return file


def _stage(staged: Path, name: str) -> None:
    """Make a claim beside its place, unless that is done."""
    with suppress(FileExistsError):
        staged.mkdir()
        said = json.dumps({"command": _command(), "since": time.time()})
        (staged / name).write_text(said, encoding="utf-8")


def _moved(staged: Path, file: Path) -> bool:
    """Move a claim to its place, unless another's is there."""
    with suppress(OSError):
        file.parent.rmdir()  # one whose holder died just before it removed it
    try:
        os.rename(staged, file.parent)
    except OSError as error:
        if file.exists():  # moved, though the answer of a file server was lost
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
    """Remove the claims of the dead."""
    clear(folder, f"{_WORK}.", f"{_TURN}.")
    for place in (folder / _WORK, folder / _TURN):
        holder = _holder(place)
        if holder is not None and holder.has_lapsed(time.time()):
            _release(holder.file)
        with suppress(OSError):
            place.rmdir()


def _holder(place: Path) -> Holder | None:
    """Read who holds a claim; None where nobody does, or it is just being taken or released."""
    try:
        file = next(each for each in place.iterdir() if each.suffix == ".json")
        if (owner := Owner.of(file.name)) is None:
            return None
        with file.open(encoding="utf-8") as opened:  # opened, so that a file server is asked anew
            touched = os.fstat(opened.fileno()).st_mtime
            text = opened.read()
    except (OSError, StopIteration):
        return None
    try:
        said = json.loads(text)
        return Holder(file, owner, str(said["command"]), float(said["since"]), touched)
    except (ValueError, KeyError, TypeError):  # cut off, when a disk was full or a machine lost power
        return Holder(file, owner, "", touched, touched)


def _touched_now(path: Path) -> float:
    """The time by the clock of the file system."""
    os.utime(path)
    return path.stat().st_mtime


def _keep_touching(claim: Claim, released: threading.Event) -> None:
    while not released.wait(TOUCH_SECONDS):
        try:
            os.utime(claim.file)
        except FileNotFoundError:
            claim.lost.set()
            return
        except OSError:  # a file server that does not answer for a while
            continue


def _command() -> str:
    """The program and its command, as a person calls it."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    if program == "metamery":
        return " ".join(["metamery", *[word for word in sys.argv[1:2] if not word.startswith("-")]])
    return program


def _cannot_write(folder: Path, error: OSError) -> MetameryError:
    return MetameryError(f"cannot write to '{folder}': {error.strerror or error}")
