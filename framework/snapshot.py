"""The descriptions of all groups and arrays of a store on an object store, listed and read many at a time.

Each request takes tens of milliseconds, wherever it is made from: one after the other, those of a study of many models
would take minutes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .remote import RemotePath

if TYPE_CHECKING:
    from .object_store import ObjectStore

KEPT_SECONDS = 30.0
"""Seconds for which a process uses a snapshot again."""

_AT_ONCE = 16
_DESCRIPTION, _CHUNKS = "zarr.json", "c"


@dataclass(eq=False)
class Seen:
    """What folders of a store were seen to hold, and the descriptions in it; by URL."""

    listings: dict[str, list[RemotePath]] = field(default_factory=dict)
    descriptions: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Snapshot(RemotePath):
    """A path in a store, with what was seen there; made by `snapshot`."""

    seen: Seen = field(default_factory=Seen, compare=False, repr=False)

    def __truediv__(self, name: str) -> Snapshot:
        found = next((each for each in self.iterdir() if each.name == name), None)
        return found or Snapshot(f"{self.url}/{name}", None, self.seen)

    @property
    def parent(self) -> Snapshot:
        return Snapshot(super().parent.url, {"type": "directory"}, self.seen)

    def iterdir(self) -> Iterator[Snapshot]:
        for each in self.seen.listings.get(self.url, ()):
            yield Snapshot(each.url, each.listed, self.seen)

    def read_bytes(self) -> bytes:
        if (content := self.seen.descriptions.get(self.url)) is None:
            raise FileNotFoundError(self.url)
        return content

    def zarr_store(self) -> ObjectStore:
        """Return a Zarr store that does not ask again for what was seen."""
        store = super().zarr_store()
        store.seen = self.seen
        return store

    def _kind(self) -> str | None:
        return None if self.listed is None else str(self.listed["type"])


_kept: dict[str, tuple[float, str, Snapshot | None]] = {}


def snapshot(store: RemotePath) -> Snapshot:
    """List the groups of a store and the chunks of its coordinates, and read all descriptions.

    One that this process made in the last `KEPT_SECONDS` is returned again, unless groups were added or removed since,
    which changes the description of the root.

    Raises
    ------
    RemoteError
        The object store refuses, or cannot be reached.
    """
    try:
        state = (store / _DESCRIPTION).state()
    except FileNotFoundError:
        return _seen(store)
    made, before, kept = _kept.get(store.url, (-KEPT_SECONDS, "", None))
    if kept is None or before != state or time.monotonic() - made > KEPT_SECONDS:
        made, kept = time.monotonic(), _seen(store)
        _kept[store.url] = made, state, kept
    return kept


def _seen(store: RemotePath) -> Snapshot:
    seen = Seen()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        level = [store]
        while level:
            inside: list[RemotePath] = []
            for folder, listing in zip(level, pool.map(_look, level), strict=True):
                for content in (each for each in listing if isinstance(each, bytes)):
                    seen.descriptions[f"{folder.url}/{_DESCRIPTION}"] = content
                seen.listings[folder.url] = [each for each in listing if isinstance(each, RemotePath)]
                inside += seen.listings[folder.url]
            level = [each for each in inside if each.is_dir() and not each.name.startswith(".")]
    return Snapshot(store.url, {"type": "directory"}, seen)


def _look(folder: RemotePath) -> list[RemotePath | bytes]:
    """Return what a folder of a store holds, and its description; of an array only the description, and the chunks."""
    file = folder / _DESCRIPTION
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return [each for each in folder.iterdir() if not each.is_dir() or folder.name != _CHUNKS]
    known = RemotePath(file.url, {"type": "file"})
    if (dims := _dimensions(content)) is None:
        return [content, *folder.iterdir()]
    chunks = RemotePath(f"{folder.url}/{_CHUNKS}", {"type": "directory"})
    return [content, known, *([chunks] if folder.name in dims else [])]


def _dimensions(description: bytes) -> list[str] | None:
    """Return the names of an array's dimensions; None for what is not known to be an array."""
    try:
        node = json.loads(description)
        return list(map(str, node.get("dimension_names") or ())) if node.get("node_type") == "array" else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
