"""The store of a study's results: one Zarr v3 hierarchy, created whole and then filled region by region.

All arrays exist, with fill value and dimension names, before the first is written to; the hierarchy is built beside
its place and moved there in one step, and Zarr replaces each chunk in one step. So whenever the program is killed,
what is on disk can be read. Chunks never span two regions.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr

from .errors import MetameryError
from .schema import SCHEMA_VERSION, SIGNAL_DIMENSIONS, Variable, check_dataset
from .stored import check_stored

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

RESULTS = "results.zarr"

_PLACE = "place.txt"


@dataclass(frozen=True)
class Group:
    """A group to be created: its variables, the sizes of the signal's dimensions, coordinates and attributes.

    Parameters
    ----------
    variables
        By name.
    coordinates
        For each dimension but the signal's, its values.
    sizes
        Of the signal's dimensions.
    chunks
        Chunk length along each dimension; a dimension that is not named is one chunk.
    attributes
        Text, numbers and lists of them.
    """

    variables: Mapping[str, Variable] = field(default_factory=dict)
    coordinates: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    chunks: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def size(self, dim: str) -> int:
        return self.sizes[dim] if dim in SIGNAL_DIMENSIONS else len(self.coordinates[dim])

    def empty(self) -> xr.Dataset:
        """The group in memory, all fill values."""
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


class StudyStore:
    """Writes the results of a study; made by `create` or `reopen`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RESULTS
        self._root = zarr.open_group(self.path, mode="r+", use_consolidated=False)

    @classmethod
    def create(
        cls,
        folder: Path,
        groups: Mapping[str, Group],
        attributes: Mapping[str, Any],
        contents: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    ) -> StudyStore:
        """Create the results of a study in a folder, all arrays there and empty but for `contents`.

        Parameters
        ----------
        folder
            The study's folder; made where it is missing.
        groups
            By path, such as ``models/KEY/metamers``.
        attributes
            Of the root: provenance.
        contents
            What is known from the start: for groups by path, values of whole variables.

        Raises
        ------
        MetameryError
            The folder cannot be written to, or holds results already.
        """
        if (folder / RESULTS).exists():
            raise MetameryError(f"'{folder}' holds results already")
        with _writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
            staging = Path(tempfile.mkdtemp(prefix=f".{RESULTS}.", dir=folder))
            try:
                root = zarr.create_group(staging / RESULTS)
                root.attrs.update({"schema_version": SCHEMA_VERSION, **attributes})
                for path, group in groups.items():
                    _create_group(root, path, group)
                for path, values in (contents or {}).items():
                    for name, value in values.items():
                        _array(root, path, name)[...] = value
                _consolidate(staging / RESULTS)
                os.rename(staging / RESULTS, folder / RESULTS)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return cls(folder)

    @classmethod
    def reopen(cls, folder: Path) -> StudyStore:
        """Open the results of a study to go on with them; what a killed writer left half written is removed.

        Raises
        ------
        MetameryError
            There are none, they are of a newer schema, or they cannot be written to.
        """
        _check_version(folder)
        if not os.access(folder / RESULTS, os.W_OK):
            raise MetameryError(f"cannot write to '{folder / RESULTS}': permission denied")
        with _writing_to(folder):
            _clear(folder)
            _consolidate(folder / RESULTS)  # its writer may have been killed just before
        return cls(folder)

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self._root.attrs)

    def write(self, path: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        """Write one region of some variables of a group, in the order given.

        `region` names a slice for some dimensions; the others are written whole.

        Raises
        ------
        MetameryError
            It cannot be written, for example because the disk is full.
        """
        with _writing_to(self.path.parent):
            for name, value in values.items():
                array = _array(self._root, path, name)
                dims = getattr(array.metadata, "dimension_names", None) or ()
                array[tuple(region.get(str(dim), slice(None)) for dim in dims)] = np.asarray(value, dtype=array.dtype)

    def read(self, path: str, name: str) -> NDArray[Any]:
        """Read one variable whole."""
        return np.asarray(_array(self._root, path, name)[...])

    def read_region(self, path: str, name: str, first: slice) -> NDArray[Any]:
        """Read a part of one variable: a slice of its first dimension."""
        return np.asarray(_array(self._root, path, name)[first])

    def children(self, path: str) -> list[str]:
        """The names of the groups in a group."""
        group = self._root[path]
        assert isinstance(group, zarr.Group)
        return sorted(group.group_keys())

    def group_attributes(self, path: str) -> dict[str, Any]:
        """The attributes of one group."""
        return dict(self._root[path].attrs)

    def add(self, path: str, dataset: xr.Dataset) -> None:
        """Add a group that holds a dataset, or replace it, and make it visible to readers.

        Raises
        ------
        MetameryError
            The dataset does not pass the schema, or cannot be written.
        """
        check_dataset(dataset)
        with _writing_to(self.path.parent):
            staging = Path(tempfile.mkdtemp(prefix=f".{RESULTS}.", dir=self.path.parent))
            try:
                write_dataset(dataset, staging / "new")
                (staging / _PLACE).write_text(path, encoding="utf-8")
                target = self.path / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _unconsolidate(self.path)
                if target.exists():
                    os.rename(target, staging / "old")
                os.rename(staging / "new", target)
            finally:
                _settle(staging, self.path)
            for parent in list(target.relative_to(self.path).parents)[:-1]:
                self._root.require_group(str(parent))
            _consolidate(self.path)

    def remove(self, path: str) -> None:
        """Remove a group, and make that visible to readers.

        Raises
        ------
        MetameryError
            It cannot be removed.
        """
        with _writing_to(self.path.parent):
            staging = Path(tempfile.mkdtemp(prefix=f".{RESULTS}.", dir=self.path.parent))
            _unconsolidate(self.path)
            os.rename(self.path / path, staging / "removed")
            shutil.rmtree(staging)
            _consolidate(self.path)


def write_dataset(dataset: xr.Dataset, place: Path) -> None:
    """Write a dataset as a Zarr v3 group of its own, text with variable length."""
    fixed = [name for name, variable in dataset.variables.items() if variable.dtype.kind == "U"]
    variable = dataset.assign({name: dataset[name].astype(object) for name in fixed})
    variable.to_zarr(place, zarr_format=3, consolidated=False)


def open_study(path: str | Path) -> xr.DataTree:
    """Open the results of a study, whole and lazily; groups are in order of their names.

    Parameters
    ----------
    path
        The study's folder, or the ``results.zarr`` in it.

    Raises
    ------
    MetameryError
        There are no results, or they are of a newer schema than this version reads.

    Examples
    --------
    ``open_study("study")["models/vision+efficientnet-lite0/metamers"].loss.isel(step=-1)``
    """
    folder = Path(path)
    folder = folder.parent if folder.name == RESULTS else folder
    _check_version(folder)
    # Unconsolidated, so that a study that is still being made, or was killed, is read as it stands.
    tree = xr.open_datatree(folder / RESULTS, engine="zarr", consolidated=False, chunks=None)
    for node in list(tree.subtree):
        node.children = dict(sorted(node.children.items()))  # they come in the order of the disk
        node.dataset = plottable(node.to_dataset(inherit=False))
    return tree


def plottable(dataset: xr.Dataset) -> xr.Dataset:
    """Give text coordinates the type that xarray can plot and select by everywhere."""
    texts = {
        name: (coordinate.dims, np.array(coordinate.values.tolist(), dtype=str), coordinate.attrs)
        for name, coordinate in dataset.coords.items()
        if coordinate.dtype.kind in "OT"
    }
    return dataset.assign_coords(texts)


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Say of a full or locked disk where it is."""
    try:
        yield
    except OSError as error:
        raise MetameryError(f"cannot write to '{folder}': {error.strerror or error}") from error


def _clear(folder: Path) -> None:
    """Remove what a killed writer left half written."""
    for leftover in [*folder.glob(f".{RESULTS}.*"), *(folder / RESULTS).rglob("*.partial")]:
        _settle(leftover, folder / RESULTS) if leftover.is_dir() else leftover.unlink()


def _settle(staging: Path, results: Path) -> None:
    """Remove a staging folder; an earlier group that was moved there and not yet replaced goes back."""
    if (old := staging / "old").exists() and not (target := results / (staging / _PLACE).read_text("utf-8")).exists():
        os.rename(old, target)
    shutil.rmtree(staging)


def _consolidate(path: Path) -> None:
    """Gather all metadata in one place, which xarray reads first; where it is stale, new groups are hidden."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path)


def _unconsolidate(path: Path) -> None:
    """Take the gathered metadata away while groups come and go, so that a reader never sees what is stale."""
    file = path / "zarr.json"
    node = json.loads(file.read_text(encoding="utf-8"))
    node.pop("consolidated_metadata", None)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(node, indent=2), encoding="utf-8")
    os.replace(partial, file)


def _check_version(folder: Path) -> None:
    if not (folder / RESULTS / "zarr.json").is_file():
        raise MetameryError(f"no results in '{folder}': expected a study's folder, with {RESULTS} in it")
    try:
        attributes = zarr.open_group(folder / RESULTS, mode="r", use_consolidated=False).attrs
        version = attributes["schema_version"]
    except Exception as error:  # whatever the format's own checks come to
        raise MetameryError(f"'{folder / RESULTS}' holds no study's results: {error}") from None
    if not isinstance(version, int) or isinstance(version, bool) or version > SCHEMA_VERSION:
        raise MetameryError(
            f"'{folder / RESULTS}' has schema {version}; this metamery reads up to {SCHEMA_VERSION}: "
            "install a newer one"
        )
    check_stored(folder / RESULTS)


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
            fill_value=variable.fill,
            dimension_names=variable.dims,
            attributes=variable.attributes(),
        )


def _array(root: zarr.Group, path: str, name: str) -> zarr.Array[Any]:
    array = root[f"{path}/{name}"]
    assert isinstance(array, zarr.Array)
    return array


def _values(values: Sequence[Any]) -> NDArray[Any]:
    return np.asarray(values, dtype=object if len(values) and isinstance(values[0], str) else None)
