"""Memory and disk: what is needed is compared with what is free, before any of it is allocated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from .errors import MetameryError
from .remote import Folder

LARGEST_SETTINGS = 16 * 10**6
"""Largest size of a settings file in bytes: that of a study of thousands of models is far smaller."""


def free_memory(root: Path = Path("/")) -> int | None:
    """Return the free memory in bytes, within the limits of a container; None if the system does not report it.

    Parameters
    ----------
    root
        Root of the file system, in which ``proc`` and ``sys`` are.
    """
    available = _available(root)
    return min([*([] if available is None else [available]), *_of_container(root)], default=None)


SMALL = 2**20
"""Number of bytes that are given without asking how many are free, which takes the reading of several files."""


def check_memory(what: str, needed: int) -> None:
    """Raise `MetameryError` if something needs more memory than is free.

    Parameters
    ----------
    what
        Beginning of the message, such as ``"seeds is 1000000000: 3 stimuli at 2 layers"``.
    needed
        Smallest number of bytes that is needed.
    """
    if needed <= SMALL:
        return
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


def text_of(path: Folder, what: str) -> str:
    """Read a settings file.

    Raises
    ------
    MetameryError
        There is no such file, it is not UTF-8, or it is far too large for settings; the message begins with `what`.
    """
    try:
        if isinstance(path, Path) and (length := path.stat().st_size) > LARGEST_SETTINGS:
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


def _available(root: Path) -> int | None:
    """Return the free memory, with the caches that the system could release."""
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container(root: Path) -> Iterator[int]:
    """Yield what is left within the limit of each control group, version 2 or 1, that the process is in.

    A limit counts for all groups inside, so those of the process's own group and of its parents are read. In a
    container the path of the group may be the host's, of which only the top is visible.
    """
    for path, version in _groups(root):
        mounts, names = _VERSIONS[version]
        inside = PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            for folder in dict.fromkeys([inside, *inside.parents, PurePosixPath()]):
                if (left := _left(root / mount / folder, *names)) is not None:
                    yield left


_VERSIONS = {
    1: (["sys/fs/cgroup/memory"], ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"]),
    2: (["sys/fs/cgroup", "sys/fs/cgroup/unified"], ["memory.max", "memory.current", "inactive_file"]),
}
"""Folders of control groups, and the names of the limit, the usage and the caches that can be released."""


def _groups(root: Path) -> Iterator[tuple[str, int]]:
    """Yield the paths of the process's control groups for memory, each with its version; by default the tops."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = ["0::/", "1:memory:/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            is_outside = ".." in path  # of what the container sees
            yield "/" if is_outside else path, 1 if controllers else 2


def _left(folder: Path, limit: str, usage: str, released: str) -> int | None:
    """Return what a control group's limit leaves; caches of files do not count, since the system releases them."""
    try:
        left = int((folder / limit).read_text()) - int((folder / usage).read_text())
    except (OSError, ValueError):  # no such group, or no limit
        return None
    with suppress(OSError, ValueError):
        stated = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        left += int(stated.get(released, 0))
    return max(0, left)
