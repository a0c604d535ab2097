"""Prepared pictures: a data set decoded once, into one file of 8-bit numbers that trainings map into memory.

Decoding JPEGs is what binds a training on many pictures. A prepared file has a header of 4,096 bytes (JSON), then the
pixels of each picture, ``(3, side, side)`` uint8, then what else is known of them (JSON). While it is written, pixels
go to ``FILE.part`` and the rest, a line for each picture, to ``FILE.part.jsonl``: what is in both is kept when it is
resumed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..framework import owners
from ..framework.checks import whole
from ..framework.domains import ImageDomain
from ..framework.errors import MetameryError
from ..framework.limits import check_disk
from ..framework.progress import Progress
from ..framework.replacing import writing_to
from ..framework.stimuli import Stimuli, Stimulus, check_limit, spread
from .data import plainly

FORMAT = 1
"""Version of the files that `prepare` writes."""

HEADER = 4096
"""Bytes before the first pixel."""

ENDING = ".prepared"

MAX_SIDE = 4096
"""Largest side length of prepared pictures."""


class PreparedStimuli:
    """The pictures of a prepared file; each is read from the disk when it is used.

    Parameters
    ----------
    path
        The file.
    limit
        Number of pictures to take, evenly spread; by default all.

    Raises
    ------
    MetameryError
        There is no such file, it is not a prepared one, a newer version wrote it, or it is cut off.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path = path
        self._header = _header(path)
        self.side: int = self._header["side"]
        self._about = _about(path, self._header)
        self._positions = spread(len(self._about), limit)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return a picture, ``(3, side, side)`` in [0, 1]."""
        return self._stimulus(index, self._pixels_of(index).float() / 255)

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_pixels"}  # mapped anew in a process

    def eight_bit(self, index: int) -> Stimulus:
        """Return a picture with its signal in 8 bits."""
        return self._stimulus(index, self._pixels_of(index))

    @property
    def categories(self) -> list[str]:
        """The category of each picture."""
        return [self._about[position]["category"] for position in self._positions]

    @property
    def names(self) -> list[str]:
        """The name of each picture."""
        return [self._about[position]["name"] for position in self._positions]

    @cached_property
    def _pixels(self) -> np.memmap[Any, Any]:
        shape = (self._header["count"], 3, self.side, self.side)
        return np.memmap(self.path, np.uint8, "r", HEADER, shape)

    def _pixels_of(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self._pixels[self._positions[index]]))

    def _stimulus(self, index: int, signal: torch.Tensor) -> Stimulus:
        about = dict(self._about[self._positions[index]])
        labels = {space: frozenset(answers) for space, answers in about.pop("labels", {}).items()}
        return Stimulus(signal, labels=labels, **about)


def prepared(*, path: str | Path, limit: int | None = None) -> PreparedStimuli:
    """Open pictures that ``metamery prepare`` has written.

    Parameters
    ----------
    path
        The file.
    limit
        Number of pictures to take, evenly spread over the file; by default all.

    Raises
    ------
    MetameryError
        There is no such file, it is not a prepared one, a newer version wrote it, or it is cut off.
    """
    check_limit(limit)
    return PreparedStimuli(Path(path).expanduser(), limit)


def prepare(
    stimuli: Stimuli, path: Path, side: int, *, workers: int = 0, progress: Progress | None = None
) -> PreparedStimuli:
    """Decode pictures, scale and crop them to squares as a network's domain does, and write them to one file.

    Parameters
    ----------
    stimuli
        Pictures.
    path
        File to write. One that was begun is continued; one that is finished stays as it is.
    side
        Side length in pixels.
    workers
        Number of processes that decode; the file does not depend on it.
    progress
        Display of the progress; none by default.

    Raises
    ------
    MetameryError
        The file's name has another ending, it holds other pictures or another side length, a picture cannot be
        decoded, or the disk is full.
    """
    whole("side", side, 1, MAX_SIDE)
    if path.suffix != ENDING:
        raise MetameryError(f"'{path}' is to hold prepared pictures: expected a name that ends in {ENDING}")
    header = {"format": FORMAT, "count": len(stimuli), "side": side}
    part, lines = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.jsonl")
    if path.exists():
        finished = PreparedStimuli(path)
        _compare(path, finished._header, header)
        _compare_names(path, finished.names, stimuli)
        owners.discard(lines)  # of one that was killed just before its end
        return finished
    item = 3 * side * side
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        about = _begun(part, lines, header, item, stimuli)
        check_disk(
            f"{len(stimuli)} pictures of {side} × {side} pixels", (len(stimuli) - len(about)) * item, path.parent
        )
        progress = progress or Progress()
        progress.start(len(stimuli), "preparing pictures")
        progress.advance(len(about))
        rest = _Fitted(stimuli, ImageDomain(3, side, side), range(len(about), len(stimuli)))
        own = torch.Generator()
        with part.open("ab") as pixels, lines.open("a", encoding="utf-8") as text:
            for picture, known in plainly(DataLoader(rest, batch_size=None, num_workers=workers, generator=own)):
                pixels.write(picture.numpy().data)
                pixels.flush()
                text.write(json.dumps(known) + "\n")
                text.flush()
                about.append(known)
                progress.advance()
            pixels.write(json.dumps(about).encode())
            pixels.flush()
            os.fsync(pixels.fileno())
        os.replace(part, path)
        owners.discard(lines)
    return PreparedStimuli(path)


@dataclass(frozen=True)
class _Fitted(Dataset[tuple[torch.Tensor, dict[str, Any]]]):
    """Pictures at a size, in 8 bits, with what else is known of them."""

    stimuli: Stimuli
    domain: ImageDomain
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        stimulus = self.stimuli[self.positions[index]]
        if stimulus.sample_rate is not None:
            raise MetameryError(f"stimulus '{stimulus.name}' is a sound: only pictures are prepared")
        about: dict[str, Any] = {name: getattr(stimulus, name) for name in ("name", "category", "source", "group")}
        about["licence"] = stimulus.licence
        if stimulus.labels:
            about["labels"] = {space: sorted(answers, key=str) for space, answers in stimulus.labels.items()}
        return (self.domain.fit(stimulus) * 255).round().to(torch.uint8), about


def _begun(part: Path, lines: Path, header: dict[str, int], item: int, stimuli: Stimuli) -> list[dict[str, Any]]:
    """Begin a file, or cut one that was begun to the pictures that are whole; return what is known of these."""
    if not part.exists():
        lines.write_text("", encoding="utf-8")
        part.write_bytes(json.dumps(header).encode().ljust(HEADER))
        return []
    _compare(part, _header(part), header)
    about = []
    for line in lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []:
        with suppress(ValueError):
            about.append(json.loads(line))
    about = about[: (part.stat().st_size - HEADER) // item]
    _compare_names(part, [known["name"] for known in about], stimuli)
    os.truncate(part, HEADER + len(about) * item)
    lines.write_text("".join(f"{json.dumps(known)}\n" for known in about), encoding="utf-8")
    return about


def _compare(path: Path, stored: dict[str, Any], header: dict[str, int]) -> None:
    for name, what in (("side", "a side of {} pixels"), ("count", "{} pictures")):
        if stored[name] != header[name]:
            raise MetameryError(
                f"'{path}' was prepared with {what.format(stored[name])}, not {header[name]}: remove it, or choose "
                "another file"
            )


def _compare_names(path: Path, stored: Sequence[str], stimuli: Stimuli) -> None:
    names: Sequence[str] | None = getattr(stimuli, "names", None)
    for own, other in zip(stored, names or (), strict=False):
        if own != other:
            raise MetameryError(f"'{path}' holds other pictures, such as '{own}': remove it, or choose another file")


def _header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MetameryError(f"no prepared pictures in '{path}': there is no such file")
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER))
        version, _, _ = (int(header[name]) for name in ("format", "count", "side"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise MetameryError(f"'{path}' is not a file of prepared pictures, as metamery prepare writes them") from None
    if version > FORMAT:
        raise MetameryError(f"'{path}' has version {version}; this metamery reads up to {FORMAT}: install a newer one")
    return dict(header)


def _about(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is known of each picture."""
    item, count, size = 3 * header["side"] ** 2, header["count"], path.stat().st_size
    end = HEADER + count * item
    try:
        with path.open("rb") as file:
            file.seek(end)
            about: list[dict[str, Any]] = json.loads(file.read())
    except ValueError:
        about = []
    if len(about) != count:
        held = min(max(size - HEADER, 0) // item, count)
        raise MetameryError(
            f"'{path}' is cut off: of {count} pictures it holds {held} whole ones. Copy it again, or prepare it again"
        )
    return about
