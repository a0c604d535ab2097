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
    """The entries of one folder, except hidden ones.

    Parameters
    ----------
    files, folders
        Files and folders; links are followed.
    broken
        Broken links, and other entries that are neither files nor folders.
    unnamed
        Entries whose names are not UTF-8.
    """

    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    broken: tuple[Path, ...] = ()
    unnamed: tuple[Path, ...] = ()

    def of(self, endings: Iterable[str]) -> list[Path]:
        """Return the files whose names have one of these endings."""
        return [file for file in self.files if file.suffix.lower() in endings]

    def others(self, endings: Iterable[str]) -> list[Path]:
        """Return the files whose names have none of these endings."""
        return [file for file in self.files if file.suffix.lower() not in endings]


def contents(folder: Path) -> Contents:
    """List a folder, sorted by name.

    Raises
    ------
    MetameryError
        The folder cannot be listed.
    """
    files: list[Path] = []
    folders: list[Path] = []
    broken: list[Path] = []
    unnamed: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                    continue
                path = folder / entry.name
                known = path if entry.is_symlink() else entry  # a DirEntry raises on a link to itself
                if not is_utf8(entry.name):
                    unnamed.append(path)
                elif known.is_file():
                    files.append(path)
                else:
                    (folders if known.is_dir() else broken).append(path)
    except OSError as error:
        raise MetameryError(f"the folder '{folder}' cannot be listed: {error.strerror}") from None
    return Contents(*(tuple(sorted(each)) for each in (files, folders, broken, unnamed)))


def check_names(root: Path, held: Iterable[Contents], skip: bool) -> None:
    """Refuse files whose names are not UTF-8, or `skip` them with a warning.

    Raises
    ------
    MetameryError
        There are such names, and `skip` is False.
    """
    names = [os.fsencode(path.relative_to(root)) for each in held for path in each.unnamed]
    if not names:
        return
    is_one = len(names) == 1
    message = (
        f"in the folder '{root}' {len(names)} {'name is' if is_one else 'names are'} not UTF-8, such as {names[0]!r}"
    )
    if not skip:
        raise MetameryError(f"{message}: rename {'it' if is_one else 'them'} (--skip-unreadable leaves such files out)")
    warnings.warn(f"{message}; {'it is' if is_one else 'they are'} left out", stacklevel=4)


def check_classes(root: Path, classes: dict[Path, Contents], endings: Sequence[str], expected: str) -> None:
    """Raise `MetameryError` if a class has no file to read, while others have some."""
    empty = {folder: held for folder, held in classes.items() if not held.of(endings)}
    if not empty or len(empty) == len(classes):
        return
    named = [f"'{folder.name}' ({summary(held) or 'empty'})" for folder, held in empty.items()]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    raise MetameryError(
        f"of {len(classes)} classes in the folder '{root}', {len(named)} would be lost: "
        f"{', '.join(named[:_MAX_NAMED])}{more}; expected {expected} in each. "
        "Convert the existing files, or move the class out of the folder"
    )


def warn_of_others(root: Path, top: Contents, classes: dict[Path, Contents], endings: Sequence[str]) -> None:
    """Warn once of all other contents of a folder, by ending and number."""
    is_flat = not any(held.of(endings) for held in classes.values())
    read = (top,) if is_flat else (top, *classes.values())
    left = Contents(
        tuple(file for held in read for file in held.others(endings)),
        tuple(classes) if is_flat else tuple(inside for held in classes.values() for inside in held.folders),
        tuple(link for held in read for link in held.broken),
    )
    if listing := summary(left):
        warnings.warn(f"left out of the folder '{root}': {listing}", stacklevel=3)


def summary(held: Contents) -> str:
    """Return the number of files of each ending, the most frequent first, and of other entries, as text.

    >>> summary(Contents((Path("a.HEIC"), Path("b.heic"), Path("LICENSE")), (Path("raw"),)))
    "2 files in .heic, 1 file without an ending, 1 folder ('raw')"
    """
    count = Counter(file.suffix.lower() for file in held.files)
    parts = [
        f"{number} {_plural(number, 'file', 'files')} {f'in {ending}' if ending else 'without an ending'}"
        for ending, number in sorted(count.items(), key=lambda item: (-item[1], not item[0], item[0]))
    ]
    for paths, one, many in (
        (held.folders, "folder", "folders"),
        (held.broken, "broken link", "broken links"),
        (held.unnamed, "name that is not UTF-8", "names that are not UTF-8"),
    ):
        if paths:
            parts.append(f"{len(paths)} {_plural(len(paths), one, many)}")
            if paths is not held.unnamed:
                parts[-1] += f" ('{paths[0].name}'{', …' if len(paths) > 1 else ''})"
    return ", ".join(parts)


def _plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
