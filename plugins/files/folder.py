"""The user's own pictures or sounds: ``PATH/CLASS/FILE``, or all in one folder, ``PATH/FILE``."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import torch

from ...framework.errors import MetameryError
from ...framework.folders import RESULTS
from ...framework.stimuli import Stimulus, is_utf8, spread
from ..audio import sounds
from ..vision import imagenet, pictures
from .listing import Contents, check_classes, check_names, contents, summary, warn_of_others

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """A kind of signal that a folder may hold: its name, the endings of its files, and the function that reads one."""

    name: str
    endings: tuple[str, ...]
    read: Callable[[Path], tuple[torch.Tensor, int | None]]


def _picture(path: Path, background: pictures.Colour | None = None) -> tuple[torch.Tensor, None]:
    return pictures.read_picture(path, background), None


KINDS = (Kind("picture", pictures.ENDINGS, _picture), Kind("sound", sounds.ENDINGS, sounds.read_sound))


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One listed file: its path inside the folder, its name among the stimuli, and its group."""

    folder: Path
    inside: str
    name: str
    group: str

    @property
    def path(self) -> Path:
        return self.folder / self.inside

    @property
    def category(self) -> str:
        """The name of its class; empty if it is not in a class's folder."""
        return self.inside.rpartition("/")[0]


