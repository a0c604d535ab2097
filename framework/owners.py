"""Which process a file or folder belongs to, written in its name, so that only what a dead one left is cleared away.

A name such as ``.results.zarr.~HOST~BOOT~PID~START~RANDOM`` says on which machine and in which process it was made.
Of a process of the same machine it is known whether it still runs; START tells it from a later one with its number.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

KEPT_SECONDS = 24 * 3600.0
"""How long what a process of another machine left unchanged is kept."""

_OWNED = re.compile(r"~(?P<host>[A-Za-z0-9.-]+)~(?P<boot>[0-9a-f]+)~(?P<pid>\d+)~(?P<start>[0-9a-z]*)~[0-9a-f]+")


@dataclass(frozen=True)
class Owner:
    """A process.

    Parameters
    ----------
    host
        Name of its machine.
    boot
        Tells the machine, since it was started, and the process's container from others.
    pid
        Number of the process.
    start
        When it started, in a form of the system's own.
    """

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def this(cls) -> Owner:
        """The running process."""
        return _this(os.getpid())

    @classmethod
    def of(cls, name: str) -> Owner | None:
        """The owner that a name ends with, or None."""
        found = _OWNED.search(name)
        return None if found is None else cls(found["host"], found["boot"], int(found["pid"]), found["start"])

    def name(self) -> str:
        """A new name that ends with this owner."""
        return f"~{self.host}~{self.boot}~{self.pid}~{self.start}~{secrets.token_hex(4)}"

    def is_alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be known from here."""
        here = Owner.this()
        if (self.host, self.boot) != (here.host, here.boot) or not here.start:
            return None
        return _start(self.pid) == self.start


def owned(folder: Path, prefix: str) -> Path:
    """A new path in a folder that names the running process."""
    return folder / f"{prefix}{Owner.this().name()}"


@contextmanager
def scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """A folder of the running process's own, that is removed in the end."""
    place = owned(folder, prefix)
    try:
        place.mkdir(mode=0o700)
        yield place
    finally:
        discard(place)


def abandoned(folder: Path, prefix: str) -> list[Path]:
    """What processes that have died left in a folder under a prefix; also what names no process."""
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.name.startswith(prefix) and _is_abandoned(path)]
    return []


def clear(folder: Path, *prefixes: str) -> None:
    """Remove what processes that have died left in a folder, as far as that can be done."""
    for prefix in prefixes:
        for path in abandoned(folder, prefix):
            discard(path)


def discard(path: Path) -> None:
    """Remove a file or a folder, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        for _ in range(3):  # threads of an interrupted write may still add to it
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
            time.sleep(0.05)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    owner = Owner.of(path.name)
    alive = False if owner is None else owner.is_alive()
    if alive is None:
        with suppress(OSError):
            inside = path.rglob("*") if path.is_dir() else ()
            changed: float = max(each.stat().st_mtime for each in (path, *inside))
            return time.time() - changed > KEPT_SECONDS
        return False
    return not alive


@cache
def _this(pid: int) -> Owner:
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname())[:60] or "localhost"
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return Owner(host, sha256("".join(parts).encode()).hexdigest()[:8], pid, _start(pid) or "")


def _start(pid: int) -> str | None:
    """When a process started; None where it does not run."""
    if Path("/proc/self/stat").exists():
        try:
            said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if said[0] in "ZX" else said[19]  # dead, and not yet fetched by its parent
    try:
        asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return re.sub(r"[^0-9a-z]+", "", asked.stdout.lower()) or None
