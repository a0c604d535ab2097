"""Record of one forward pass: every function and every module that is called, with its inputs and outputs.

The module tree does not show which module uses which result. `record` runs the network once: forward hooks record the
modules, a `TorchFunctionMode` records the functions that are called between them. Values are numbered; an in-place
operation makes a new value of the same tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ...framework.running import frozen


@dataclass
class Operation:
    """One call of one of torch's functions; `caller` is the index of the innermost module in `Flow.calls`."""

    name: str
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    caller: int
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass
class Call:
    """One call of a module.

    Parameters
    ----------
    path, part
        Path of the module, and the module itself.
    parent
        Index of the calling module in `Flow.calls`; −1 for the network itself.
    takes, first
        Values it was given, and the value of its first argument.
    begin, end
        Range of its operations: ``flow.operations[begin:end]``.
    gives
        Values it returned; `result` if it returned a single tensor.
    given_shape, shape
        Shapes of the first argument and of the result, where they are tensors.
    """

    path: str
    part: nn.Module
    parent: int
    takes: tuple[int, ...]
    first: int | None
    begin: int
    end: int = -1
    gives: tuple[int, ...] = ()
    result: int | None = None
    given_shape: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass
class Flow:
    """One forward pass."""

    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def users(self, value: int) -> list[int]:
        """Return the indices of the operations that take a value."""
        return [index for index, operation in enumerate(self.operations) if value in operation.takes]

    def calls_of(self, part: nn.Module) -> list[Call]:
        return [call for call in self.calls if call.part is part]


def record(network: nn.Module, signals: torch.Tensor) -> tuple[Flow, torch.Tensor]:
    """Run a network in eval mode on signals ``(B, …)``; return the flow and the network's output."""
    recorder = _Recorder()
    with ExitStack() as stack:
        stack.enter_context(frozen(network))
        stack.enter_context(torch.no_grad())
        for path, part in network.named_modules():
            if not isinstance(part, torch.jit.ScriptModule):
                before = part.register_forward_pre_hook(recorder.enter(path), prepend=True, with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(part.register_forward_hook(recorder.leave).remove)
        stack.enter_context(recorder)
        returned = network(signals)
    return recorder.flow, returned


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self._stack: list[int] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # keeps the tensors, so that no `id` is used twice

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        takes = self._known((args, kwargs))
        result = func(*args, **(kwargs or {}))
        if made := list(tensors(result)):
            name = getattr(func, "__name__", "")
            caller = self._stack[-1] if self._stack else -1
            gives = tuple(self._number(tensor) for tensor in made)
            self.flow.operations.append(Operation(name, takes, gives, caller, args, kwargs or {}))
        return result

    def enter(self, path: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = args[0] if args and isinstance(args[0], torch.Tensor) else None
            first = None if given is None else self._known(given)[0]
            parent = self._stack[-1] if self._stack else -1
            call = Call(path, part, parent, self._known((args, kwargs)), first, len(self.flow.operations))
            call.given_shape = () if given is None else tuple(given.shape)
            self._stack.append(len(self.flow.calls))
            self.flow.calls.append(call)

        return hook

    def leave(self, _part: nn.Module, _arguments: Any, returned: Any) -> None:
        call = self.flow.calls[self._stack.pop()]
        call.end = len(self.flow.operations)
        call.gives = self._known(returned)
        if isinstance(returned, torch.Tensor):
            call.result, call.shape = call.gives[0], tuple(returned.shape)

    def _known(self, given: Any) -> tuple[int, ...]:
        return tuple(
            self._numbers[id(tensor)] if id(tensor) in self._numbers else self._number(tensor)
            for tensor in tensors(given)
        )

    def _number(self, tensor: torch.Tensor) -> int:
        self._alive.append(tensor)
        self._numbers[id(tensor)] = len(self._alive)
        return len(self._alive)


def tensors(given: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    if isinstance(given, torch.Tensor):
        yield given
    elif isinstance(given, Mapping):
        for value in given.values():
            yield from tensors(value)
    elif isinstance(given, tuple | list):
        for value in given:
            yield from tensors(value)
