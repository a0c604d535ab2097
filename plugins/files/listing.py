"""Contents of a folder: the files to read, and a summary of what is left out."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...framework.errors import MetameryError
from ...framework.stimuli import is_utf8

_OF_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}
"""Names that operating systems and servers add to folders; they are hidden like names with a leading dot."""

_MAX_NAMED = 3


@dataclass(frozen=True)
class Contents:
    """The entries of one folder, except hidden ones; text, since a `Path` for each of 100,000 files takes seconds.

    Parameters
    ----------
    folder
        The folder.
    files, folders
        Names of files and folders; links are followed.
    broken
        Names of broken links, and of other entries that are neither files nor folders.
    unnamed
        Names that are not UTF-8.
    """

    folder: Path
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()

    def of(self, endings: tuple[str, ...]) -> list[str]:
        """Return the files whose names have one of these endings."""
        return [file for file in self.files if file.lower().endswith(endings)]

    def has(self, endings: tuple[str, ...]) -> bool:
        """Whether any file's name has one of these endings."""
        return any(file.lower().endswith(endings) for file in self.files)

    def others(self, endings: tuple[str, ...]) -> list[str]:
        """Return the files whose names have none of these endings."""
        return [file for file in self.files if not file.lower().endswith(endings)]


def contents(folder: Path) -> Contents:
    """List a folder, sorted by name.

    Raises
    ------
    MetameryError
        The folder cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    broken: list[str] = []
    unnamed: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                    continue
                known = folder / entry.name if entry.is_symlink() else entry  # a DirEntry raises on a link to itself
                if not is_utf8(entry.name):
                    unnamed.append(entry.name)
                elif known.is_file():
                    files.append(entry.name)
                else:
                    (folders if known.is_dir() else broken).append(entry.name)
    except OSError as error:
        raise MetameryError(f"the folder '{folder}' cannot be listed: {error.strerror}") from None
    return Contents(folder, *(tuple(sorted(each)) for each in (files, folders, broken, unnamed)))


def check_names(root: Path, held: Iterable[Contents], skip: bool) -> None:
    """Refuse files whose names are not UTF-8, or `skip` them with a warning.

    Raises
    ------
    MetameryError
        There are such names, and `skip` is False.
    """
    names = [os.fsencode(each.folder.relative_to(root) / name) for each in held for name in each.unnamed]
    if not names:
        return
    is_one = len(names) == 1
    message = (
        f"in the folder '{root}' {len(names)} {'name is' if is_one else 'names are'} not UTF-8, such as {names[0]!r}"
    )
    if not skip:
        raise MetameryError(f"{message}: rename {'it' if is_one else 'them'} (--skip-unreadable leaves such files out)")
    warnings.warn(f"{message}; {'it is' if is_one else 'they are'} left out", stacklevel=4)


def check_classes(root: Path, classes: Sequence[Contents], endings: tuple[str, ...], expected: str) -> None:
    """Raise `MetameryError` if a class has no file to read, while others have some."""
    empty = [held for held in classes if not held.has(endings)]
    if not empty or len(empty) == len(classes):
        return
    named = [f"'{held.folder.name}' ({summary(held) or 'empty'})" for held in empty]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    raise MetameryError(
        f"of {len(classes)} classes in the folder '{root}', {len(named)} would be lost: "
        f"{', '.join(named[:_MAX_NAMED])}{more}; expected {expected} in each. "
        "Convert the existing files, or move the class out of the folder"
    )


def warn_of_others(root: Path, top: Contents, classes: Sequence[Contents], endings: tuple[str, ...]) -> None:
    """Warn once of all other contents of a folder, by ending and number."""
    is_flat = not any(held.has(endings) for held in classes)
    read = (top,) if is_flat else (top, *classes)
    left = Contents(
        root,
        tuple(file for held in read for file in held.others(endings)),
        tuple(held.folder.name for held in classes)
        if is_flat
        else tuple(inside for held in classes for inside in held.folders),
        tuple(link for held in read for link in held.broken),
    )
    if listing := summary(left):
        warnings.warn(f"left out of the folder '{root}': {listing}", stacklevel=3)


def summary(held: Contents) -> str:
    """Return the number of files of each ending, the most frequent first, and of other entries, as text.

    >>> summary(Contents(Path("photos"), ("a.HEIC", "b.heic", "LICENSE"), ("raw",)))
    "2 files in .heic, 1 file without an ending, 1 folder ('raw')"
    """
    count = Counter(_ending(file) for file in held.files)
    parts = [
        f"{number} {_plural(number, 'file', 'files')} {f'in {own}' if own else 'without an ending'}"
        for own, number in sorted(count.items(), key=lambda item: (-item[1], not item[0], item[0]))
    ]
    for names, one, many in (
        (held.folders, "folder", "folders"),
        (held.broken, "broken link", "broken links"),
        (held.unnamed, "name that is not UTF-8", "names that are not UTF-8"),
    ):
        if names:
            parts.append(f"{len(names)} {_plural(len(names), one, many)}")
            if names is not held.unnamed:
                parts[-1] += f" ('{names[0]}'{', …' if len(names) > 1 else ''})"
    return ", ".join(parts)


def _ending(file: str) -> str:
    found = os.path.splitext(file)[1].lower()
    return "" if found == "." else found


def _plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
