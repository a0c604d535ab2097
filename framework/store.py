"""The store of a study's results: one Zarr v3 hierarchy, created at once and then filled region by region.

All arrays exist, with fill value and dimension names, before the first is written to; the hierarchy is built under a
temporary name and renamed in one step (on an object store: uploaded, with what makes it visible last, see `staging`),
and Zarr replaces each chunk in one step. So the results can be read whenever the program is killed. Chunks never span
two regions. Groups are added and removed by one process at a time, by `claims.turn`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from .claims import ensured, turn
from .consolidated import consolidate, is_consolidated, unconsolidate
from .errors import MetameryError
from .folders import RESULTS, has_results
from .groups import check_addition, check_apart, check_removal
from .remote import Folder, RemotePath, zarr_at
from .replacing import writing_to
from .results import check_version, quiet, steady
from .schema import SCHEMA_VERSION, SIGNAL_DIMENSIONS, Variable, check_dataset
from .staging import (
    appear,
    clear_half_written,
    clear_leftovers,
    disappear,
    exchange,
    staging_for,
    take_out,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Group:
    """A group to be created: its variables, the sizes of the signal's dimensions, coordinates and attributes.

    Parameters
    ----------
    variables
        Variables by name.
    coordinates
        Values of each dimension but the signal's.
    sizes
        Lengths of the signal's dimensions.
    chunks
        Chunk length along each dimension; a dimension that is not named is one chunk.
    attributes
        Attributes: text, numbers and lists of them.
    """

    variables: Mapping[str, Variable] = field(default_factory=dict)
    coordinates: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    chunks: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def size(self, dim: str) -> int:
        return self.sizes[dim] if dim in SIGNAL_DIMENSIONS else len(self.coordinates[dim])

    def empty(self) -> xr.Dataset:
        """Return the group in memory, with fill values everywhere."""
        data = {
            name: (
                variable.dims,
                np.full(
                    [self.size(dim) for dim in variable.dims],
                    variable.fill,
                    dtype=object if variable.dtype == "str" else variable.dtype,
                ),
                variable.attributes(),
            )
            for name, variable in self.variables.items()
        }
        coordinates = {dim: (dim, np.asarray(values)) for dim, values in self.coordinates.items()}
        return xr.Dataset(data, coordinates, dict(self.attributes))


class Draft:
    """Results that are being created, in a staging folder; made by `StudyStore.creating`."""

    def __init__(self, folder: Folder, path: Path) -> None:
        self._folder, self._path, self._root = folder, path, zarr.create_group(path)

    def add_group(self, path: str, group: Group) -> None:
        """Add a group with all of its arrays, which are empty, and its coordinates."""
        with writing_to(self._folder):
            _create_group(self._root, path, group)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set the attributes of the root: provenance."""
        with writing_to(self._folder):
            self._root.attrs.update({"schema_version": SCHEMA_VERSION, **attributes})

    def write(self, path: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        """Write one region of some variables or coordinates of a group, see `StudyStore.write`."""
        with writing_to(self._folder):
            _write(self._root, path, region, values, {})

    def add(self, path: str, dataset: xr.Dataset) -> None:
        """Add a group that holds a dataset, see `StudyStore.add`."""
        check_dataset(dataset)
        check_addition(path)
        with writing_to(self._folder):
            write_dataset(dataset, self._path / path)

    def read_region(self, path: str, name: str, first: slice) -> NDArray[Any]:
        """Read a part of one variable: a slice of its first dimension."""
        return np.asarray(_array(self._root, path, name)[first])


class StudyStore:
    """Writes the results of a study; made by `create`, `creating` or `reopen`."""

    def __init__(self, folder: Folder) -> None:
        self.path = folder / RESULTS
        self._root = zarr.open_group(zarr_at(self.path), mode="r+", zarr_format=3, use_consolidated=False)
        self._arrays: dict[str, zarr.Array[Any]] = {}  # those that were written to

    @classmethod
    def create(
        cls,
        folder: Folder,
        groups: Mapping[str, Group],
        attributes: Mapping[str, Any],
        contents: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    ) -> StudyStore:
        """Create the results of a study in a folder, with all arrays, which are empty except for `contents`.

        Parameters
        ----------
        folder
            Folder of the study; created if it is missing.
        groups
            Groups by path, such as ``models/KEY/metamers``.
        attributes
            Attributes of the root: provenance.
        contents
            Values that are known from the start: for groups by path, values of entire variables.

        Raises
        ------
        MetameryError
            The folder cannot be written to, or already holds results.
        """
        with cls.creating(folder) as draft:
            draft.set_attributes(attributes)
            for path, group in groups.items():
                draft.add_group(path, group)
            for path, values in (contents or {}).items():
                draft.write(path, {}, values)
        return cls(folder)

    @classmethod
    @contextmanager
    def creating(cls, folder: Folder) -> Iterator[Draft]:
        """Create the results of a study in a folder step by step; they appear there at the end, in one step.

        After an error nothing of them is left behind.

        Raises
        ------
        MetameryError
            The folder cannot be written to, or already holds results.
        """
        with ExitStack() as stack:
            with writing_to(folder):
                stack.enter_context(ensured(folder))
                _check_new(folder)
                staging = stack.enter_context(staging_for(folder))
                draft = Draft(folder, staging / RESULTS)
            yield draft
            with writing_to(folder):
                consolidate(staging / RESULTS)
                with turn(folder):
                    clear_leftovers(folder)
                    _check_new(folder)
                    appear(staging, folder)

    @classmethod
    def reopen(cls, folder: Folder) -> StudyStore:
        """Open the results of a study to continue them; what a killed writer left unfinished is removed.

        Raises
        ------
        MetameryError
            There are no results, they have a newer schema, or they cannot be written to.
        """
        steady([folder], lambda: check_version(folder))
        if isinstance(folder, Path) and not os.access(folder / RESULTS, os.W_OK):
            raise MetameryError(f"cannot write to '{folder / RESULTS}': permission denied")
        with writing_to(folder), turn(folder) as claim:
            clear_leftovers(folder)
            clear_half_written(folder, claim)
            if not (isinstance(folder, RemotePath) and is_consolidated(folder / RESULTS)):  # where it takes a while
                consolidate(folder / RESULTS)  # a writer may have been killed just before this step
        return cls(folder)

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self._root.attrs)

    def write(self, path: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        """Write one region of some variables of a group, in the order given.

        `region` names a slice for some dimensions; the others are written entirely.

        Raises
        ------
        MetameryError
            The region cannot be written, for example because the disk is full.
        """
        with writing_to(self.path.parent):
            _write(self._root, path, region, values, self._arrays)

    def read(self, path: str, name: str) -> NDArray[Any]:
        """Read one entire variable."""
        return np.asarray(_array(self._root, path, name)[...])

    def read_region(self, path: str, name: str, first: slice) -> NDArray[Any]:
        """Read a part of one variable: a slice of its first dimension."""
        return np.asarray(_array(self._root, path, name)[first])

    def dataset(self, path: str) -> xr.Dataset:
        """Open one group as a dataset, lazily."""
        dataset: xr.Dataset = xr.open_zarr(
            zarr_at(self.path), group=path, consolidated=False, zarr_format=3, chunks=None
        )
        return dataset

    def children(self, path: str = "") -> list[str]:
        """Return the names of the groups in a group, by default in the root."""
        group = self._root[path] if path else self._root
        assert isinstance(group, zarr.Group)
        with quiet():
            return sorted(group.group_keys())

    def shape(self, path: str, name: str) -> tuple[int, ...]:
        """Return the shape of one variable."""
        return _array(self._root, path, name).shape

    def arrays(self, path: str) -> list[str]:
        """Return the names of the variables and coordinates of one group."""
        group = self._root[path]
        assert isinstance(group, zarr.Group)
        return sorted(group.array_keys())

    def group_attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of one group."""
        return dict(self._root[path].attrs)

    def add(self, path: str, dataset: xr.Dataset) -> None:
        """Add a group that holds a dataset, or replace it, and make it visible to readers.

        Raises
        ------
        MetameryError
            The dataset does not pass the schema, or cannot be written.
        """
        check_dataset(dataset)
        check_addition(path)
        with self._turn_with(lambda staging: write_dataset(dataset, staging / "new")) as staging:
            if parent := path.rpartition("/")[0]:
                self._root.require_group(parent)
            check_apart([path.rpartition("/")[2]], self.children(parent))
            unconsolidate(self.path, staging)
            exchange(staging, self.path, path)
            consolidate(self.path)

    def remove(self, path: str) -> None:
        """Remove a group, and make that visible to readers.

        Raises
        ------
        MetameryError
            The group cannot be removed.
        """
        check_removal(path)
        self._take_out(path)

    def remove_null(self, model: str) -> None:
        """Remove the null of one model, by the key of its group, so that it is measured again."""
        self._take_out(f"models/{model}/null")

    def _take_out(self, path: str) -> None:
        with self._turn_with() as staging:
            if not _is_there(self.path / path):
                raise MetameryError(f"'{self.path.parent}' holds nothing of '{path}'")
            unconsolidate(self.path, staging)
            take_out(self.path, path, staging)
            consolidate(self.path)

    def discard(self) -> None:
        """Remove all results, in one step; the store cannot be used afterwards."""
        with self._turn_with() as staging:
            disappear(self.path, staging)

    @contextmanager
    def _turn_with(self, prepare: Callable[[Path], None] = lambda _staging: None) -> Iterator[Path]:
        """Prepare a staging folder, and then wait for the turn."""
        folder = self.path.parent
        with writing_to(folder), staging_for(folder) as staging:
            prepare(staging)
            with turn(folder):
                clear_leftovers(folder)
                yield staging


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as a Zarr v3 group of its own, text with variable length."""
    fixed = [name for name, variable in dataset.variables.items() if variable.dtype.kind == "U"]
    variable = dataset.assign({name: dataset[name].astype(object) for name in fixed}).drop_encoding()
    encoding = {name: {"compressors": [_checked()]} for name in variable.variables}
    variable.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)


