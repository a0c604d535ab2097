"""Pictures of the user's own: ``PATH/CLASS/FILE``, or all in one folder, ``PATH/FILE``."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...framework.errors import MetameryError
from ...framework.stimuli import Stimulus
from .limits import spread
from .pictures import ENDINGS, read_picture


@dataclass(frozen=True)
class PictureFile:
    """One listed file: its path, its name among the stimuli, and its class."""

    path: Path
    name: str
    category: str


@dataclass(frozen=True)
class PictureFolder:
    """Picture files as stimuli, each decoded when it is asked for: ``(C, H, W)`` in [0, 1]."""

    files: tuple[PictureFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return one picture.

        Raises
        ------
        IndexError
            `index` is past the end.
        MetameryError
            The file cannot be decoded to its end.
        """
        file = self.files[index]
        try:
            signal = read_picture(file.path)
        except MetameryError as error:
            raise MetameryError(f"{error} (--skip-unreadable leaves such pictures out)") from error
        return Stimulus(signal, file.category, name=file.name, source=str(file.path))

    @property
    def categories(self) -> list[str]:
        """The category of each picture, without decoding any."""
        return [file.category for file in self.files]

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))


def picture_folder(*, path: str | Path, limit: int | None = None, skip_unreadable: bool = False) -> PictureFolder:
    """List the pictures of a folder, sorted by path.

    A picture's category is the folder it lies in, or empty if it lies in `path` itself. Its name is its path inside
    the folder without the ending, unless two would then be called the same. Hidden files, and pictures more than
    one folder deep, are not listed. Nothing is decoded, unless `skip_unreadable` asks for it.

    Parameters
    ----------
    path
        The folder. Of ``SPLIT/CLASS/FILE``, give the split's.
    limit
        Take this many, evenly spread over the list, so that each class has its share.
    skip_unreadable
        Decode all pictures now and leave out those that cannot be, with one warning each; of `limit` pictures
        fewer may then be left.

    Raises
    ------
    MetameryError
        There is no such folder, or no picture in it that can be read.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise MetameryError(f"'{path}' {what}, expected a folder of pictures ({_accepted()})")
    found = [*_pictures(root), *(picture for folder in _folders(root) for picture in _pictures(folder))]
    if not found:
        raise MetameryError(
            f"no pictures in the folder '{path}', expected CLASS/FILE or FILE ({_accepted()}){_deeper(root)}"
        )
    files = _named(root, sorted(found, key=lambda picture: picture.relative_to(root).as_posix()))
    chosen = tuple(files[index] for index in spread(len(files), limit))
    return PictureFolder(_readable(root, chosen) if skip_unreadable else chosen)


def _folders(folder: Path) -> list[Path]:
    return sorted(inside for inside in folder.iterdir() if inside.is_dir() and not inside.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    return [
        inside
        for inside in folder.iterdir()
        if inside.suffix.lower() in ENDINGS and not inside.name.startswith(".") and inside.is_file()
    ]


def _named(root: Path, pictures: Sequence[Path]) -> list[PictureFile]:
    full = [picture.relative_to(root).as_posix() for picture in pictures]
    short = [picture.relative_to(root).with_suffix("").as_posix() for picture in pictures]
    count = Counter(short)
    names = [whole if count[stem] > 1 else stem for whole, stem in zip(full, short, strict=True)]
    if len(set(names)) < len(names):  # `a.png` and `a.jpg` beside `a.png.jpg`
        names = full
    return [
        PictureFile(picture, name, "" if picture.parent == root else picture.parent.name)
        for picture, name in zip(pictures, names, strict=True)
    ]


def _readable(root: Path, files: Sequence[PictureFile]) -> tuple[PictureFile, ...]:
    kept = []
    for file in files:
        try:
            read_picture(file.path)
        except MetameryError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=3)
        else:
            kept.append(file)
    if not kept:
        raise MetameryError(f"none of the {len(files)} pictures in the folder '{root}' can be read")
    return tuple(kept)


def _accepted() -> str:
    return "files ending in " + ", ".join(ENDINGS)


def _deeper(root: Path) -> str:
    for split in _folders(root):
        if any(_pictures(folder) for folder in _folders(split)):
            return f"; there are pictures deeper down: give '{split}'"
    return ""
