"""Pickles read as data, for weights in PyTorch's files: nothing is imported and nothing called, so nothing can run.

The opcodes are interpreted here instead of by `pickle`. Numbers, text and the built-in containers become themselves; a
class or function becomes a `Global`, its name; and what it would have made an `Inert`, which keeps what it was given.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from .errors import MetameryError


@dataclass(frozen=True)
class Global:
    """The name of a class or function."""

    module: str
    name: str


@dataclass(frozen=True)
class Persistent:
    """A reference to something outside the pickle, such as the storage of a tensor."""

    id: Any


@dataclass(eq=False)
class Inert:
    """What a class or function would have made.

    Parameters
    ----------
    function
        The `Global` that would have been called, or another `Inert`.
    arguments
        What it would have been called with.
    state
        What it would have been given as its state: for an object its attributes.
    items
        What would have been appended, added or set, keys as pairs with their values.
    """

    function: Any
    arguments: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


class NotReadableError(MetameryError):
    """The pickle is damaged, or uses what no file of tensors needs."""


def read_pickle(file: BinaryIO) -> Any:
    """Read one pickle, and leave the file behind it.

    Memory is bounded by a multiple of the pickle's length. References may be shared: whoever walks the result visits
    each container once.

    Raises
    ------
    NotReadableError
        The pickle is damaged, or refers to extensions or buffers outside of it.

    >>> import io, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3, "kind": print})))
    {'epoch': 3, 'kind': Global(module='builtins', name='print')}
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.stack[-1]
            machine.do(opcode.name, argument)
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        MemoryError,
        OverflowError,
    ) as e:
        raise NotReadableError(f"damaged pickle: {e or type(e).__name__}") from None
    raise NotReadableError("damaged pickle: it does not end")


_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError, OverflowError)
_MARK = object()
_SKIPPED = {"PROTO", "FRAME"}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_CONTAINERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): dict,
    ("collections", "defaultdict"): lambda *_factory: {},
    ("torch", "Size"): tuple,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (list, dict, tuple, set, frozenset)
    },
}


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        if name in _SKIPPED:
            return
        if name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif (step := getattr(self, f"_{name.lower()}", None)) is not None:
            step(argument)
        elif name.startswith(_VALUES):
            self.stack.append(argument)
        else:
            raise NotReadableError(f"the pickle uses {name}, which no file of tensors needs")

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1  # below 0, an IndexError
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: None) -> None:
        self.stack.pop()

    def _pop_mark(self, _: None) -> None:
        self._marked()

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def _list(self, _: None) -> None:
        self.stack.append(self._marked())

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self._marked()))

    def _frozenset(self, _: None) -> None:
        self.stack.append(frozenset(self._marked()))

    def _dict(self, _: None) -> None:
        items = self._marked()
        self.stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _some(self, count: int) -> None:
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def _tuple1(self, _: None) -> None:
        self._some(1)

    def _tuple2(self, _: None) -> None:
        self._some(2)

    def _tuple3(self, _: None) -> None:
        self._some(3)

    def _append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._marked())

    def _additems(self, _: None) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(items)
        else:
            (target.items if isinstance(target, Inert) else target).extend(items)

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([(key, value)])

    def _setitems(self, _: None) -> None:
        items = self._marked()
        self._set(list(zip(items[::2], items[1::2], strict=True)))

    def _set(self, items: list[tuple[Any, Any]]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items.extend(items)
        else:
            target.update(items)

    def _global(self, argument: str) -> None:
        self.stack.append(Global(*argument.split(" ", 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(str(module), str(name)))

    def _reduce(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_made(function, tuple(arguments)))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        named, arguments, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(Inert(function, (*arguments, named)))

    def _inst(self, argument: str) -> None:
        self.stack.append(Inert(Global(*argument.split(" ", 1)), tuple(self._marked())))

    def _obj(self, _: None) -> None:
        function, *arguments = self._marked()
        self.stack.append(_made(function, tuple(arguments)))

    def _build(self, _: None) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _binget = _long_binget = _get

    def _persid(self, argument: str) -> None:
        self.stack.append(Persistent(argument))

    def _binpersid(self, _: None) -> None:
        self.stack.append(Persistent(self.stack.pop()))


_VALUES = (
    "INT", "BININT", "LONG", "STRING", "BINSTRING", "SHORT_BIN", "UNICODE", "BINUNICODE", "BINBYTES", "BYTEARRAY",
    "FLOAT", "BINFLOAT",
)  # fmt: skip
"""How the names of those opcodes begin whose argument is a value."""


def _made(function: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(function, Global):
        return Inert(function, arguments)
    where = (function.module, function.name)
    if where in _CONTAINERS:
        return _CONTAINERS[where](*arguments)
    if where == ("_codecs", "encode") and len(arguments) == 2 and arguments[1] == "latin1":
        return str(arguments[0]).encode("latin1")
    if function.name == "bytes" and not arguments:
        return b""
    return Inert(function, arguments)
