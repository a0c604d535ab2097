"""A Zarr store on an object store, whose errors name the object and are one line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from zarr.storage import FsspecStore

from .remote import naming
from .snapshot import Seen

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


class ObjectStore(FsspecStore):
    """A store that raises `RemoteError` where the object store refuses or cannot be reached.

    With a snapshot, it answers from that where groups and descriptions are asked for.
    """

    seen: Seen | None = None

    def with_read_only(self, read_only: bool = False) -> ObjectStore:
        store = super().with_read_only(read_only)
        assert isinstance(store, ObjectStore)
        store.seen = self.seen
        return store

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if self.seen is not None and key.rpartition("/")[2] == "zarr.json":
            content = self.seen.descriptions.get(self._url(key))
            return None if content is None else prototype.buffer.from_bytes(content)
        with naming(self._url(key), "read"):
            return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        with naming(self._url(), "read"):
            return await super().get_partial_values(prototype, key_ranges)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        with naming(self._url(key), "write to"):
            await super().set(key, value, byte_range)

    async def delete(self, key: str) -> None:
        with naming(self._url(key), "write to"):
            await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        with naming(self._url(prefix), "write to"):
            await super().delete_dir(prefix)

    async def exists(self, key: str) -> bool:
        with naming(self._url(key), "read"):
            return await super().exists(key)

    async def list(self) -> AsyncIterator[str]:
        with naming(self._url(), "read"):
            async for each in super().list():
                yield each

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        if self.seen is not None and (listing := self.seen.listings.get(self._url(prefix))) is not None:
            for inside in listing:
                yield inside.name
            return
        with naming(self._url(prefix), "read"):
            async for each in super().list_dir(prefix):
                yield each

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        with naming(self._url(prefix), "read"):
            async for each in super().list_prefix(prefix):
                yield each

    def _url(self, key: str = "") -> str:
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        return f"{protocol}://{self.path}/{key}".rstrip("/")
