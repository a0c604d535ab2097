"""Text files in ZIP archives, read into memory within bounds; nothing is unpacked to the disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ...framework.errors import MetameryError
from ...framework.limits import size

MAX_MEMBERS = 200_000
MAX_FILE = 64 * 2**20
MAX_TOTAL = 2**30
"""Limits of an archive: number of files, bytes of one, and bytes of all of them, unpacked."""


def members(
    path: Path, *, max_members: int = MAX_MEMBERS, max_file: int = MAX_FILE, max_total: int = MAX_TOTAL
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file of an archive, in the archive's order.

    Sizes are those of the unpacked bytes, whatever the archive states.

    Raises
    ------
    MetameryError
        The archive is damaged or encrypted, a name leads out of it, a file is not UTF-8, or a limit is exceeded.
    """
    left = max_total
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > max_members:
                raise MetameryError(f"'{path}' has {len(entries)} files, expected at most {max_members}")
            for entry in entries:
                _check_name(path, entry.filename)
                with archive.open(entry) as file:
                    content = file.read(min(max_file, left) + 1)
                if len(content) > max_file:
                    raise MetameryError(f"'{path}': '{entry.filename}' has more than {size(max_file)} when unpacked")
                left -= len(content)
                if left < 0:
                    raise MetameryError(f"'{path}' has more than {size(max_total)} when unpacked")
                yield entry.filename, text_of(content, f"'{path}': '{entry.filename}'")
    except RuntimeError:  # how zipfile reports encryption
        raise MetameryError(f"'{path}' is encrypted: unpack it first") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise MetameryError(f"cannot read '{path}' as a ZIP archive: {error}") from None


def text_of(content: bytes, where: str) -> str:
    """Return bytes as text, without a byte order mark.

    Raises
    ------
    MetameryError
        They are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MetameryError(f"{where} is not text in UTF-8") from None


def _check_name(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise MetameryError(f"'{path}' holds '{name[:80]}', a path that leads out of it")
