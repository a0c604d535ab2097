"""Checkpoints: all that a training continues from, in one file that holds tensors and text and cannot run code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from safetensors.torch import save_file
from torch import nn
from torch.nn.parameter import is_lazy

from ..framework import owners
from ..framework.errors import MetameryError
from ..framework.replacing import replaced, writing_to

FORMAT = 2
"""Version of what `save` writes; a file that does not state one is of version 1, which has no digest."""

_STATE = "state"  # one entry, since safetensors writes several in any order
_TENSOR, _TUPLE, _MAPPING = "!tensor", "!tuple", "!mapping"


def save(path: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a state (numbers, text, lists and mappings of them) in one step: completely or not at all.

    Raises
    ------
    MetameryError
        The file cannot be written, for example because its folder has gone; an earlier one is left as it was.
    """
    plain = {name: _plain(tensor) for name, tensor in tensors.items()}
    text = json.dumps(state)
    header = json.dumps({**state, "format": FORMAT, "digest": _digest(plain, text)})
    try:
        with writing_to(path.parent), replaced(path) as partial:
            save_file(plain, partial, {_STATE: header})
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
            os.chmod(partial, 0o644)
    except SafetensorError as error:
        raise MetameryError(f"cannot write to '{path.parent}': {error}") from error


def clear(folder: Path) -> None:
    """Remove what a killed writer left incomplete."""
    owners.clear(folder, *(f".{name}" for name in ("last.safetensors.", "best.safetensors.", "epoch-")))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save` wrote, or any other safetensors file, whose state is empty.

    Raises
    ------
    MetameryError
        There is no such file, it is not a safetensors file, it is damaged, or a newer version wrote it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {}).get(_STATE, "{}"))
            version, digest = state.pop("format", 1), state.pop("digest", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()} if version <= FORMAT else {}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MetameryError(f"no checkpoint in '{path}': {error}") from None
    if version > FORMAT:
        raise MetameryError(
            f"'{path}' is a checkpoint of version {version}; this metamery reads up to {FORMAT}: install a newer one"
        )
    if version > 1 and digest != _digest(tensors, json.dumps(state)):
        raise MetameryError(
            f"'{path}' is damaged: it does not hold what was written. Put a copy of it back, or choose another folder"
        )
    return tensors, state


def refuse(tensors: Mapping[str, Any]) -> None:
    """Refuse tensors that `save` could not write, before anything is computed.

    Raises
    ------
    MetameryError
        One is sparse, quantised, without values or of a type that safetensors does not have.
    """
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            reason = "it has no shape yet"
        elif tensor.is_meta:
            reason = "it is on the meta device, without values"
        elif tensor.layout != torch.strided:
            reason = f"its layout is {tensor.layout}"
        elif tensor.is_quantized or not _is_writable(tensor.dtype):
            reason = f"its type is {tensor.dtype}"
        else:
            continue
        raise MetameryError(
            f"'{name}' of the network cannot be kept in a checkpoint: {reason}; expected a plain tensor with values"
        )


def packed(entries: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Divide a module's state into its tensors, and its other entries, such as ``get_extra_state`` gives, as text.

    Raises
    ------
    MetameryError
        An entry holds anything other than tensors, numbers, text, and lists and mappings of them.
    """
    tensors: dict[str, torch.Tensor] = {}
    others: dict[str, Any] = {}
    for name, entry in entries.items():
        if isinstance(entry, torch.Tensor):
            tensors[name] = entry
        else:
            others[name] = _written(entry, name, tensors)
    return tensors, others


def unpacked(tensors: Mapping[str, torch.Tensor], others: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what `packed` took apart."""
    left = dict(tensors)
    entries = {name: _read(entry, left) for name, entry in others.items()}
    return {**left, **entries}


def flattened(optimizer: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Take an optimizer's state apart into tensors, by ``INDEX.NAME``, and what can be written as text.

    Raises
    ------
    MetameryError
        It holds anything other than tensors, numbers, text, and lists and mappings of them.
    """
    entries = {f"{index}.{name}": value for index, own in optimizer["state"].items() for name, value in own.items()}
    tensors, numbers = packed(entries)
    return tensors, {"numbers": numbers, "groups": _written(optimizer["param_groups"], "groups", tensors)}


def joined(tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what `flattened` took apart."""
    left = dict(tensors)
    groups = _read(state["groups"], left)
    values: dict[int, dict[str, Any]] = {}
    for key, value in unpacked(left, state["numbers"]).items():
        index, _, name = key.partition(".")
        values.setdefault(int(index), {})[name] = value
    return {"state": values, "param_groups": groups}


def _written(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Turn a value into what JSON can hold; the tensors in it are put among `tensors`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, torch.Tensor):
        key = f"{name}#{sum(other.startswith(f'{name}#') for other in tensors)}"
        tensors[key] = value
        return {_TENSOR: key}
    if type(value) in (list, tuple):
        items = [_written(item, name, tensors) for item in value]
        return items if type(value) is list else {_TUPLE: items}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("!") for key in value):
            return {key: _written(item, name, tensors) for key, item in value.items()}
        return {_MAPPING: [[_written(part, name, tensors) for part in item] for item in value.items()]}
    raise MetameryError(
        f"'{name}' cannot be kept in a checkpoint: it holds a {type(value).__module__}.{type(value).__qualname__}; "
        "expected tensors, numbers, text, and lists and mappings of them"
    )


def _read(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Undo `_written`; the tensors are taken from `tensors`."""
    if isinstance(value, list):
        return [_read(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TENSOR}:
        return tensors.pop(value[_TENSOR])
    if set(value) == {_TUPLE}:
        return tuple(_read(item, tensors) for item in value[_TUPLE])
    if set(value) == {_MAPPING}:
        return {_read(key, tensors): _read(item, tensors) for key, item in value[_MAPPING]}
    return {key: _read(item, tensors) for key, item in value.items()}


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().clone()


def _digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def _is_writable(dtype: torch.dtype) -> bool:
    try:
        serialised({"x": torch.empty(0, dtype=dtype)})
    except (KeyError, ValueError, RuntimeError, SafetensorError):
        return False
    return True


def fill(module: nn.Module, entries: Mapping[str, Any]) -> None:
    """Load a module's entries, which are those of its present version: some of torchvision's networks ask for it."""
    state = module.state_dict()
    state.clear()  # the versions stay
    state.update(entries)
    module.load_state_dict(state)
