"""Results of a study that are lost or damaged on disk although the study records them as done.

A missing chunk is read as its fill value, NaN, without an error, and a truncated one cannot be read. Therefore the
values are checked: metamers that are done have signals, losses and a match.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from ...framework.errors import MetameryError
from ...framework.folders import RESULTS
from ...framework.remote import Folder, RemoteError, RemotePath, zarr_at
from ...framework.schema import STATES
from ...framework.snapshot import snapshot

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

MEND = "the study's command makes them again"
_ANSWERS = ("predicted", "agrees", "quantised_predicted", "quantised_agrees")
_TEXT = {"first", "second"}
_LOST = "\ufffd"  # replaces text that cannot be read


@dataclass(frozen=True)
class Damage:
    """Lost results of one model.

    Parameters
    ----------
    name
        Name of the model.
    state
        States as stored, ``(layer, stimulus, seed)``.
    metamers
        Whether each metamer is recorded as done but incomplete, ``(layer, stimulus, seed)``.
    natural
        Names of the stimuli whose signals are lost.
    null
        Whether the null is incomplete.
    unreadable
        Paths of arrays in the store that cannot be read at all.
    """

    name: str
    state: NDArray[np.int8]
    metamers: NDArray[np.bool_]
    natural: list[str] = field(default_factory=list)
    null: bool = False
    unreadable: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Number of lost metamers."""
        return int(self.metamers.sum())


def damages(folder: Folder) -> dict[str, Damage]:
    """Read all results of a study's models, and return what is lost of each, by the key of its group."""
    return _damages(_open_all(folder))


def _damages(results: zarr.Group) -> dict[str, Damage]:
    models = results.get("models")
    if not isinstance(models, zarr.Group):
        return {}
    return {key: _damage(group, f"models/{key}") for key, group in models.groups() if "metamers" in group}


def without_lost(folder: Folder, tree: xr.DataTree, found: Mapping[str, Damage] | None = None) -> xr.DataTree:
    """Return an open study in which lost metamers are marked as missing, with a warning that gives their number.

    Raises
    ------
    MetameryError
        An array cannot be read at all.
    """
    results = _open_all(folder)
    found = _damages(results) if found is None else found
    unreadable = [path for damage in found.values() for path in damage.unreadable] + _others_unreadable(results)
    if unreadable:
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        mend = MEND if _is_made(unreadable[0]) else "restore it from a copy, or make it again"
        raise MetameryError(f"'{folder / RESULTS}' is damaged: '{unreadable[0]}'{more} cannot be read; {mend}")
    for key, damage in found.items():
        for what in describe(damage):
            warnings.warn(f"'{folder}' is damaged: {what}", stacklevel=3)
        if damage.lost:
            node = tree.children["models"].children[key].children["metamers"]
            state = node.dataset["state"].load()
            node.dataset = node.to_dataset(inherit=False).assign(
                state=state.copy(data=np.where(damage.metamers, STATES["missing"], state.values).astype(state.dtype))
            )
    return tree


def readable(folder: Folder, path: str) -> NDArray[Any]:
    """Read an array of a study; chunks that cannot be read have the fill value, as if they had not been written."""
    return _part(_array(_open(folder), path), ..., path, [])


def describe(damage: Damage) -> Iterator[str]:
    """Yield a line for each kind of results of a model that is lost."""
    if damage.lost:
        yield f"{damage.lost} metamers of '{damage.name}' that were done are lost or incomplete; {MEND}"
    if damage.natural:
        yield f"the natural signals of {listed(damage.natural)} of '{damage.name}' are lost"
    if damage.null:
        yield f"the null of '{damage.name}' is lost or incomplete; {MEND.replace('them', 'it')}"


def check_natural(folder: Folder, found: Mapping[str, Damage]) -> None:
    """Raise `MetameryError` if natural signals are lost, without which nothing can be made or measured."""
    for damage in found.values():
        if damage.natural:
            raise MetameryError(
                f"'{folder}' is damaged: the natural signals of {listed(damage.natural)} of '{damage.name}' are lost. "
                "Choose another folder, or restore them from a copy"
            )


