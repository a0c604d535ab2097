"""Layers of any module, by name: reading their activations, and stopping there.

A layer is a module's path, as `torch.nn.Module.named_modules` gives it. ``name@2`` is the module's second call in a
pass, ``name[0]`` and ``name['key']`` an element of what it returns. ``input`` is the signal itself, ``output`` what
the network returns, and ``output.logits`` or ``output.1`` a part of that, if it is a mapping, dataclass or tuple.
Sums such as ``conv1 + conv3`` are joint layers (`terms_of`). The network's code is not touched: forward hooks read the
activations while a `Tap` is open.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import CheckpointFunction

from .errors import MetameryError, unknown
from .joint import single_layers, terms_of

_KEY = r"\[(?:\d+|'[^']*'|\"[^\"]*\")\]"
_NAME = re.compile(rf"(?P<path>[^@\[\]'\"\s]+)(?:@(?P<call>[1-9]\d*))?(?P<keys>(?:{_KEY})*)")


@dataclass(frozen=True)
class LayerName:
    """The parsed name of a layer.

    >>> LayerName.parse("encoder.attention@2[0]")
    LayerName(path='encoder.attention', call=2, keys=(0,))
    >>> str(_)
    'encoder.attention@2[0]'
    """

    path: str
    call: int = 1
    keys: tuple[int | str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LayerName:
        """Parse a name.

        Raises
        ------
        MetameryError
            The text is not a layer's name.
        """
        if not (match := _NAME.fullmatch(text)):
            raise MetameryError(
                f"'{text}' is not a layer name: expected a module path, optionally with @CALL, [INDEX] or ['KEY']"
            )
        keys = tuple(ast.literal_eval(key[1:-1]) for key in re.findall(_KEY, match["keys"]))
        return cls(match["path"], int(match["call"] or 1), keys)

    def within(self, module: nn.Module) -> LayerName:
        """Return the name with the parts of a network's output as keys, unless it is a module's path.

        >>> LayerName.parse("output.hidden_states.3").within(nn.ReLU())
        LayerName(path='output', call=1, keys=('hidden_states', 3))
        """
        first, *parts = self.path.split(".")
        if first != "output" or not parts or "output" in module._modules:
            return self
        return LayerName(first, self.call, (*(int(part) if part.isdecimal() else part for part in parts), *self.keys))

    def __str__(self) -> str:
        call = f"@{self.call}" if self.call > 1 else ""
        return self.path + call + "".join(f"[{key!r}]" for key in self.keys)

    def pick(self, output: Any) -> torch.Tensor:
        """Return the tensor that this name selects from the module's output.

        Raises
        ------
        MetameryError
            There is no such element, or it is not a tensor.
        """
        for key in self.keys:
            try:
                output = elements(output)[key]
            except (KeyError, IndexError, TypeError):
                raise MetameryError(f"layer '{self}': no element {key!r} in {_describe(output)}") from None
        if not isinstance(output, torch.Tensor):
            raise MetameryError(
                f"layer '{self}' returns {_describe(output)}, expected a tensor: name an element, such as '{self}[0]'"
            )
        return output


@dataclass(frozen=True)
class BatchAxis:
    """The dimension of an activation that has the signals of a batch, if not its first.

    Parameters
    ----------
    dim
        Index of the dimension.
    inner
        Whether the rows of one signal alternate with those of the others, if that dimension holds several for each.
    dropped
        Whether the dimension is missing if there is only one signal, as after ``.squeeze()``.
    """

    dim: int
    inner: bool = False
    dropped: bool = False

    def first(self, activation: torch.Tensor, signals: int) -> torch.Tensor:
        """Return the activation of some signals, moved to ``(B, …)`` with at least two dimensions.

        >>> tuple(BatchAxis(1).first(torch.zeros(49, 2, 16), 2).shape)
        (2, 49, 16)
        """
        if activation.ndim == 1 and not self.dropped:
            return activation[:, None]  # one number for each signal
        if self.dropped:
            rows = activation[None] if signals == 1 else activation.movedim(self.dim, 0)
            return rows[:, None] if rows.ndim == 1 else rows
        each = activation.shape[self.dim] // signals
        if each == 1:
            return activation.movedim(self.dim, 0)
        if self.inner:
            return self._unfolded(activation, each, signals).movedim(self.dim + 1, 0)
        return self._unfolded(activation, signals, each).movedim(self.dim, 0)

    def _unfolded(self, activation: torch.Tensor, outer: int, inner: int) -> torch.Tensor:
        shape = activation.shape
        return activation.reshape(*shape[: self.dim], outer, inner, *shape[self.dim + 1 :])


def elements(output: Any) -> Any:
    """Return what has the elements of an output by key or index: of a dataclass or namedtuple, a mapping of its fields.

    >>> from typing import NamedTuple
    >>> elements(NamedTuple("Found", [("logits", int)])(3))["logits"], elements([4, 5])[1]
    (3, 5)
    """
    if isinstance(output, Mapping):
        return output
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return {**dict(enumerate(output)), **output._asdict()}
    return output


class _Stop(BaseException):
    """Ends a forward pass whose activations have all been read; no network's `except Exception` catches it."""


