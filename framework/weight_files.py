"""Files of weights in every format in use, read as tensors only: nothing in a file can run."""

from __future__ import annotations

import io
import json
import math
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .errors import MetameryError, unknown
from .pickled import Global, Inert, NotReadableError, Persistent, read_pickle

ENTRIES = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights",
    "model_ema", "state_dict_ema", "ema_state_dict", "ema", "teacher", "student", "target_encoder", "encoder",
    "backbone",
)  # fmt: skip
"""Where files hold weights, besides at their root; the first that is there is read unless another is named."""

MAX_PICKLE_BYTES = 2**28
"""Longest pickle that is read; one that describes tensors takes about 100 bytes for each."""

_DAMAGED = (
    zipfile.BadZipFile, struct.error, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What `zipfile`, PyTorch and the functions below raise for a damaged file."""

_LEGACY = 0x1950A86A20F9469CFC6C
"""The number that PyTorch's format before 1.6 begins with."""

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """The tensors of a file.

    Parameters
    ----------
    path
        The file.
    entry
        Where in the file they are: names of its tables with points between; empty for its root.
    tensors
        Tensors on the CPU, by the names that the file gives them.
    others
        Other entries that hold tensors.
    """

    path: Path
    entry: str
    tensors: Mapping[str, torch.Tensor]
    others: tuple[str, ...] = ()


def read_weights(path: str | Path, entry: str | None = None) -> WeightFile:
    """Read weights from a file.

    Understood are safetensors, also in several files with an index (``….safetensors.index.json``); PyTorch's zip format
    and the one before 1.6, also when they were written with dill, as by the library `robustness`; checkpoints of
    Lightning and others, in which the weights are one entry of several; and whole networks that were saved by
    ``torch.save(network)``, of which only the tensors are read.

    Parameters
    ----------
    path
        The file.
    entry
        Where in the file the weights are, such as ``model_ema``; empty for its root; by default the first of `ENTRIES`.

    Raises
    ------
    MetameryError
        There is no such file or entry, the file holds no weights, is damaged or incomplete, or is something else, such
        as a web page or a pointer of git-lfs.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "model": torch.nn.Linear(2, 1).state_dict()}, f"{folder}/checkpoint.pt")
    ...     file = read_weights(f"{folder}/checkpoint.pt")
    >>> file.entry, {name: tuple(tensor.shape) for name, tensor in file.tensors.items()}
    ('model', {'weight': (1, 2), 'bias': (1,)})
    """
    path = Path(path)
    try:
        with _opened(path) as (tree, tensor_of):
            found = _states(tree)
            chosen = _chosen(path, found, entry)
            tensors = {name: tensor_of(reference) for name, reference in found[chosen].items()}
    except NotReadableError as error:
        raise MetameryError(f"cannot read the weights in '{path}': {error}") from None
    except OSError as error:
        raise MetameryError(f"cannot read '{path}': {error.strerror or error}") from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise MetameryError(f"cannot read the weights in '{path}': damaged or incomplete ({reason})") from None
    return WeightFile(path, chosen, tensors, tuple(name for name in found if name != chosen))


_Source = tuple[Any, Callable[[Any], torch.Tensor]]


def _opened(path: Path) -> AbstractContextManager[_Source]:
    """Open a file by its first bytes: what it holds, with references for tensors, and the function that reads one."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise NotReadableError("the file is empty")
    if path.name.endswith(".index.json"):
        return _sharded(path)
    if start[8:9] == b"{":  # first, since the length before it may begin as the others do
        return _safetensors(path)
    if start.startswith(b"PK"):
        return _zipped(path)
    if start.startswith(b"\x80"):
        return _legacy(path)
    raise NotReadableError(_what(start, path))


def _what(start: bytes, path: Path) -> str:
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, as saved in place of a file that has to be downloaded otherwise"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs, not the file itself: fetch it with 'git lfs pull'"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return "it is compressed: unpack it first"
    if tarfile.is_tarfile(path):
        return "it is a tar archive: unpack it first"
    return "it is none of safetensors, PyTorch's formats, or a checkpoint in them"


@contextmanager
def _safetensors(path: Path) -> Iterator[_Source]:
    try:
        yield load_file(path), lambda tensor: tensor
    except SafetensorError as error:
        raise NotReadableError(f"damaged or incomplete safetensors ({error})") from None


@contextmanager
def _sharded(path: Path) -> Iterator[_Source]:
    try:
        shards = {str(name) for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotReadableError("it is not an index of safetensors files") from None
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(shards):
        if Path(name).name != name:
            raise NotReadableError(f"it names a file elsewhere: {name[:80]}")
        with _safetensors(path.with_name(name)) as (some, _):
            tensors |= some
    yield tensors, lambda tensor: tensor


@contextmanager
def _zipped(path: Path) -> Iterator[_Source]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        described = next((name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        if described is None:
            raise NotReadableError("it is a zip archive, but not one of PyTorch's")
        folder = described.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise NotReadableError("it is a TorchScript archive: save the state_dict of torch.jit.load(FILE)")
        order = archive.read(f"{folder}byteorder").decode() if f"{folder}byteorder" in names else "little"
        if archive.getinfo(described).file_size > MAX_PICKLE_BYTES:
            raise NotReadableError("its description of the tensors is too long")
        tree = read_pickle(io.BytesIO(_entry(archive, described)))
        yield tree, _Tensors(lambda key: _entry(archive, f"{folder}data/{key}"), order)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read an entry as PyTorch writes them; a compressed one could be of any size."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise NotReadableError("it is compressed: unpack the archive, and pack it again without compression")
    return archive.read(name)


@contextmanager
def _legacy(path: Path) -> Iterator[_Source]:
    with path.open("rb") as file:
        if read_pickle(file) != _LEGACY:
            raise NotReadableError("it is a pickle, but not one of PyTorch's")
        read_pickle(file)  # the version of the format
        system = read_pickle(file)
        is_little = not isinstance(system, dict) or system.get("little_endian", True)
        order: Literal["little", "big"] = "little" if is_little else "big"
        tree = read_pickle(file)
        sizes = {str(storage[2]): _bytes_of(storage) for storage in _storages(tree)}
        at: dict[str, tuple[int, int]] = {}
        left = path.stat().st_size
        for key in map(str, read_pickle(file)):
            count = int.from_bytes(file.read(8), order)
            size = sizes.get(key, (0, 1))[1] * count
            at[key] = file.tell(), size
            if file.seek(size, io.SEEK_CUR) > left:
                raise NotReadableError("the file is incomplete")
        yield tree, _Tensors(lambda key: _read_at(file, *at[key]), order)


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


@dataclass(frozen=True)
class _Tensors:
    """Builds tensors from references to the storages of a file; each storage is read once."""

    read: Callable[[str], bytes]
    order: str
    known: dict[str, torch.Tensor] = field(default_factory=dict)

    def __call__(self, reference: Any) -> torch.Tensor:
        storage, offset, size, stride, dtype = _reference(reference)
        own, count = _bytes_of(storage)[0], int(storage[4])
        dtype = own if dtype is None else dtype
        key = str(storage[2])
        if key not in self.known:
            content = self.read(key)
            if len(content) < count * own.itemsize:
                raise NotReadableError("the file is incomplete")
            self.known[key] = torch.frombuffer(bytearray(content) or bytearray(1), dtype=torch.uint8)[: len(content)]
        values = self.known[key][: count * own.itemsize]
        if self.order != sys.byteorder and dtype.itemsize > 1:
            values = values.view(-1, dtype.itemsize).flip(1).flatten()
        needed = (
            offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if math.prod(size) else 0
        )
        if needed * dtype.itemsize > len(values):
            raise NotReadableError("a tensor is larger than its storage")
        return values.view(dtype).as_strided(size, stride, offset)


def _reference(node: Any) -> tuple[tuple[Any, ...], int, tuple[int, ...], tuple[int, ...], torch.dtype | None]:
    """Return storage, offset, size, stride and, where it is not the storage's, the dtype of a tensor."""
    name, arguments = node.function.name, node.arguments
    if name in ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter"):
        return _reference(arguments[0])
    if name == "_rebuild_from_type_v2":
        return _reference(Inert(arguments[0], tuple(arguments[2])))
    dtype = None
    try:
        storage, offset, size, stride = (
            arguments[0].id,
            int(arguments[1]),
            *(tuple(map(int, a)) for a in arguments[2:4]),
        )
        if name == "_rebuild_tensor_v3":
            dtype = getattr(torch, arguments[6].name)
        if storage[0] != "storage" or min((offset, *size, *stride)) < 0 or not isinstance(dtype, torch.dtype | None):
            raise ValueError
    except (AttributeError, IndexError, ValueError, TypeError):
        raise NotReadableError("a tensor in it is damaged") from None
    return storage, offset, size, stride, dtype


_REBUILT = {
    ("torch._utils", "_rebuild_tensor"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._tensor", "_rebuild_from_type_v2"), ("torch.nn.parameter", "Parameter"),
}  # fmt: skip


def _is_tensor(node: Any) -> bool:
    if isinstance(node, torch.Tensor):
        return True
    function = node.function if isinstance(node, Inert) else None
    return isinstance(function, Global) and (function.module, function.name) in _REBUILT


def _bytes_of(storage: tuple[Any, ...]) -> tuple[torch.dtype, int]:
    """Return the dtype of a storage, and the number of bytes of each of its elements."""
    kind = getattr(storage[1], "name", "")
    if kind not in _STORAGES:
        raise NotReadableError(f"a tensor in it has a storage of unknown type '{kind[:40]}'")
    return _STORAGES[kind], _STORAGES[kind].itemsize


def _storages(tree: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the references to storages that are anywhere in a tree; shared parts are visited once."""
    visited: set[int] = set()
    left = [tree]
    while left:
        node = left.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, Persistent) and isinstance(node.id, tuple) and node.id[:1] == ("storage",):
            yield node.id
        elif isinstance(node, Inert):
            left += [*node.arguments, node.state, *node.items]
        elif isinstance(node, Mapping):
            left += node.values()
        elif isinstance(node, list | tuple | set | frozenset):
            left += node


_DEPTH = 3
"""How many tables deep weights are looked for."""


def _states(tree: Any) -> dict[str, dict[str, Any]]:
    """Return references to tensors by entry and name."""
    found: dict[str, dict[str, Any]] = {}

    def look(node: Any, entry: str, depth: int) -> None:
        if isinstance(node, Inert):
            own = dict(_of_network(node))
            if own:
                found[entry] = own
        elif isinstance(node, Mapping):
            named = {name: value for name, value in node.items() if isinstance(name, str)}
            own = {name: value for name, value in named.items() if _is_tensor(value)}
            if own:
                found[entry] = own
            for name, value in named.items():
                if name not in own and depth < _DEPTH:
                    look(value, f"{entry}.{name}" if entry else name, depth + 1)

    look(tree, "", 0)
    return found


def _of_network(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a network that was saved whole, as its ``state_dict`` would name them."""
    state = node.state if isinstance(node, Inert) else None
    if not isinstance(state, Mapping) or depth > 50:
        return
    for kind in ("_parameters", "_buffers"):
        for name, value in _table(state.get(kind)).items():
            if _is_tensor(value):
                yield f"{prefix}{name}", value
    for name, part in _table(state.get("_modules")).items():
        yield from _of_network(part, f"{prefix}{name}.", depth + 1)


def _table(node: Any) -> Mapping[Any, Any]:
    return node if isinstance(node, Mapping) else {}


def _chosen(path: Path, found: Mapping[str, Mapping[str, Any]], entry: str | None) -> str:
    if not found:
        raise NotReadableError("it holds no tensors")
    if entry is not None:
        if entry not in found:
            raise unknown(f"entry of '{path}'", entry, [name or "''" for name in found])
        return entry
    many = max(map(len, found.values())) / 2  # smaller ones are a metric or a mean, not a network
    rank = {name: number for number, name in enumerate(("", *ENTRIES))}
    return min(
        (name for name, own in found.items() if len(own) >= many),
        key=lambda name: (rank.get(name.rpartition(".")[2], len(rank)), name.count(".")),
    )
