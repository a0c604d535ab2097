"""Memory and disk: what is claimed is held against what is there, before any of it is asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import MetameryError

LARGEST_SETTINGS = 16 * 10**6
"""Bytes of a file of settings: a study of thousands of models has far fewer."""


def free_memory() -> int | None:
    """Bytes of memory that can be had here, within the limits of a container; None where the system does not say."""
    found = [_available(), _of_container()]
    known = [value for value in found if value is not None]
    return min(known) if known else None


def check_memory(what: str, needed: int) -> None:
    """Raise `MetameryError` where something needs more memory than there is.

    Parameters
    ----------
    what
        Begins the message, such as ``"seeds is 1000000000: 3 stimuli at 2 layers"``.
    needed
        Bytes, at the least.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise MetameryError(f"{what} would take {size(needed)} of memory, and {size(free)} are free")


def check_disk(what: str, needed: int, folder: Path) -> None:
    """Raise `MetameryError` where something needs more room than there is on the disk of a folder, made or not yet."""
    place = next((each for each in (folder.absolute(), *folder.absolute().parents) if os.path.isdir(each)), None)
    if place is None:
        return
    free = shutil.disk_usage(place).free
    if needed > free:
        raise MetameryError(f"{what} would take {size(needed)} on the disk of '{place}', and {size(free)} are free")


def text_of(path: Path, what: str) -> str:
    """Read a file of settings.

    Raises
    ------
    MetameryError
        There is no such file, or it is not UTF-8, or far too large for settings; the line begins with `what`.
    """
    try:
        if (bytes_there := path.stat().st_size) > LARGEST_SETTINGS:
            most = size(LARGEST_SETTINGS)
            raise MetameryError(f"{what} '{path}': it has {size(bytes_there)}, expected at most {most}")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError of names that no file can have, and of bytes that are not text
        raise MetameryError(f"{what} '{path}': {error}") from None


def size(count: int) -> str:
    """Print a number of bytes.

    >>> size(12_300_000_000), size(4_000)
    ('12.3 GB', '0.004 MB')
    """
    return f"{count / 1e9:,.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _available() -> int | None:
    """Free memory and what the system would give up of its caches."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    """What a control group leaves, version 2 or 1; None where it sets no limit."""
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(Path(most).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return None
