"""Checkpoints: everything that a training goes on from, in one file that holds tensors and text and can run no code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..framework.errors import MetameryError

_STATE = "state"


def save(path: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a state (numbers, text, lists and mappings of them) in one step: whole or not at all.

    Raises
    ------
    MetameryError
        The file cannot be written; an earlier one is left as it was.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    partial = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(descriptor)
        save_file(plain, partial, {_STATE: json.dumps(state)})
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        Path(partial or "/nonexistent").unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise MetameryError(f"cannot write to '{path.parent}': {reason}") from error


def clear(folder: Path) -> None:
    """Remove what a killed writer left half written."""
    for leftover in folder.glob(".*.safetensors.*.partial"):
        leftover.unlink()


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save` wrote.

    Raises
    ------
    MetameryError
        There is no such file, or it is no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            state = json.loads((file.metadata() or {})[_STATE])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise MetameryError(f"no checkpoint in '{path}': {error}") from None
    return tensors, state


def flattened(optimizer: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Take an optimizer's state apart into tensors, by ``PLACE.NAME``, and what can be written as text."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for place, values in optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{place}.{name}"] = value
            else:
                numbers[f"{place}.{name}"] = value
    return tensors, {"numbers": numbers, "groups": optimizer["param_groups"]}


def joined(tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """Put together what `flattened` took apart."""
    values: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *state["numbers"].items()]:
        place, _, name = key.partition(".")
        values.setdefault(int(place), {})[name] = value
    return {"state": values, "param_groups": state["groups"]}