def _check_new(folder: Folder) -> None:
    if has_results(folder):
        raise MetameryError(f"'{folder}' already holds results")


def _is_there(group: Folder) -> bool:
    return (group / "zarr.json").is_file() if isinstance(group, RemotePath) else group.is_dir()


def _create_group(root: zarr.Group, path: str, group: Group) -> None:
    node = root.require_group(path)
    node.attrs.update(group.attributes)
    for dim, values in group.coordinates.items():
        array = _values(values)
        dtype: Any = str if array.dtype.kind == "O" else array.dtype
        created = node.create_array(dim, shape=array.shape, dtype=dtype, dimension_names=[dim])
        created[...] = array
    for name, variable in group.variables.items():
        shape = tuple(group.size(dim) for dim in variable.dims)
        chunks = tuple(max(1, group.chunks.get(dim, n)) for dim, n in zip(variable.dims, shape, strict=True))
        node.create_array(
            name,
            shape=shape,
            dtype=str if variable.dtype == "str" else variable.dtype,
            chunks=chunks,
            compressors=_checked(),
            fill_value=variable.fill,
            dimension_names=variable.dims,
            attributes=variable.attributes(),
        )


def _write(
    root: zarr.Group,
    path: str,
    region: Mapping[str, slice],
    values: Mapping[str, ArrayLike],
    known: dict[str, zarr.Array[Any]],
) -> None:
    for name, value in values.items():
        if (array := known.get(f"{path}/{name}")) is None:
            array = known[f"{path}/{name}"] = _array(root, path, name)
        dims = getattr(array.metadata, "dimension_names", None) or ()
        array[tuple(region.get(str(dim), slice(None)) for dim in dims)] = np.asarray(value, dtype=array.dtype)


def _array(root: zarr.Group, path: str, name: str) -> zarr.Array[Any]:
    array = root[f"{path}/{name}"]
    assert isinstance(array, zarr.Array)
    return array


def _checked() -> ZstdCodec:
    """Return Zarr's default compression, with a checksum, so that a chunk that changed on the disk is not read."""
    return ZstdCodec(level=0, checksum=True)


def _values(values: Sequence[Any]) -> NDArray[Any]:
    return np.asarray(values, dtype=object if len(values) and isinstance(values[0], str) else None)
