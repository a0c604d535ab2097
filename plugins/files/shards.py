"""Pictures in tar files, as WebDataset writes them: ``KEY.jpg`` beside ``KEY.cls``, in one or many shards.

The shards are listed once, so that any picture can be read at any time: unlike with a stream, the order of a training
does not depend on them.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...framework.errors import MetameryError
from ...framework.stimuli import Stimulus, check_limit, spread
from ..vision import pictures

_BLOCK = 512  # bytes, the unit of tar files
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True)
class Member:
    """A picture in a shard: its name, category and place."""

    shard: Path
    key: str
    category: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.shard.stem}/{self.key}"


@dataclass(frozen=True)
class ShardStimuli:
    """Pictures of shards, each read and decoded when it is used."""

    members: Sequence[Member] = field(repr=False)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return a picture, ``(C, H, W)`` in [0, 1]; raise `MetameryError` if it cannot be decoded."""
        member = self.members[index]
        return self._stimulus(member, pictures.read_picture(_path(member), content=_content(member)))

    def eight_bit(self, index: int) -> Stimulus | None:
        """Return a picture with its signal in 8 bits, as `FolderStimuli.eight_bit` does."""
        member = self.members[index]
        pixels = pictures.read_pixels(_path(member), content=_content(member))
        return None if pixels is None else self._stimulus(member, pixels)

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    @property
    def categories(self) -> list[str]:
        """The category of each picture, without decoding any."""
        return [member.category for member in self.members]

    @property
    def names(self) -> list[str]:
        """The name of each picture, without decoding any."""
        return [member.name for member in self.members]

    def _stimulus(self, member: Member, signal: torch.Tensor) -> Stimulus:
        return Stimulus(signal, member.category, name=member.name, source=str(_path(member)))


def shards(*, path: str | Path, limit: int | None = None) -> ShardStimuli:
    """List the pictures of tar files.

    A picture's category is the text in ``KEY.cls``, or else the name of the folder in its key; its name is that of its
    shard with its key.

    Parameters
    ----------
    path
        A tar file, or several: ``train-{000..146}.tar``, or ``train-*.tar``.
    limit
        Number of pictures to take, evenly spread over all; by default all.

    Raises
    ------
    MetameryError
        There is no such file, one is cut off or not a tar file, or there are no pictures.
    """
    check_limit(limit)
    files = _files(str(Path(path).expanduser()))
    members = [member for file in files for member in _members(file)]
    if not members:
        raise MetameryError(f"no pictures in '{path}': expected KEY.jpg or the like, beside KEY.cls")
    return ShardStimuli(tuple(members[index] for index in spread(len(members), limit)))


def _files(pattern: str) -> list[Path]:
    """Return the files that a pattern stands for."""
    if given := _RANGE.search(pattern):
        first, last = given.groups()
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        files = [Path(pattern[: given.start()] + number + pattern[given.end() :]) for number in numbers]
    else:
        files = [Path(file) for file in sorted(glob.glob(pattern))] or [Path(pattern)]
    if missing := [file for file in files if not file.is_file()]:
        raise MetameryError(f"no shard '{missing[0]}': there is no such file")
    return files


def _members(shard: Path) -> Iterator[Member]:
    """List the pictures of a shard."""
    found: dict[str, tarfile.TarInfo] = {}
    categories: dict[str, str] = {}
    end, held = 0, shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as tar:
            for each in tar:
                end = each.offset_data + -(-each.size // _BLOCK) * _BLOCK
                if end > held:
                    break
                folder, _, base = each.name.rpartition("/")
                stem, _, ending = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if f".{ending.lower()}" in pictures.ENDINGS:
                    found[key] = each
                elif ending == "cls":
                    file = tar.extractfile(each)
                    categories[key] = file.read().decode(errors="replace").strip() if file else ""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise MetameryError(f"the shard '{shard}' cannot be read: {error}") from None
    if end + _BLOCK > held:  # a whole one ends with empty blocks
        raise MetameryError(f"the shard '{shard}' is cut off, after {len(found)} pictures: copy it again")
    for key, each in found.items():
        folder = key.rpartition("/")[0].rpartition("/")[2]
        yield Member(shard, key, categories.get(key, folder), each.offset_data, each.size)


def _content(member: Member) -> bytes:
    try:
        with member.shard.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)
    except OSError as error:
        raise MetameryError(f"the shard '{member.shard}' cannot be read: {os.strerror(error.errno or 0)}") from None


def _path(member: Member) -> Path:
    """Return what stands for the file in messages."""
    return member.shard / member.key