class PartRead(BaseException):
    """Ends the pass through a part of a network, whose layers have all been read; the network continues with the next.

    It is raised in the parts that a module lists as ``independent_parts``, names of submodules, and only where a `Tap`
    stops; the module catches it.
    """


class Tap:
    """Reads the activations of named layers while a module runs.

    Use it as a context manager; while it is open, ``tap(signals)`` runs the module and returns the activations.
    The pass stops once the last of them has been read. Grad mode and training flags are restored after each pass,
    also when it raises, and the hooks are removed when the tap closes.

    An activation that a later in-place operation changed is read again in a second pass, as a copy, so the result is
    always what the layer returned. That of a joint layer is the activations of its terms, flattened and concatenated.

    Parameters
    ----------
    module
        The network.
    names
        Names of the layers to read.
    stop
        Whether to stop after the last of them; otherwise the pass continues to the end.
    axes
        Batch axes of layers that do not have the batch in their first dimension (`Model.tap` sets them).

    Raises
    ------
    MetameryError
        A name is malformed or does not name a module (the message has the nearest name that does), or the layer is
        inside a TorchScript or compiled module, where forward hooks do not run.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with Tap(network, ["0", "output"]) as tap:
    ...     activations = tap(torch.ones(1, 2))
    >>> {name: tuple(activation.shape) for name, activation in activations.items()}
    {'0': (1, 3), 'output': (1, 3)}
    """

    def __init__(
        self,
        module: nn.Module,
        names: Sequence[str],
        *,
        stop: bool = True,
        axes: Mapping[str, BatchAxis] | None = None,
    ) -> None:
        self._module = module
        self._axes = axes or {}
        self._joined = tuple(names)
        self._names = {text: LayerName.parse(text).within(module) for text in single_layers(names)}
        self._wanted: dict[tuple[str, int], list[str]] = {}
        for text, name in self._names.items():
            if name.path not in ("input", "output"):
                _check_path(module, text, name.path)
                self._wanted.setdefault((name.path, name.call), []).append(text)
        self._stops = stop and not any(name.path == "output" for name in self._names.values())
        self._parts = tuple(getattr(module, "independent_parts", ())) if self._stops else ()
        self._copied: set[str] = set()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._running = False
        self._calls: dict[str, int] = {}
        self._read: dict[str, torch.Tensor] = {}
        self._versions: dict[str, int] = {}
        self._output: Any = None

    def __enter__(self) -> Self:
        modules = dict(self._module.named_modules(remove_duplicate=False))
        for path in {path for path, _ in self._wanted}:
            hook = modules[path].register_forward_hook(self._hook(path))
            self._handles.append(hook)
        if any(name.path == "output" and name.keys for name in self._names.values()):
            self._handles.append(self._module.register_forward_hook(self._record_output, prepend=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __call__(self, signals: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the module on signals ``(B, …)`` and return ``{name: activation (B, …)}`` in the order of the names.

        Raises
        ------
        MetameryError
            A layer was not reached, did not return a tensor, or is under reentrant checkpointing.
        """
        self._pass(signals)
        if changed := {text for text, version in self._versions.items() if self._read[text]._version != version}:
            self._copied |= changed
            self._pass(signals)
        if missing := [text for text in self._names if text not in self._read]:
            name = self._names[missing[0]]
            calls = self._calls.get(name.path, 0)
            raise MetameryError(
                f"layer '{missing[0]}' was not reached: '{name.path}' runs {calls} times in a forward pass"
            )
        read, self._read, self._versions = self._read, {}, {}
        for text, activation in read.items():
            if activation.is_inference():  # also as a copy that was made in inference mode
                read[text] = activation.clone()
        for text in self._axes.keys() & read.keys():
            read[text] = self._axes[text].first(read[text], len(signals))
        return {text: read[text] if text in read else _concatenated(text, read) for text in self._joined}

    def _pass(self, signals: torch.Tensor) -> None:
        self._calls, self._read, self._versions = {}, {}, {}
        for text, name in self._names.items():
            if name.path == "input":
                self._keep(text, name, signals)
        if len(self._read) == len(self._names) and self._stops:
            return
        training = [(module, module.training) for module in self._module.modules()]
        self._running = True
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled()):
                output = self._module(signals)
        except _Stop:
            return
        finally:
            self._running = False
            for module, flag in training:
                module.training = flag
        for text, name in self._names.items():
            if name.path == "output":
                self._keep(text, name, self._output if name.keys else output)
        self._output = None

    def _record_output(self, _module: nn.Module, _arguments: Any, output: Any) -> None:
        self._output = output  # as the network returns it, before any other hook

    def _hook(self, path: str) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            if not self._running:  # a checkpoint's recomputation, or a pass outside this tap
                return
            self._calls[path] = call = self._calls.get(path, 0) + 1
            texts = self._wanted.get((path, call), ())
            for text in texts:
                self._keep(text, self._names[text], output)
            if texts and self._stops and len(self._read) == len(self._names):
                raise _Stop
            if texts and (part := path.partition(".")[0]) in self._parts and self._has_read(part):
                raise PartRead

        return hook

    def _has_read(self, part: str) -> bool:
        return all(text in self._read for text, name in self._names.items() if name.path.partition(".")[0] == part)

    def _keep(self, text: str, name: LayerName, output: Any) -> None:
        activation = name.pick(output)
        if not torch.is_grad_enabled() and _in_reentrant_checkpoint():
            raise MetameryError(
                f"layer '{text}' is under reentrant checkpointing, which hides it from autograd: "
                "use checkpoint(…, use_reentrant=False)"
            )
        if text in self._copied or activation.is_inference():  # inference tensors have no version
            activation = activation.clone()
        else:
            self._versions[text] = activation._version
        self._read[text] = activation


def before_relu(activation: torch.Tensor) -> torch.Tensor | GradientEdge:
    """Return the point in the autograd graph where a gradient with respect to `activation` should be inserted.

    This is the modified ReLU of Feather et al. (2023, Methods): if the activation is the result of a ReLU, the
    backward pass of that one call is the identity, so that inactive units also get gradients. A gradient that passes
    through the identity arrives unchanged at the ReLU's input; inserting it *there* is therefore equivalent, and
    neither the network nor the forward pass is changed. It works for `nn.ReLU`, `F.relu`, their in-place forms and
    ReLU6 alike, since it looks at the graph, not at the code. Any other activation is returned as it is.
    """
    if is_relu(activation):
        node, index = activation.grad_fn.next_functions[0]  # type: ignore[union-attr]
        assert node is not None
        return GradientEdge(node, index)
    return activation


def is_relu(activation: torch.Tensor) -> bool:
    """Whether the last operation on `activation`, computed with grad enabled, was a ReLU or ReLU6."""
    node = activation.grad_fn
    if node is None:
        return False
    return node.name() == "ReluBackward0" or (
        node.name() == "HardtanhBackward0" and node._saved_min_val == 0  # type: ignore[attr-defined]
    )


def _concatenated(joint: str, read: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([read[term.layer].flatten(1) for term in terms_of(joint)], dim=1)


def _check_path(module: nn.Module, text: str, path: str) -> None:
    inside = module
    walked: list[str] = []
    for part in ["", *path.split(".")]:
        if part:
            if (child := inside._modules.get(part)) is None:
                paths = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
                raise unknown("layer", text, ["input", *paths, "output"])
            inside = child
            walked.append(part)
        kind = type(inside).__name__
        if isinstance(inside, torch.jit.ScriptModule) or kind == "OptimizedModule":
            what = "a compiled module" if kind == "OptimizedModule" else "a TorchScript module"
            where = ".".join(walked) or "the network"
            raise MetameryError(
                f"layer '{text}': {where} is {what}, whose layers cannot be read; use the plain nn.Module"
            )


def _in_reentrant_checkpoint() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is CheckpointFunction.forward.__code__:
            return True
        if frame.f_code is Tap._pass.__code__:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _describe(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a mapping with the keys {', '.join(map(repr, output))}"
    if isinstance(named := elements(output), Mapping):
        listed = ", ".join(repr(key) for key in named if isinstance(key, str))
        return f"a {type(output).__name__} with the fields {listed}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"