def listed(names: list[str], most: int = 3) -> str:
    """List the first names, and the number of the others.

    >>> listed(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _open(folder: Folder) -> zarr.Group:
    path = folder if folder.name == RESULTS else folder / RESULTS
    return zarr.open_group(zarr_at(path), mode="r", zarr_format=3, use_consolidated=False)


def _open_all(folder: Folder) -> zarr.Group:
    """Open results of which all descriptions are needed; those on an object store are read at once."""
    return _open(snapshot(folder / RESULTS) if isinstance(folder, RemotePath) else folder)


def _damage(model: zarr.Group, path: str) -> Damage:
    unreadable: list[str] = []
    name = str(model.attrs.get("model", path))
    names = [str(stimulus) for stimulus in _read(model, "metamers/stimulus", path, unreadable)]
    state = _read(model, "metamers/state", path, unreadable)
    natural = np.zeros(len(names), dtype=bool)
    signal = _array(model, "stimuli/signal")
    for block in _blocks(signal):
        natural[block] = ~_finite(_part(signal, block, f"{path}/stimuli/signal", unreadable), 1)
    done = state == STATES["done"]
    metamers = done & ~_complete(model, done, path, unreadable)
    null = "null" in model and not _null(model, path, unreadable)
    return Damage(name, state, metamers, [names[index] for index in np.flatnonzero(natural)], null, unreadable)


def _complete(model: zarr.Group, done: NDArray[np.bool_], path: str, unreadable: list[str]) -> NDArray[np.bool_]:
    """Which metamers are complete, with their losses and their match."""
    complete = done.copy()
    signal, loss = _array(model, "metamers/signal"), _array(model, "metamers/loss")
    steps = _read(model, "metamers/steps", path, unreadable)
    predicted = _read(model, "stimuli/predicted", path, unreadable)
    _read(model, "metamers/modified_relu", path, unreadable)
    for name in ("stimuli/confidence", "stimuli/correct"):
        _read(model, name, path, unreadable)
        predicted = np.where(f"{path}/{name}" in unreadable, -1, predicted)
    updates = np.arange(loss.shape[-1])
    match = model.get("match")
    match = match if isinstance(match, zarr.Group) else None
    fits = None if match is None else _array(model, "match/match")
    for layer, seed in np.ndindex(done.shape[0], done.shape[2]):
        for block in _blocks(signal, 1):
            at = (layer, block, seed)
            if not done[at].any():
                continue
            finite = _finite(_part(signal, at, f"{path}/metamers/signal", unreadable), 1)
            losses = _part(loss, at, f"{path}/metamers/loss", unreadable)
            finite &= (np.isfinite(losses) | (updates > steps[at][:, None])).all(axis=1) & (steps[at] >= 0)
            if fits is not None:  # NaN at some layers may be what was measured
                fit = _part(fits, (layer, slice(None), block, seed), f"{path}/match/match", unreadable)
                finite &= ~np.isnan(fit).all(axis=(0, 2))
            complete[at] &= finite
    for name in ("metamers/reason", *(["metamers/made_on"] if "metamers/made_on" in model else [])):
        complete &= _read(model, name, path, unreadable) != _LOST
    if match is None:
        return complete
    complete &= ~np.isnan(_read(model, "match/quantised_match", path, unreadable)).all(axis=3)
    for name in sorted(set(match.array_keys()) - {"match", "quantised_match", *_ANSWERS}):
        _read(model, f"match/{name}", path, unreadable)
    answers = {name: _read(model, f"match/{name}", path, unreadable) for name in _ANSWERS}
    for values in answers.values():
        complete &= (values >= 0) | (predicted < 0)[:, None]
    unasked = (predicted < 0) & (answers["predicted"] >= 0).any(axis=(0, 2))
    complete[0, unasked, 0] = False  # the answers to natural signals are computed again with a batch of metamers
    return complete


def _null(model: zarr.Group, path: str, unreadable: list[str]) -> bool:
    """Whether a model's null is complete: no value is NaN, its pairs are named, and they were counted."""
    group = model["null"]
    assert isinstance(group, zarr.Group)
    for name in sorted(group.array_keys()):
        values = _read(model, f"null/{name}", path, unreadable)
        if name in _TEXT and not all(text and text != _LOST for text in values.flat):
            return False
        if name == "histogram" and not values.any(axis=-1).all():
            return False
        if values.dtype.kind == "f" and np.isnan(values).any():
            return False
    return True


def _is_made(path: str) -> bool:
    """Whether the study's command computes the array at a path again."""
    parts = path.split("/")
    return parts[0] == "models" and parts[2:] != ["stimuli", "signal"]


def _others_unreadable(results: zarr.Group) -> list[str]:
    """Paths of other arrays that cannot be read: texts of the stimuli, and results of evaluators and trainings."""
    unreadable: list[str] = []
    for path, array in results.members(max_depth=None):
        inside = path.startswith("models/") and path.split("/")[2:3] in [["metamers"], ["match"], ["stimuli"], ["null"]]
        if isinstance(array, zarr.Array) and not inside:
            _part(array, ..., path, unreadable)
    return unreadable


def _read(model: zarr.Group, name: str, path: str, unreadable: list[str]) -> NDArray[Any]:
    return _part(_array(model, name), ..., f"{path}/{name}", unreadable)


def _part(array: zarr.Array[Any], at: Any, path: str, unreadable: list[str]) -> NDArray[Any]:
    """Read part of an array; chunks that cannot be read have the fill value, as if they had not been written."""
    with _unless_unreadable():
        return np.asarray(array[at])
    if path not in unreadable:
        unreadable.append(path)
    is_text = array.dtype.kind not in "biuf"
    shape = np.broadcast_to(np.int8(0), array.shape)[at].shape
    found = np.full(shape, _LOST if is_text else array.fill_value, dtype=object if is_text else array.dtype)
    if at is ...:
        for region in product(*(_blocks(array, axis) for axis in range(array.ndim))):
            with _unless_unreadable():
                found[region] = array[region]
    return found


@contextmanager
def _unless_unreadable() -> Iterator[None]:
    """Ignore that chunks cannot be read; an object store that does not answer has lost nothing."""
    try:
        yield
    except RemoteError:
        raise
    except Exception:  # codecs may raise anything
        return


def _blocks(array: zarr.Array[Any], axis: int = 0) -> Iterator[slice]:
    """Slices along one axis, one for each chunk."""
    step = array.chunks[axis]
    return (slice(first, min(first + step, array.shape[axis])) for first in range(0, array.shape[axis], step))


def _finite(values: NDArray[Any], axis: int) -> NDArray[np.bool_]:
    """Whether all values are finite along an axis and those after it."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(axis, values.ndim))))


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise MetameryError(f"the results are damaged: '{group.path}/{name}' is missing")
    return array
