"""Hooks at both ends of a network that correct its input and its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .errors import MetameryError
from .layers import BatchAxis, elements


class Outlet:
    """A hook that takes the logits out of a network's output, puts the batch first, and widens 16 bits to 32."""

    def __init__(self) -> None:
        self.note: str | None = None
        self.axis: BatchAxis | None = None

    def __call__(self, _module: nn.Module, arguments: Any, output: Any) -> Any:
        logits, where = logits_in(output)
        if logits is None:
            raise MetameryError(
                f"the network returns {where}, expected logits (B, classes), or an element named 'logits': wrap it"
            )
        if where:
            self.note = f"the network's logits are taken to be {where}"
        if logits.dtype in (torch.half, torch.bfloat16) and not torch.is_autocast_enabled(logits.device.type):
            logits = logits.float()
        return logits if self.axis is None else self.axis.first(logits, len(arguments[0]))


def logits_in(output: Any) -> tuple[Any, str]:
    """Return the logits in a network's output, or None if they cannot be identified, and a text on where they are."""
    if isinstance(output, torch.Tensor):
        return output, ""
    found = elements(output)
    named = {key: value for key, value in found.items() if isinstance(key, str)} if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if "logits" in tensors:
        return tensors["logits"], "'logits'"
    if len(tensors) == 1:
        name, tensor = next(iter(tensors.items()))
        return tensor, f"'{name}', its only tensor"
    if not named and isinstance(output, tuple | list) and output and isinstance(output[0], torch.Tensor):
        return output[0], f"the first element of its {type(output).__name__}"
    return None, f"{type(output).__name__}" + (f" with {', '.join(map(repr, named))}" if named else "")


def copied(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Pass a copy of the input to a network that changes it in place, as a forward pre-hook."""
    return (arguments[0].clone(), *arguments[1:])


def widened(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert the input to double precision for a network in double precision, as a forward pre-hook."""
    return (arguments[0].double(), *arguments[1:])


def remove_hooks(module: nn.Module) -> None:
    """Remove the hooks of an earlier examination, perhaps of another `Model` of the same network."""
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for number, hook in list(hooks.items()):
            if isinstance(hook, Outlet) or hook in (copied, widened):
                del hooks[number]
