"""Folders on object stores: paths for URLs such as ``s3://BUCKET/FOLDER``, read and written through fsspec.

An object store has no folders, only objects whose names may have a prefix in common: a folder exists while it holds an
object, and nothing is renamed. Each object is written in one step. What cannot be reached is a `RemoteError`, never
taken for missing.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MetameryError, MissingExtraError, unknown

if TYPE_CHECKING:
    from .object_store import ObjectStore

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_PIPED_BYTES = 64 * 2**20  # objects are written at the same time up to this size


class RemoteError(MetameryError):
    """An object store that refuses, or cannot be reached."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A path on an object store, with the methods of `pathlib.Path` that a study needs.

    Parameters
    ----------
    url
        URL without a slash at the end.
    listed
        What the listing in which the path was found says of it.
    """

    url: str
    listed: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        before, _, _name = self.url.rpartition("/")
        return self if before.endswith(":/") else RemotePath(before)

    @property
    def place(self) -> str:
        """URL of the bucket."""
        return "/".join(self.url.split("/")[:3])

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1]

    def resolve(self) -> RemotePath:
        return self

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what a folder holds; nothing where there is no such folder."""
        fs, path = self._opened()
        with self._named("read"):
            try:
                entries = fs.ls(path, detail=True)
            except FileNotFoundError:
                return
        for entry in entries:
            if (name := entry["name"].rstrip("/")) != path:
                yield RemotePath(f"{self.url}/{name.rpartition('/')[2]}", entry)

    def objects(self) -> list[str]:
        """Return the names of all objects in a folder, relative to it."""
        fs, path = self._opened()
        with self._named("read"):
            return [name.removeprefix(f"{path}/") for name in fs.find(path)]

    def read_bytes(self) -> bytes:
        fs, path = self._opened()
        with self._named("read"):
            try:
                content: bytes = fs.cat_file(path)
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url) from None
            return content

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Create or replace an object, in one step."""
        fs, path = self._opened()
        with self._named("write to"):
            fs.pipe_file(path, content)

    def write_text(self, content: str, encoding: str = "utf-8") -> None:
        self.write_bytes(content.encode(encoding))

    def create(self, content: bytes) -> bool:
        """Create an object, unless it exists; return whether it was created."""
        fs, path = self._opened()
        with self._named("write to"):
            try:
                fs.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if getattr(error.__cause__, "response", {}).get("Error", {}).get("Code") in _LOST_RACE:
                    return False
                raise
        return True

    def upload(self, folder: Path, names: Sequence[str]) -> None:
        """Write files of a folder on the disk under the same names, several at the same time."""
        fs, path = self._opened()
        for batch in _batches(folder, names):
            with self._named("write to"):
                fs.pipe({f"{path}/{name}": (folder / name).read_bytes() for name in batch})

    def unlink(self, missing_ok: bool = False) -> None:
        fs, path = self._opened()
        with self._named("write to"):
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def remove(self) -> None:
        """Remove a folder with all that it holds, if it exists."""
        fs, path = self._opened()
        with self._named("write to"), suppress(FileNotFoundError):
            fs.rm(path, recursive=True)

    def modified(self) -> float:
        """Return when an object was written last, by the clock of the object store.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        """
        fs, path = self._opened()
        with self._named("read"):
            return float(fs.modified(path).timestamp())

    def state(self) -> str:
        """Return what changes whenever the object is replaced by one with other content.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        """
        fs, path = self._opened()
        with self._named("read"):
            return str(fs.ukey(path))

    def zarr_store(self) -> ObjectStore:
        """Return a Zarr store in this folder."""
        from .object_store import ObjectStore

        self._opened()
        with self._named("reach"):
            store = ObjectStore.from_url(self.url, _options(self.url))
            assert isinstance(store, ObjectStore)
            return store

    def _kind(self) -> str | None:
        """Return ``file``, ``directory``, or None where there is nothing."""
        if self.listed is not None:
            return str(self.listed["type"])
        fs, path = self._opened()
        with self._named("read"):
            try:
                return str(fs.info(path)["type"])
            except FileNotFoundError:
                return None

    def _opened(self) -> tuple[Any, str]:
        """Return the file system and the path in it."""
        with self._named("reach"):
            fs = _file_system(self.place, os.getpid())
            return fs, str(fs._strip_protocol(self.url)).rstrip("/")

    @contextmanager
    def _named(self, action: str) -> Iterator[None]:
        with naming(self.url, action):
            yield


Folder = Path | RemotePath
"""The folder of a study: a path, or the path of an object store."""


def folder_at(place: str | Path | RemotePath) -> Folder:
    """Return the folder that a user names: a path, or a URL such as ``s3://BUCKET/FOLDER``.

    Raises
    ------
    MetameryError
        The URL names no bucket, its protocol is unknown, or a package for it is not installed.

    Examples
    --------
    >>> folder_at("study").name, folder_at("memory://bucket/study/").url
    ('study', 'memory://bucket/study')
    """
    if isinstance(place, RemotePath) or (found := _URL.fullmatch(os.fspath(place))) is None:
        return place if isinstance(place, RemotePath) else Path(place)
    if found["protocol"] == "file":
        return Path(found["rest"])
    url = f"{found['protocol'].lower()}://{found['rest'].strip('/')}"
    if not found["rest"].strip("/"):
        raise MetameryError(f"'{place}' names no bucket: expected {found['protocol']}://BUCKET/FOLDER")
    _check_protocol(found["protocol"].lower(), url)
    return RemotePath(url)


def zarr_at(folder: Folder) -> Any:
    """Return what Zarr and xarray open: the path itself, or a Zarr store on the object store."""
    return folder.zarr_store() if isinstance(folder, RemotePath) else folder


def on_disk(folder: str | Path | RemotePath) -> Path:
    """Return a folder that can be on the disk only.

    Raises
    ------
    MetameryError
        It is on an object store.
    """
    if isinstance(found := folder_at(folder), RemotePath):
        raise MetameryError(f"'{found}' is on an object store: expected a folder on the disk here")
    return found


@contextmanager
def naming(url: str, action: str) -> Iterator[None]:
    """Turn the error of an object store into a `RemoteError`, except that something is missing while it is read."""
    try:
        yield
    except MetameryError:
        raise
    except Exception as error:  # each library has its own
        if isinstance(error, FileNotFoundError) and action == "read":
            raise
        raise RemoteError(f"cannot {action} '{url}': {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@cache
def _file_system(place: str, _process: int) -> Any:
    """Open the file system of a bucket, one for all threads of a process; fsspec would open one for each."""
    from fsspec.core import url_to_fs

    return url_to_fs(place, **_options(place))[0]


def _options(url: str) -> dict[str, Any]:
    """Return options of fsspec: what was listed may have changed; s3fs otherwise asks for the size before it reads."""
    return {"use_listings_cache": False, **({"max_concurrency": 1} if url.startswith("s3:") else {})}


def _check_protocol(protocol: str, url: str) -> None:
    from fsspec.registry import get_filesystem_class, known_implementations, registry

    if protocol not in {*registry, *known_implementations}:
        raise unknown("protocol", protocol, sorted(known_implementations))
    try:
        get_filesystem_class(protocol)
    except ImportError:
        package = known_implementations[protocol]["class"].partition(".")[0]
        how = "metamery[s3]" if package == "s3fs" else package
        if find_spec(package) is not None:
            raise
        raise MissingExtraError(f"'{url}' needs the package '{package}': pip install '{how}'") from None


def _batches(folder: Path, names: Iterable[str]) -> Iterator[list[str]]:
    """Yield names of files, as many together as may be in memory."""
    batch: list[str] = []
    size = 0
    for name in names:
        length = (folder / name).stat().st_size
        if batch and size + length > _PIPED_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += length
    if batch:
        yield batch
