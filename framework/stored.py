"""Checks of the files of results against the rules of their format, before any data is read.

Zarr trusts the description of an array: its shape, its type, its codecs. A file that was edited, truncated or lost is
reported here, by name, and so is an array that would not fit in memory.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .checks import shown
from .errors import MetameryError
from .groups import is_replaceable
from .limits import check_memory
from .remote import Folder, RemotePath
from .snapshot import snapshot

LARGEST_DESCRIPTION = 64 * 2**20
"""Largest size of a ``zarr.json`` in bytes, including the consolidated one of an entire study."""


def check_stored(results: Folder) -> Folder:
    """Read the description of every group and array, and check each against the format, its group and free memory.

    On an object store, a result of an evaluator that has no description is one that a killed process was adding or
    removing: there is no such result yet.

    Returns
    -------
    Path or RemotePath
        The path, which for an object store holds what was read, so that it need not be read again.

    Raises
    ------
    MetameryError
        One is missing or damaged, two arrays of a group differ in the length of a dimension, chunks of a coordinate are
        missing,
        or a coordinate or one chunk of an array is larger than the memory that is free.
    """
    place = snapshot(results) if isinstance(results, RemotePath) else results
    for folder in _groups(place):
        if not (isinstance(place, RemotePath) and _is_unfinished(folder, place)):
            _check_group(folder)
    return place


def _is_unfinished(group: Folder, results: Folder) -> bool:
    """Whether a group of an object store may be missing, and has no description."""
    inside = str(group).removeprefix(f"{results}").lstrip("/")
    return is_replaceable(inside) and not (group / "zarr.json").exists()


def _groups(folder: Folder) -> Iterator[Folder]:
    """Yield a group and all groups in it; the names of those that other writers are making begin with a dot."""
    yield folder
    for inside in _inside(folder):
        if inside.is_dir() and not inside.name.startswith(".") and not (inside / "c").exists():
            node = inside / "zarr.json"
            if not node.exists() or _described(node).get("node_type") != "array":
                yield from _groups(inside)


def _inside(folder: Folder) -> list[Folder]:
    found: list[Folder] = [*folder.iterdir()]
    return sorted(found, key=str)


def _check_group(folder: Folder) -> None:
    node = _described(folder / "zarr.json")
    if node.get("node_type") != "group":
        raise _damaged(folder / "zarr.json", f"it describes {shown(node.get('node_type'))}, expected a group")
    _parsed(folder / "zarr.json", node)
    arrays = {}
    for inside in _inside(folder):
        if inside.is_dir() and not inside.name.startswith(".") and (file := inside / "zarr.json").exists():
            own = _described(file)
            if own.get("node_type") == "array":
                arrays[inside.name] = _parsed(file, own)
            elif own.get("node_type") != "group" or (inside / "c").exists():
                raise _damaged(file, f"it describes {shown(own.get('node_type'))}, expected a group or an array")
        elif inside.is_dir() and (inside / "c").exists():
            raise _damaged(inside, "it has no zarr.json")
    lengths: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        file = folder / name / "zarr.json"
        dims = array.dimension_names
        if array.shape and (not dims or len(dims) != len(array.shape) or None in dims):
            raise _damaged(file, "its dimensions have no names")
        for dim, length in zip(dims or (), array.shape, strict=True):
            known, other = lengths.setdefault(str(dim), (length, name))
            if known != length:
                raise _damaged(file, f"'{dim}' has length {length}, and {known} in '{other}'")
        _check_size(file, name, array)


def _check_size(file: Folder, name: str, array: Any) -> None:
    each = getattr(array.data_type, "item_size", None) or 16  # text has no fixed size
    shape, chunk = array.shape, tuple(getattr(array.chunk_grid, "chunk_shape", array.shape))
    if not all(1 <= length < 2**62 for length in chunk):
        raise _damaged(file, f"its chunks are {chunk}")
    is_coordinate = name in {str(dim) for dim in array.dimension_names or ()}
    part = math.prod(min(one, other) for one, other in zip(shape, chunk, strict=True))
    claimed = math.prod(shape) if is_coordinate else part
    check_memory(f"'{file}' is damaged or too large: {'it' if is_coordinate else 'one chunk of it'}", each * claimed)
    check_memory(f"'{file}' is damaged or too large: one chunk of it", each * math.prod(chunk))
    if is_coordinate and math.prod(shape):
        expected = math.prod(-(-length // part) for length, part in zip(shape, chunk, strict=True))
        chunks = file.parent / "c"
        inside = chunks.iterdir() if isinstance(chunks, RemotePath) else chunks.rglob("*")
        present = sum(1 for part in inside if part.is_file() and part.suffix != ".partial")
        alone = math.prod(shape) == 1 or shape[0] % chunk[0] == 1  # a chunk of a single fill value is not written
        if expected - alone > present:
            raise _damaged(file.parent, f"{present} of its {expected} chunks exist")


def _described(file: Folder) -> dict[str, Any]:
    try:
        if isinstance(file, Path) and file.stat().st_size > LARGEST_DESCRIPTION:
            raise _damaged(file, f"it has {file.stat().st_size} bytes")
        node = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(file.parent, "it has no zarr.json") from None
    except OSError as error:
        raise MetameryError(f"cannot read '{file}': {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from None
    if not isinstance(node, dict):
        raise _damaged(file, "it describes neither a group nor an array")
    return node


def _parsed(file: Folder, node: Mapping[str, Any]) -> Any:
    """Parse a description as Zarr does."""
    from zarr.core.group import GroupMetadata
    from zarr.core.metadata.v3 import ArrayV3Metadata

    own = {name: value for name, value in node.items() if name != "consolidated_metadata"}
    try:
        if not isinstance(own.get("attributes", {}), dict):
            raise TypeError("its attributes are not a table")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if node["node_type"] == "array":
                return ArrayV3Metadata.from_dict(own)
            return GroupMetadata.from_dict(own)
    except Exception as error:  # the format's own checks raise many kinds
        raise _damaged(file, f"{type(error).__name__}: {error}") from None


def _damaged(path: Folder, why: str) -> MetameryError:
    return MetameryError(f"'{path}' is damaged: {why}")
