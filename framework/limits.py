"""Memory and disk: what is needed is compared with what is free, before any of it is allocated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import MetameryError

LARGEST_SETTINGS = 16 * 10**6
"""Largest size of a settings file in bytes: that of a study of thousands of models is far smaller."""


def free_memory() -> int | None:
    """Return the free memory in bytes, within the limits of a container; None if the system does not report it."""
    known = [value for value in (_available(), _of_container()) if value is not None]
    return min(known) if known else None


def check_memory(what: str, needed: int) -> None:
    """Raise `MetameryError` if something needs more memory than is free.

    Parameters
    ----------
    what
        Beginning of the message, such as ``"seeds is 1000000000: 3 stimuli at 2 layers"``.
    needed
        Smallest number of bytes that is needed.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise MetameryError(f"{what} would take {size(needed)} of memory, and {size(free)} are free")


def check_disk(what: str, needed: int, folder: Path) -> None:
    """Raise `MetameryError` if something needs more space than is free on the disk of an existing or future folder."""
    existing = next((each for each in (folder.absolute(), *folder.absolute().parents) if os.path.isdir(each)), None)
    if existing is None:
        return
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise MetameryError(f"{what} would take {size(needed)} on the disk of '{existing}', and {size(free)} are free")


def text_of(path: Path, what: str) -> str:
    """Read a settings file.

    Raises
    ------
    MetameryError
        There is no such file, it is not UTF-8, or it is far too large for settings; the message begins with `what`.
    """
    try:
        if (length := path.stat().st_size) > LARGEST_SETTINGS:
            most = size(LARGEST_SETTINGS)
            raise MetameryError(f"{what} '{path}': it has {size(length)}, expected at most {most}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MetameryError(f"{what} '{path}': {error.strerror or error}") from None
    except ValueError as error:  # impossible names of files, and bytes that are not text
        raise MetameryError(f"{what} '{path}': {error}") from None


def size(count: float) -> str:
    """Format a number of bytes in a suitable unit.

    >>> size(12_300_000_000), size(31_400_000), size(4_000)
    ('12.3 GB', '31.4 MB', '4 kB')
    """
    if count < 999_500:
        return f"{count / 1e3:.3g} kB"
    return f"{count / 1e9:,.3g} GB" if count >= 999_500_000 else f"{count / 1e6:.3g} MB"


def _available() -> int | None:
    """Return the free memory, with the caches that the system could release."""
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
    """Return what the limit of a control group, version 2 or 1, leaves; None if there is no limit."""
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(Path(most).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return None
