"""The outline of a network: its layers in the order of a forward pass, with shapes and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from .domains import Domain, blank_signal
from .layers import elements, is_relu
from .normalisation import Normalise
from .running import frozen

_PART = re.compile(r"\w+")


@dataclass(frozen=True)
class LayerOutline:
    """One layer of one signal's forward pass.

    Parameters
    ----------
    name
        Name, as `LayerName` parses it; a module that runs several times has one for each call.
    kind
        Class of the module.
    shape
        Shape of one signal's activation, without the batch dimension; None if the module does not return a tensor.
    units
        Number of elements of the activation.
    ends_in_relu
        Whether the activation is the result of a ReLU, to which the modified ReLU applies.
    kept_bytes
        Bytes that autograd keeps, per signal, for a backward pass from this layer to the signal with frozen
        weights: the memory of synthesis at this layer for each signal of a batch, apart from temporary copies.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    units: int
    ends_in_relu: bool
    kept_bytes: int


def outline(module: nn.Module, domain: Domain, signal: torch.Tensor | None = None) -> list[LayerOutline]:
    """Run one signal through a network and list its layers, ``input`` first and ``output`` last.

    The network is run in eval mode with frozen weights and left as it was.

    Parameters
    ----------
    signal
        Signal ``(1, …)``, on the network's device and of its type; grey or silent by default.
    """
    weights = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}
    calls: dict[str, int] = {}
    layers: list[LayerOutline] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    def add(name: str, kind: str, output: Any) -> None:
        tensor = output if isinstance(output, torch.Tensor) else None
        shape = tuple(tensor.shape[1:]) if tensor is not None else None
        units = tensor[0].numel() if tensor is not None and tensor.ndim else 0
        relu = tensor is not None and is_relu(tensor)
        layers.append(LayerOutline(name, kind, shape, units, relu, sum(kept.values())))

    def hook(path: str) -> Any:
        def read(part: nn.Module, _arguments: Any, output: Any) -> None:
            calls[path] = call = calls.get(path, 0) + 1
            name = path if call == 1 else f"{path}@{call}"
            add(name, type(part).__name__, output)
            for index, element in enumerate(output if isinstance(output, tuple | list) else ()):
                if isinstance(element, torch.Tensor):
                    add(f"{name}[{index}]", type(part).__name__, element)

        return read

    def add_parts(name: str, output: Any) -> None:
        found = elements(output)
        if isinstance(found, torch.Tensor):
            add(name, "part of the output", found)
        elif isinstance(found, Mapping):
            for key, element in found.items():
                if isinstance(key, str) and _PART.fullmatch(key):
                    add_parts(f"{name}.{key}", element)
        elif isinstance(found, tuple | list):
            for index, element in enumerate(found):
                add_parts(f"{name}.{index}", element)

    def read_output(_part: nn.Module, _arguments: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor) and "output" not in module._modules:
            add_parts("output", output)

    alive: list[torch.Tensor] = []  # keeps tensors alive, so that no address is used twice
    if signal is None:
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        signal = blank_signal(domain, dtype, device)
    with ExitStack() as stack:
        stack.enter_context(frozen(module))
        stack.enter_context(torch.enable_grad())
        for path, part in module.named_modules():
            if path and not isinstance(part, torch.jit.ScriptModule):
                stack.callback(part.register_forward_hook(hook(path)).remove)
        stack.callback(module.register_forward_hook(read_output, prepend=True).remove)
        entering = signal.detach().requires_grad_().clone()  # not a leaf, which could not be changed in place
        add("input", type(domain).__name__, entering)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        add("output", type(module).__name__, module(entering))
    return layers


def default_layers(module: nn.Module, domain: Domain) -> tuple[str, ...]:
    """Select the layers of interest of a network that names none: its stages in the order of a forward pass.

    These are its direct children; a container that holds more than half of the network's calls is replaced by its
    own children, repeatedly. Of a convolution, its normalisation and its activation function only the last is
    kept; children that change nothing in eval mode (dropout, flatten, identity) and a `Normalise` are left out; and the
    last one, whose result is the logits, is called ``output``.
    """
    parts = dict(module.named_modules())
    ends = ("input", "output")
    named = [layer for layer in outline(module, domain) if layer.name.partition("@")[0] in parts]
    layers = [layer for layer in named if layer.name not in ends]
    stages = [""]
    while True:
        sizes = {s: sum(layer.name.startswith(f"{s}." if s else "") for layer in layers) for s in stages}
        big = next((s for s in stages if sizes[s] * 2 > len(layers) and list(parts[s].children())), None)
        if big is None:
            break
        at = stages.index(big)
        stages[at : at + 1] = [f"{big}.{name}".lstrip(".") for name, _ in parts[big].named_children()]
    order = [layer.name for layer in layers if layer.name in stages and layer.shape is not None]
    order = [name for name in order if not isinstance(parts[name], nn.Dropout | nn.Flatten | nn.Identity | Normalise)]
    kept = [name for name, after in pairwise(order) if not _continues(parts[after])]
    return (*kept, "output")


def _continues(part: nn.Module) -> bool:
    """Whether a module only completes the one before it: a normalisation or an activation function."""
    modules = ("torch.nn.modules.activation", "torch.nn.modules.batchnorm")
    return type(part).__module__ in modules and not isinstance(part, nn.MultiheadAttention)
