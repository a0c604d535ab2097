"""Owners of files and folders: processes, recorded in the names, so that only leftovers of dead ones are removed.

A name such as ``.results.zarr.~HOST~BOOT~PID~START~RANDOM`` states on which machine and by which process it was made.
Whether that process still runs is known on the same machine; START distinguishes it from a later one with its number.
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
"""Seconds for which unchanged files of a process on another machine are kept."""

_OWNED = re.compile(r"~(?P<host>[A-Za-z0-9.-]+)~(?P<boot>[0-9a-f]+)~(?P<pid>\d+)~(?P<start>[0-9a-z]*)~[0-9a-f]+")


@dataclass(frozen=True)
class Owner:
    """A process.

    Parameters
    ----------
    host
        Name of its machine.
    boot
        Identifier of the machine, since it was started, and of the process's container.
    pid
        Number of the process.
    start
        Time at which it started, in a form that depends on the system.
    """

    host: str
    boot: str
    pid: int
    start: str

    @classmethod
    def this(cls) -> Owner:
        """Return the running process."""
        return _this(os.getpid())

    @classmethod
    def of(cls, name: str) -> Owner | None:
        """Return the owner that a name ends with, or None."""
        found = _OWNED.search(name)
        return None if found is None else cls(found["host"], found["boot"], int(found["pid"]), found["start"])

    def name(self) -> str:
        """Return a new name that ends with this owner."""
        return f"~{self.host}~{self.boot}~{self.pid}~{self.start}~{secrets.token_hex(4)}"

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if that cannot be determined from this process."""
        here = Owner.this()
        if (self.host, self.boot) != (here.host, here.boot) or not here.start:
            return None
        return _start(self.pid) == self.start


def owned(folder: Path, prefix: str) -> Path:
    """Return a new path in a folder, whose name ends with the running process."""
    return folder / f"{prefix}{Owner.this().name()}"


@contextmanager
def scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """Create a folder that the running process owns, and remove it at the end."""
    path = owned(folder, prefix)
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        discard(path)


def abandoned(folder: Path, prefix: str) -> list[Path]:
    """Return the paths with a prefix that dead processes left in a folder, and those that name no process."""
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.name.startswith(prefix) and _is_abandoned(path)]
    return []


def clear(folder: Path, *prefixes: str) -> None:
    """Remove what dead processes left in a folder, as far as possible."""
    for prefix in prefixes:
        for path in abandoned(folder, prefix):
            discard(path)


def discard(path: Path) -> None:
    """Remove a file or a folder, as far as possible."""
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
    """Return when a process started; None if it does not run."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # dead, and not yet reaped by its parent
    try:
        result = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return re.sub(r"[^0-9a-z]+", "", result.stdout.lower()) or None
