"""Anti-aliasing by surgery: a copy of a network that blurs before it subsamples.

Published by Zhang (2019, arXiv:1904.11486) and Feather et al. (2019); written from their descriptions.

=============================== ==========================================
what subsamples                 what replaces it
=============================== ==========================================
max pool /s                     max pool /1 → blur /s
conv /s → [norm] → activation   conv /1 → [norm] → activation → blur /s
conv /s                         conv /1 → blur /s
conv 1 × 1 /s                   blur /s → conv 1 × 1 /1, which is the same
average pool /s                 blur /s
=============================== ==========================================

The network returns the same shapes; paths of modules and names of weights do not change. Between a convolution and
its blur everything is computed at every sample, so layers there have more samples. A module followed by a blur has
the layers ``PATH.blur`` and, if it is a pooling or an activation function, ``PATH.dense`` before it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from ...framework.domains import blank_signal
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.running import signal_type
from .blur import Blur, Blurred, Grid
from .flow import Flow, record, tensors
from .placing import BlurPosition, blur_position
from .windows import window

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d)
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d)
_OTHERS = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d)
_AXES = {
    1: (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d),
    2: (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d),
    3: (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d),
}
_STRIDE_AT = {"conv": 3, "max_pool": 2, "avg_pool": 2}


@dataclass(frozen=True)
class Replaced:
    """One point at which a network subsamples.

    Parameters
    ----------
    path
        Path of the module; for a function called in code, of the module whose code calls it.
    was
        The original operation.
    now
        The operation that replaces it; None if it was left as it was.
    note
        Reason why it was left, or why the blur does not follow the activation function.
    """

    path: str
    was: str
    now: str | None
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.path or 'the network'}: {self.was} → {self.now or 'left as it is'}{note}"


def antialiased(model: Model, kind: str, keep: Sequence[str] = ()) -> tuple[Model, list[Replaced]]:
    """Make a model whose network blurs before it subsamples, otherwise the same; see `antialias`."""
    device = next((weight.device for weight in model.module.parameters()), torch.device("cpu"))
    signal = blank_signal(model.domain, signal_type(model.module), device)
    module, replaced = antialias(model.module, kind, signal, keep)
    return dataclasses.replace(model, module=module), replaced


def antialias(
    network: nn.Module, kind: str, signals: torch.Tensor, keep: Sequence[str] = ()
) -> tuple[nn.Module, list[Replaced]]:
    """Make a network that blurs before it subsamples, and list where.

    The new network is a copy, with copies of the weights; the original is not changed. Weights have
    the same names, so that those of either network can be loaded into the other.

    The order of the modules is that of one forward pass. Subsampling by a function that is called in code
    (`F.max_pool2d`, a strided `F.conv2d`, an index with a step) cannot be replaced: it is listed and left as it is, and
    so is a module that does not run. An average over the whole signal, and adaptive pooling, do not count as
    subsampling, and are not listed.

    Parameters
    ----------
    network
        The network.
    kind
        ``blur3`` or ``blur5`` (binomial), or ``hann``; see `windows.window`.
    signals
        A batch that the network accepts, ``(B, …)``; its values do not matter.
    keep
        Paths of modules to leave as they are; ``*`` matches anything. The first convolution is the most expensive
        one to compute at every sample: in Zhang's AlexNet it keeps stride 2 before the blur, here it gets stride 1.

    Raises
    ------
    UnknownNameError
        `kind` is unknown.
    MetameryError
        The network is compiled, or does not return the same shapes with its new parts.
    """
    window(kind, 2)
    if any(type(part).__name__ == "OptimizedModule" for part in network.modules()):
        raise MetameryError("a compiled network cannot be anti-aliased: anti-alias it before torch.compile")
    network = _copy(network)
    flow, returned = record(network, signals)
    surgery = _Surgery(network, kind, flow)
    replaced = [*surgery.replace(keep), *_called_in_code(flow)]
    _, now_returned = record(surgery.network, signals)
    shapes, expected = ([tuple(tensor.shape) for tensor in tensors(given)] for given in (now_returned, returned))
    if shapes != expected:
        raise MetameryError(f"{type(network).__name__} returns {shapes} with {kind}, expected {expected} as before")
    return surgery.network, replaced


class _Surgery:
    def __init__(self, network: nn.Module, kind: str, flow: Flow) -> None:
        self.network = network
        self._kind = kind
        self._flow = flow
        self._parts = dict(network.named_modules())
        self._positions = {
            part: blur_position(flow, part)
            for part in self._parts.values()
            if isinstance(part, _CONVOLUTIONS) and max(part.stride) > 1 and flow.calls_of(part)
        }
        self._instead: dict[nn.Module, nn.Module] = {}

    def replace(self, keep: Sequence[str]) -> list[Replaced]:
        """Replace all modules that subsample; return them in the network's order."""
        parts = self._parts
        # A convolution's blur may be attached to a pooling, so the poolings are replaced first.
        order = sorted(parts, key=lambda path: isinstance(parts[path], _CONVOLUTIONS))
        found = {path: self._treat(path, parts[path], keep) for path in order}
        return [entry for path in parts if (entry := found[path]) is not None]

    def _treat(self, path: str, part: nn.Module, keep: Sequence[str]) -> Replaced | None:
        if isinstance(part, torch.jit.ScriptModule):
            inside = isinstance(self._parts.get(path.rpartition(".")[0]), torch.jit.ScriptModule) and path
            return None if inside else Replaced(path, "TorchScript", None, "its modules cannot be replaced")
        if not isinstance(part, _CONVOLUTIONS + _MAXIMA + _AVERAGES + _OTHERS) or max(_sizes(part, "stride")) == 1:
            return None
        was = _describe(part)
        if any(fnmatchcase(path, pattern) for pattern in keep):
            return Replaced(path, was, None, "kept on request")
        if isinstance(part, _OTHERS):
            return Replaced(path, was, None, "no blur is available for it")
        if not self._flow.calls_of(part):
            return Replaced(path, was, None, "it does not run in a forward pass")
        if isinstance(part, _CONVOLUTIONS):
            return self._convolution(path, part, was)
        return self._maximum(path, part, was) if isinstance(part, _MAXIMA) else self._average(path, part, was)

    def _convolution(self, path: str, part: nn.Conv1d | nn.Conv2d, was: str) -> Replaced:
        strides = _sizes(part, "stride")
        grids = [Grid(stride) for stride in strides]
        if not self._fits(part, _dense(part), grids):
            return Replaced(path, was, None, "with a stride of 1 and a blur, its output has another shape")
        at = self._positions[part]
        part.stride = (1,) * len(strides)
        blur = f"{self._kind} {_slash(strides)}"
        if at.after is not None:
            self._blur_after(at.after, grids)
        for taker in at.before:
            self._attach(self._instead.get(taker, taker), "blur_input", grids)
        if at.before == (part,):
            return Replaced(path, was, f"{blur} → {_describe(part)}")
        return Replaced(path, was, f"{_describe(part)} → {_where(at)}{blur}", at.why)

    def _maximum(self, path: str, part: nn.MaxPool1d | nn.MaxPool2d, was: str) -> Replaced:
        if part.return_indices:
            return Replaced(path, was, None, "it returns the indices of its maxima")
        kernel, padding, dilation = (_sizes(part, name) for name in ("kernel_size", "padding", "dilation"))
        strides = _sizes(part, "stride")
        reach = [d * (k - 1) - p for k, p, d in zip(kernel, padding, dilation, strict=True)]
        grids = [Grid(s, beyond=r if part.ceil_mode else None) for s, r in zip(strides, reach, strict=True)]
        dense = _dense(part)
        if not self._fits(part, dense, grids):
            return Replaced(path, was, None, "with a stride of 1 and a blur, its output has another shape")
        self._swap(part, Blurred(dense, self._blur(grids, part)))
        return Replaced(path, was, f"{_describe(dense)} → {self._kind} {_slash(strides)}")

    def _average(self, path: str, part: nn.AvgPool1d | nn.AvgPool2d, was: str) -> Replaced | None:
        kernel, padding, strides = (_sizes(part, name) for name in ("kernel_size", "padding", "stride"))
        spaces = [call.given_shape[-len(strides) :] for call in self._flow.calls_of(part)]
        if all(k >= length for space in spaces for k, length in zip(kernel, space, strict=True)):
            return None
        if getattr(part, "divisor_override", None) is not None:
            return Replaced(path, was, None, "it has a divisor override")
        plain = [Grid(s, k, p, p if part.ceil_mode else None) for s, k, p in zip(strides, kernel, padding, strict=True)]
        grids = next((g for g in (plain, [Grid(s) for s in strides]) if self._fits(part, nn.Identity(), g)), None)
        if grids is None:
            return Replaced(path, was, None, "the output of a blur has another shape")
        self._swap(part, self._blur(grids, part))
        return Replaced(path, was, f"{self._kind} {_slash(strides)}")

    def _fits(self, part: nn.Module, dense: nn.Module, grids: Sequence[Grid]) -> bool:
        """Whether `dense` and a blur return the shapes that a module returned in the recorded pass."""
        dense = _copy(dense).to("meta")
        vars(dense).update({name: value.to("meta") for name, value in _attributes(dense).items()})
        dense._forward_pre_hooks.clear()
        dense._forward_hooks.clear()
        for call in self._flow.calls_of(part):
            try:
                space = dense(torch.empty(call.given_shape, device="meta")).shape[-len(grids) :]
            except RuntimeError:
                return False
            if (
                tuple(grid.count(length) for grid, length in zip(grids, space, strict=True))
                != call.shape[-len(grids) :]
            ):
                return False
        return True

    def _blur(self, grids: Sequence[Grid], near: nn.Module) -> Blur:
        weight = next(
            iter([*near.parameters(), *self.network.parameters()]), torch.empty(0, dtype=torch.float32, device="cpu")
        )
        return Blur(self._kind, grids).to(weight.device).train(near.training)

    def _blur_after(self, part: nn.Module, grids: Sequence[Grid]) -> None:
        part = self._instead.get(part, part)
        if any(True for _ in part.parameters()) or any(True for _ in part.children()):
            self._attach(part, "blur", grids)
        else:
            self._swap(part, Blurred(part, self._blur(grids, part)))

    def _attach(self, part: nn.Module, name: str, grids: Sequence[Grid]) -> None:
        part.add_module(name, self._blur(grids, part))
        if name == "blur":
            part.register_forward_hook(_blur_result)
        else:
            part.register_forward_pre_hook(_blur_first)

    def _swap(self, part: nn.Module, new: nn.Module) -> None:
        self._instead[part] = new
        new.training = part.training
        if part is self.network:
            self.network = new
            return
        for parent in [parent for parent in self.network.modules() if parent is not new]:
            for name in [name for name, child in parent._modules.items() if child is part]:
                setattr(parent, name, new)


