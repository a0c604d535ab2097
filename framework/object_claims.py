"""Claims on folders of object stores, where nothing can be renamed.

A claim is an object ``.claim-NAME.NUMBER.json``, which states its holder, and is created only if there is no such
object: the object store lets one process do so. Its holder writes it again every few seconds. A claim that has lapsed
is taken over by creating the next number, and then removed. After it created its own, a process looks once more, and
withdraws if another holds a claim of this name: whichever of two was created later sees the other.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from .errors import MetameryError
from .holders import Holder, stated, statement
from .owners import Owner
from .remote import RemoteError, RemotePath

PREFIX = ".claim-"
_CLAIM = re.compile(r"(?P<name>\.claim-.+)\.(?P<number>\d+)\.json")
_refusing: set[str] = set()  # object stores that were seen to refuse to create what exists
_offsets: dict[str, float] = {}  # seconds that their clocks are ahead of that of this machine


class ObjectClaim:
    """An attempt at a claim of one name, and the claim when it is held."""

    def __init__(self, folder: RemotePath, name: str) -> None:
        self._folder, self._name = folder, name
        self._content = json.dumps({"owner": Owner.this().name(), **statement()}).encode()
        self._tried: RemotePath | None = None
        self._touching = threading.Lock()  # a claim that was released must not be written again
        self.file = folder / name
        self.holder: Holder | None = None

    def attempt(self) -> bool:
        """Take the claim if it is free; otherwise `holder` is the process that holds it, as far as that is known."""
        found = dict(_numbered(self._folder, self._name))
        if self._is_held(found.values()):
            return False
        own = self._tried = self._folder / f"{self._name}.{1 + max(found, default=0)}.json"
        if not own.create(self._content) and self._read(own) != self._content:  # its own, if an answer was lost
            self._is_held([own])
            return False
        self._check_refused(own)
        others = [file for _, file in _numbered(self._folder, self._name) if file != own]
        if self._is_held(others):
            own.unlink(missing_ok=True)
            return False
        for file in others:
            file.unlink(missing_ok=True)
        self.file = own
        return True

    def abandon(self) -> None:
        """Remove what an attempt that was interrupted may have left."""
        with suppress(RemoteError):
            if self._tried is not None and self._read(self._tried) == self._content:
                self._tried.unlink(missing_ok=True)

    def touch(self) -> bool:
        """Write the claim again; return whether it is still held."""
        with self._touching:
            numbers = {file.url: number for number, file in _numbered(self._folder, self._name)}
            if self.file.url not in numbers or numbers[self.file.url] < max(numbers.values()):
                self.file.unlink(missing_ok=True)
                return False
            self.file.write_bytes(self._content)
            return True

    def release(self) -> None:
        """Remove the claim, and those of processes that have died."""
        with suppress(RemoteError), self._touching:  # an object store that is gone: the claim lapses
            self.file.unlink(missing_ok=True)
            for holder in holders(self._folder):
                if holder.has_lapsed(_now(self._folder, holder)):
                    RemotePath(str(holder.file)).unlink(missing_ok=True)

    def _is_held(self, files: Iterable[RemotePath]) -> bool:
        """Whether a process that has not died holds one of some claims; it becomes the `holder`."""
        found = (_holder(file) for file in files)
        self.holder = next((each for each in found if each and not each.has_lapsed(_now(self._folder, each))), None)
        return self.holder is not None

    def _check_refused(self, own: RemotePath) -> None:
        """Raise `MetameryError` unless the object store refuses to create an object that exists."""
        place = self._folder.place
        if place in _refusing:
            return
        if own.create(self._content):
            own.unlink(missing_ok=True)
            raise MetameryError(
                f"cannot write to '{self._folder}': '{place}' does not refuse to create an object that exists "
                "(If-None-Match), without which two processes may write at the same time"
            )
        _refusing.add(place)

    @staticmethod
    def _read(file: RemotePath) -> bytes | None:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None


def holders(folder: RemotePath, name: str = "") -> list[Holder]:
    """Return the processes that hold claims on a folder, or the claim of one name, also those that have lapsed."""
    return [found for _, file in _numbered(folder, name) if (found := _holder(file)) is not None]


def live_holders(folder: RemotePath, name: str = "") -> list[Holder]:
    """Return the processes that hold claims on a folder, or the claim of one name."""
    return [holder for holder in holders(folder, name) if not holder.has_lapsed(_now(folder, holder))]


def _numbered(folder: RemotePath, name: str = "") -> Iterator[tuple[int, RemotePath]]:
    """Yield the claims of a name, or of any, with their numbers."""
    for file in folder.iterdir():
        if (found := _CLAIM.fullmatch(file.name)) and name in ("", found["name"]):
            yield int(found["number"]), RemotePath(file.url)


def _holder(file: RemotePath) -> Holder | None:
    """Read the holder of a claim; None if it has just been released."""
    try:
        text, touched = file.read_text(), file.modified()
        owner = Owner.of(str(json.loads(text)["owner"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return None if owner is None else stated(file, owner, text, touched)


def _now(folder: RemotePath, holder: Holder) -> float:
    """Return the time by the clock of the object store, where a claim may lapse by time."""
    if holder.owner.is_alive() is not None:
        return time.time()
    place = folder.place
    if place not in _offsets:
        probe = folder / f"{PREFIX}clock{Owner.this().name()}"
        probe.write_bytes(b"")
        try:
            _offsets[place] = probe.modified() - time.time()
        finally:
            probe.unlink(missing_ok=True)
    return time.time() + _offsets[place]
