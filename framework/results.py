"""Reading the results of a study, lazily, also while other processes add to them."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

import numpy as np
import xarray as xr
import zarr

from .claims import turn_holder
from .errors import MetameryError
from .folders import RESULTS, home
from .groups import RESERVED
from .remote import Folder, RemoteError, RemotePath, folder_at, zarr_at
from .schema import SCHEMA_VERSION
from .stored import check_stored

T = TypeVar("T")

_LOADED_BYTES = 16e6  # size up to which a result that may be replaced is loaded at once
_READINGS = 3  # attempts, of which the last is accepted although results still change
_REREAD_SECONDS = 30.0


def open_study(path: str | Folder) -> xr.DataTree:
    """Open the results of a study, lazily; groups are sorted by name.

    Parameters
    ----------
    path
        The study's folder, or the ``results.zarr`` in it; also a URL such as ``s3://BUCKET/FOLDER``.

    Raises
    ------
    MetameryError
        There are no results, they are damaged, or of a newer schema than this version reads.

    Examples
    --------
    ``open_study("study")["models/vision+efficientnet-lite0/metamers"].loss.isel(step=-1)``
    """
    folder = folder_at(path)
    folder = folder.parent if folder.name == RESULTS else folder
    return steady([folder], lambda: _open(folder))


def _open(folder: Folder) -> xr.DataTree:
    results = check_version(folder)
    # Unconsolidated, so that a study that is still being made, or was killed, is read as it stands.
    try:
        with quiet():
            tree = xr.open_datatree(zarr_at(results), engine="zarr", zarr_format=3, consolidated=False, chunks=None)
        for node in list(tree.subtree):
            node.children = dict(sorted(node.children.items()))  # otherwise in the order of the disk
            dataset = plottable(node.to_dataset(inherit=False))
            replaceable = node.path.lstrip("/").partition("/")[0] not in ("", *RESERVED[:2])
            node.dataset = dataset.load() if replaceable and dataset.nbytes <= _LOADED_BYTES else dataset
    except (RuntimeError, ValueError, KeyError) as error:  # truncated files, which codecs report in different ways
        raise MetameryError(f"'{folder / RESULTS}' is damaged: {error}") from error
    return tree


def steady(paths: Sequence[Folder], read: Callable[[], T]) -> T:
    """Read from results, and again if a group was added, removed or replaced meanwhile.

    Parameters
    ----------
    paths
        Folders, or the ``results.zarr`` in them.
    read
        Function that opens them and returns what it reads.
    """
    folders = [home(folder_at(path)) for path in paths]
    limit = time.monotonic() + _REREAD_SECONDS
    for attempt in count(1):
        for folder in folders:
            _wait_for_changes(folder, limit)
        before = [_state(folder) for folder in folders]
        try:
            result = read()
        except (OSError, ValueError, KeyError, IndexError, MetameryError):
            if [_state(folder) for folder in folders] == before or time.monotonic() > limit:
                raise
        else:
            if [_state(folder) for folder in folders] == before or attempt == _READINGS:
                return result
    raise AssertionError


def _state(folder: Folder) -> tuple[int, int] | str | None:
    """Return values that change whenever a group is added or removed."""
    root = folder / RESULTS / "zarr.json"
    try:
        if isinstance(root, RemotePath):
            return root.state()
        status = root.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _wait_for_changes(folder: Folder, limit: float) -> None:
    """Wait while a process that has its turn adds or removes groups."""
    while time.monotonic() < limit and turn_holder(folder) is not None:
        try:
            node = json.loads((folder / RESULTS / "zarr.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if "consolidated_metadata" in node:
            return
        time.sleep(0.02)


def plottable(dataset: xr.Dataset) -> xr.Dataset:
    """Convert text coordinates to the type that xarray can always plot and select by."""
    texts = {
        name: (coordinate.dims, np.array(coordinate.values.tolist(), dtype=str), coordinate.attrs)
        for name, coordinate in dataset.coords.items()
        if coordinate.dtype.kind in "OT"
    }
    return dataset.assign_coords(texts)


def check_version(folder: Folder) -> Folder:
    """Refuse a folder without results, with results of a newer schema, or with another Zarr store.

    Returns
    -------
    Path or RemotePath
        Path of the results, see `check_stored`.
    """
    if not (folder / RESULTS / "zarr.json").is_file():
        raise MetameryError(f"no results in '{folder}': expected a study's folder, with {RESULTS} in it")
    try:
        attributes = zarr.open_group(zarr_at(folder / RESULTS), mode="r", zarr_format=3, use_consolidated=False).attrs
        version = attributes["schema_version"]
    except RemoteError:
        raise
    except Exception as error:  # the format's own checks raise many kinds
        raise MetameryError(f"'{folder / RESULTS}' does not hold the results of a study: {error}") from None
    if not isinstance(version, int) or isinstance(version, bool) or version > SCHEMA_VERSION:
        raise MetameryError(
            f"'{folder / RESULTS}' has schema {version}; this metamery reads up to {SCHEMA_VERSION}: "
            "install a newer one"
        )
    return check_stored(folder / RESULTS)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of consolidated metadata, and of files that another process has not finished writing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component")
        yield