@dataclass(frozen=True)
class FolderStimuli:
    """Files of one kind as stimuli, each decoded when it is read.

    A picture is ``(C, H, W)`` in [0, 1], a sound ``(T,)`` in [−1, 1] with its own sample rate. `numbers` has the class
    of ImageNet-1k for each category, if all are such classes. `is_listed` is whether the files are those of a folder,
    of which unreadable ones can be left out.
    """

    kind: Kind
    files: tuple[ListedFile, ...] = field(repr=False)
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)
    is_listed: bool = True

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return one picture or sound.

        Raises
        ------
        IndexError
            `index` is past the end.
        MetameryError
            The file cannot be decoded to its end, or holds a sound that is not mono or not in [−1, 1].
        """
        file = self.files[index]
        path = file.path
        return self._stimulus(file, path, *self._read(path, self.kind.read))

    def eight_bit(self, index: int) -> Stimulus | None:
        """Return a picture with its signal in 8 bits, `pictures.read_pixels`; None for other files."""
        if self.kind.name != "picture":
            return None
        file = self.files[index]
        path = file.path
        pixels = self._read(path, pictures.read_pixels)
        return None if pixels is None else self._stimulus(file, path, pixels, None)

    def _read(self, path: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(path)
        except MetameryError as error:
            if not self.is_listed:
                raise
            raise MetameryError(f"{error} (--skip-unreadable leaves such {self.kind.name}s out)") from error

    def _stimulus(self, file: ListedFile, path: Path, signal: torch.Tensor, sample_rate: int | None) -> Stimulus:
        number = self.numbers.get(file.category)
        return Stimulus(
            signal,
            file.category,
            {} if number is None else {imagenet.IMAGENET_1K: frozenset({number})},
            name=file.name,
            source=str(path),
            group=file.group,
            sample_rate=sample_rate,
        )

    @property
    def categories(self) -> list[str]:
        """The category of each file, without decoding any."""
        return [file.category for file in self.files]

    @property
    def names(self) -> list[str]:
        """The name of each file, without decoding any."""
        return [file.name for file in self.files]

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))


def folder(
    *, path: str | Path, limit: int | None = None, skip_unreadable: bool = False, group: str = "", background: str = ""
) -> FolderStimuli:
    """List the pictures or the sounds of a folder, sorted by path.

    A file's category is the name of its folder, or empty if the file is in `path` itself. If the folders of pictures
    are all named by WordNet IDs (``n01440764``) or names of ImageNet's classes, the right answers of networks trained
    on ImageNet are known, too. A file's name is its path inside
    `path` without the ending, unless two files would then have the same name. Hidden files are not listed. Other
    files, and files more than one folder deep, are left out, with one warning that gives their endings and numbers.
    Nothing is decoded, except with `skip_unreadable`.

    Parameters
    ----------
    path
        Folder to list. For ``SPLIT/CLASS/FILE``, give the folder of the split.
    limit
        Number of files to take, evenly spread over the list, so that each class has its share; by default all.
    skip_unreadable
        Whether to decode all files now and leave out those that cannot be decoded, and partly transparent pictures
        without a `background`, with one warning each; fewer than `limit` files may then be left.
    group
        Regular expression. Its first match in a file's name, or the part of it in parentheses, is the file's group:
        ``"^[a-z]+"`` gives the speaker of ``george_12.wav``. By default there are no groups.
    background
        Colour, such as ``white`` or ``#808080``, behind partly transparent pictures. Without it they keep their
        transparency as a last channel.

    Raises
    ------
    MetameryError
        The folder does not exist, or contains no readable pictures or sounds, or both kinds; a class has no readable
        file; a file's name is not UTF-8; `background` is not a colour, or the files are sounds; or `group` is not a
        regular expression, or does not match a file's name.
    """
    root = Path(path).expanduser()
    if not is_utf8(os.path.abspath(root)):
        raise MetameryError(f"the folder {os.fsencode(root)!r} has a name that is not UTF-8: rename it")
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise MetameryError(f"'{path}' {what}, expected a folder of {accepted()}")
    top = contents(root)
    classes = [held for inside in top.folders if not _is_result(held := contents(root / inside))]
    check_names(root, (top, *classes), skip_unreadable)
    listed = top.of(_endings())
    listed += [f"{held.folder.name}/{name}" for held in classes for name in held.of(_endings())]
    if not listed:
        others = f"; it holds {listing}" if (listing := summary(top)) else ""
        raise MetameryError(
            f"no pictures and no sounds in the folder '{path}', expected CLASS/FILE or FILE, "
            f"{accepted()}{_deeper(classes) or others}"
        )
    kind = _on_background(_kind(root, listed), root, background)
    check_classes(root, classes, kind.endings, _described(kind))
    warn_of_others(root, top, classes, kind.endings)
    selected = _listed(root, sorted(listed), _pattern(group), limit)
    categories = {file.rpartition("/")[0] for file in listed}
    numbers = imagenet.numbers_of(categories) if kind.name == "picture" else {}
    return FolderStimuli(kind, _readable(root, kind, background, selected) if skip_unreadable else selected, numbers)


def _is_result(held: Contents) -> bool:
    """Whether a folder is that of a study or a run, which may be next to the classes."""
    return RESULTS in held.folders


def _endings() -> tuple[str, ...]:
    return tuple(ending for kind in KINDS for ending in kind.endings)


def _kind(root: Path, files: Sequence[str]) -> Kind:
    """Return the kind of all files, or raise if there are two."""
    of_each = [(kind, [file for file in files if file.lower().endswith(kind.endings)]) for kind in KINDS]
    present = [(kind, own) for kind, own in of_each if own]
    if len(present) > 1:
        kinds = " and ".join(f"{kind.name}s ('{min(own)}')" for kind, own in present)
        raise MetameryError(f"the folder '{root}' holds {kinds}: expected one kind of signal")
    return present[0][0]


def _on_background(kind: Kind, root: Path, background: str) -> Kind:
    """Return the kind with pictures read on a background, if one is given."""
    if not background:
        return kind
    colour = pictures.read_colour(background)
    if kind.name != "picture":
        raise MetameryError(f"background = '{background}' is for pictures, and the folder '{root}' holds {kind.name}s")
    return replace(kind, read=partial(_picture, background=colour))


def _pattern(group: str) -> re.Pattern[str] | None:
    try:
        return re.compile(group) if group else None
    except (re.error, TypeError) as error:
        raise MetameryError(f"group is {group!r}, expected a regular expression: {error}") from None


def _group(file: str, pattern: re.Pattern[str]) -> str:
    name = file.rpartition("/")[2]
    if not (match := pattern.search(name)):
        raise MetameryError(f"group '{pattern.pattern}' does not match the file's name '{name}'")
    return (match[1] if pattern.groups else match[0]) or ""


def _listed(
    root: Path, files: Sequence[str], pattern: re.Pattern[str] | None, limit: int | None
) -> tuple[ListedFile, ...]:
    """Return some of the files, whose names and groups do not depend on which of them are selected."""
    short = [os.path.splitext(file)[0] for file in files]
    count = Counter(short)
    names: Sequence[str] = [path if count[stem] > 1 else stem for path, stem in zip(files, short, strict=True)]
    if len(set(names)) < len(names):  # `a.png` and `a.jpg` beside `a.png.jpg`
        names = files
    groups = [""] * len(files) if pattern is None else [_group(file, pattern) for file in files]
    return tuple(ListedFile(root, files[index], names[index], groups[index]) for index in spread(len(files), limit))


def _readable(root: Path, kind: Kind, background: str, files: Sequence[ListedFile]) -> tuple[ListedFile, ...]:
    """Return the files that can be decoded.

    Raises
    ------
    MetameryError
        No file can be decoded, or none of a class.
    """
    kept = []
    for file in files:
        stated = file.path.stat() if file.path.exists() else None
        size, changed = (stated.st_size, stated.st_mtime_ns) if stated else (0, 0)
        if fault := _fault(kind.name, background, file.path, size, changed):
            warnings.warn(f"{fault}; it is left out", stacklevel=3)
        else:
            kept.append(file)
    if not kept:
        raise MetameryError(f"none of the {len(files)} {kind.name}s in the folder '{root}' can be read")
    present = {file.category for file in kept}
    if lost := next((file.category for file in files if file.category not in present and file.category), ""):
        number = sum(file.category == lost for file in files)
        raise MetameryError(f"none of the {number} {kind.name}s of class '{lost}' in the folder '{root}' can be read")
    return tuple(kept)


@cache
def _fault(kind: str, background: str, path: Path, size: int, changed: int) -> str:
    """Return why a file cannot be used; cached, since some commands list a folder several times."""
    read = next(each.read for each in KINDS if each.name == kind)
    try:
        signal, _ = read(path)
    except MetameryError as error:
        return str(error)
    if kind == "picture" and not background and pictures.is_partly_transparent(signal):
        return f"the picture '{path}' is partly transparent, expected a background (such as --background white)"
    return ""


def _described(kind: Kind) -> str:
    return f"{kind.name}s (files ending in {', '.join(kind.endings)})"


def accepted() -> str:
    """Describe the files that are read, with their endings."""
    return " or ".join(_described(kind) for kind in KINDS)


def _deeper(classes: Sequence[Contents]) -> str:
    for held in classes:
        if any(contents(held.folder / inside).has(_endings()) for inside in held.folders):
            return f"; there are some in deeper folders: give '{held.folder}'"
        if listing := summary(held):
            return f"; '{held.folder}' holds {listing}"
    return ""
