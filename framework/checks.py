"""Checks of settings, options and entries given by users: each has a range, which the error states in one line.

Every check returns the value as a built-in Python type, so that NumPy scalars are accepted and stored like any other
number. Booleans and text are not accepted as numbers; NaN and infinity are always refused.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from .errors import MetameryError, unknown

LARGEST = 2**63 - 1
"""Largest integer that files, arrays and random generators can hold."""

FLOAT32 = 3e38
"""Largest number that is accepted for computations in 32 bits."""

MANY = 10**6
"""Largest number of repetitions of a computation; more would not end in practice."""

SHOWN = 80
"""Number of characters of a value that a message shows."""


def whole(name: str, value: object, least: int = 0, most: int = LARGEST) -> int:
    """Return a whole number from `least` to `most`.

    Raises
    ------
    MetameryError
        The value is not such a number.

    >>> whole("steps", 3, 1)
    3
    """
    if not _is_whole(value) or value < least:  # type: ignore[operator]
        raise wrong(name, value, f"a whole number of at least {least}")
    if value > most:  # type: ignore[operator]
        raise wrong(name, value, f"a whole number of at most {most}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def number(
    name: str,
    value: object,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> float:
    """Return a finite number from `least` to `most`; the bounds `above` and `below` are exclusive.

    Raises
    ------
    MetameryError
        The value is not such a number.

    >>> number("momentum", 0, 0, below=1)
    0.0
    """
    low, high = (least if above is None else above), (most if below is None else below)
    fits = _is_number(value) and least <= value <= most  # type: ignore[operator]
    fits = fits and (above is None or value > above) and (below is None or value < below)  # type: ignore[operator]
    if not fits:
        raise wrong(name, value, _numbers_in(low, high, above is not None, below is not None) + unit)
    return float(value)  # type: ignore[arg-type]


def flag(name: str, value: object) -> bool:
    """Return a boolean, or raise `MetameryError`."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise wrong(name, value, "true or false")
    return bool(value)


def text(name: str, value: object) -> str:
    """Return text, or raise `MetameryError`."""
    if not isinstance(value, str):
        raise wrong(name, value, "text")
    return str(value)


def one_of(name: str, value: object, known: Collection[str]) -> str:
    """Return one of the known names, or raise `MetameryError` with the nearest."""
    if not isinstance(value, str) or value not in known:
        raise unknown(name, str(value)[:SHOWN], known)
    return str(value)


def names(name: str, value: object, example: str = "") -> tuple[str, ...]:
    """Return a list of names, or raise `MetameryError`; a single string is not a list."""
    if not _is_list(value) or not all(isinstance(each, str) for each in value):  # type: ignore[attr-defined]
        raise wrong(name, value, "a list of names" + (f", such as {example}" if example else ""))
    return tuple(str(each) for each in value)  # type: ignore[attr-defined]


def numbers(name: str, value: object, example: str, **bounds: float) -> tuple[float, ...]:
    """Return a list of one or more numbers, each within the bounds of `number`.

    Raises
    ------
    MetameryError
        The value is not such a list.
    """
    if not _is_list(value) or not len(value) or not all(_is_number(each) for each in value):  # type: ignore[arg-type, attr-defined]
        raise wrong(name, value, f"a list of numbers, such as {example}")
    return tuple(number(f"a number in {name}", each, **bounds) for each in value)  # type: ignore[arg-type, attr-defined]


def wrong(name: str, value: object, expected: str) -> MetameryError:
    """Return the error for a value that does not fit.

    >>> str(wrong("steps", 0, "a whole number of at least 1"))
    'steps is 0, expected a whole number of at least 1'
    """
    return MetameryError(f"{name} is {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """Return a representation of a value, shortened to fit on a line."""
    try:
        line = " ".join(repr(value).split())
    except ValueError:  # an integer with more digits than Python prints
        return "a number with thousands of digits"
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def check_types(factory: Callable[..., Any], what: str, options: Mapping[str, Any]) -> None:
    """Check options against the types in a factory's signature; the factory itself checks their ranges.

    Annotations are compared as text; options whose annotation is not among the plain types below are not checked.

    Raises
    ------
    MetameryError
        An option has another type.
    """
    parameters = inspect.signature(factory).parameters
    for name, value in options.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.kind is parameter.VAR_KEYWORD or value is parameter.default:
            continue
        annotation = parameter.annotation
        written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        kinds = [part.strip() for part in written.split(" | ")]
        if all(kind in _KINDS for kind in kinds) and not any(_KINDS[kind][0](value) for kind in kinds):
            expected = " or ".join(_KINDS[kind][1] for kind in kinds if kind != "None")
            raise wrong(f"{what}: {name}", value, expected)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: _is_list(value) and all(check(each) for each in value)  # type: ignore[attr-defined]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_strengths(value: object) -> bool:
    lists = _list_of(_is_number)
    return isinstance(value, Mapping) and all(isinstance(key, str) and lists(each) for key, each in value.items())


def _numbers_in(low: float, high: float, above: bool, below: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    if math.isinf(high) or (high == FLOAT32 and not below):
        return f"a number above {low:g}" if above else f"a number of at least {low:g}"
    if math.isinf(low):
        return f"a number below {high:g}" if below else f"a number of at most {high:g}"
    if above and below:
        return f"a number between {low:g} and {high:g}"
    ends = " (excluding " + " and ".join(f"{end:g}" for end, out in ((low, above), (high, below)) if out) + ")"
    return f"a number from {low:g} to {high:g}" + (ends if above or below else "")


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "None": (lambda value: value is None, "None"),
    "bool": (lambda value: type(value).__name__ in ("bool", "bool_"), "true or false"),
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a finite number"),
    "str": (_is_text, "text"),
    "Path": (lambda value: isinstance(value, PurePath), "a path"),
    "Sequence[str]": (_list_of(_is_text), "a list of names"),
    "Sequence[int]": (_list_of(_is_whole), "a list of whole numbers"),
    "Sequence[float]": (_list_of(_is_number), "a list of numbers"),
    "Mapping[str, Sequence[float]]": (_is_strengths, "a table of lists of numbers"),
}
"""For each annotation, the check of a value and the words for it in a message."""