# Functions, not closures: a deep copy of the network then calls its own submodule.
def _blur_result(part: nn.Module, _arguments: Any, result: torch.Tensor) -> Any:
    return part.get_submodule("blur")(result)


def _blur_first(part: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (part.get_submodule("blur_input")(arguments[0]), *arguments[1:])


def _copy(network: nn.Module) -> Any:
    """Copy a network, also one with computed tensors as attributes: kept activations, `weight_norm`'s weight."""
    computed = {id(value): value.detach().clone() for part in network.modules() for value in _attributes(part).values()}
    with torch.no_grad():  # otherwise copies of TorchScript's weights would depend on the originals
        copied = copy.deepcopy(network, computed)
    for weight, original in zip(copied.parameters(), network.parameters(), strict=True):
        weight.requires_grad_(original.requires_grad)
    return copied


def _attributes(part: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(part).items() if isinstance(value, torch.Tensor)}


def _dense(part: nn.Module) -> Any:
    """Copy a convolution or pooling, with a stride of 1."""
    dense = _copy(part)
    dense.stride = 1 if isinstance(dense.stride, int) else (1,) * len(dense.stride)
    if isinstance(dense, _MAXIMA):
        dense.ceil_mode = False
    return dense


def _called_in_code(flow: Flow) -> list[Replaced]:
    """List subsampling by functions called in code, outside the modules that surgery knows."""
    found = []
    for operation in flow.operations:
        caller = flow.calls[operation.caller]
        if isinstance(caller.part, _CONVOLUTIONS + _MAXIMA + _AVERAGES + _OTHERS + (Blur,)):
            continue
        if strides := _strides_of(operation.name, operation.arguments, operation.options):
            was = f"{operation.name} {_slash(strides)}"
            found.append(Replaced(caller.path, was, None, "a function called in code is not a module"))
    return list(dict.fromkeys(found))


def _strides_of(name: str, arguments: tuple[Any, ...], options: Any) -> tuple[int, ...]:
    """Return the strides of a call, if one of them is above 1."""
    strides: Any = ()
    if name == "__getitem__":
        index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
        strides = tuple(part.step for part in index if isinstance(part, slice) and isinstance(part.step, int))
    elif (family := name.removesuffix("_with_indices").rstrip("123d")) in _STRIDE_AT:
        at = _STRIDE_AT[family]
        kernel = options.get("kernel_size", arguments[1] if at == 2 and len(arguments) > 1 else 1)
        strides = options.get("stride", arguments[at] if len(arguments) > at else None) or kernel
        strides = (strides,) if isinstance(strides, int) else tuple(strides)
    return strides if any(stride > 1 for stride in strides) else ()


def _sizes(part: nn.Module, name: str) -> tuple[int, ...]:
    """Return one of a module's settings along each axis."""
    value: Any = getattr(part, name, 1)
    if value is None:  # LPPool's stride
        return _sizes(part, "kernel_size")
    axes = next(n for n, kinds in _AXES.items() if isinstance(part, kinds))
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)


def _slash(strides: Sequence[int]) -> str:
    return "/" + "×".join(map(str, strides if len(set(strides)) > 1 else strides[:1]))


def _describe(part: nn.Module) -> str:
    kernel = "×".join(map(str, _sizes(part, "kernel_size")))
    return f"{type(part).__name__} {kernel} {_slash(_sizes(part, 'stride'))}"


def _where(at: BlurPosition) -> str:
    paths = ", ".join(f"'{path}'" for path in at.paths)
    if at.before:
        return f"before {paths}: "
    return f"after {paths}: " if paths else ""
