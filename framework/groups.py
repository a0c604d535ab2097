"""Names of groups and variables that a store can hold without one replacing another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import chain, count

from .errors import MetameryError

RESERVED = ("stimuli", "models", "history", "zarr.json", "results.zarr")
"""Groups of a study and of a run, and names that Zarr uses; the results of evaluators have other names."""

_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*")
_OWN = re.compile(r"(stimuli|zarr\.json|results\.zarr)(/.*)?|models(/[^/]+)?(/(stimuli|metamers|match)(/.*)?)?")
_NULL = re.compile(r"models/[^/]+/null")
_OF_THEIR_MAKERS = re.compile(r"history|models/[^/]+/null")


def result_name(evaluator: str) -> str:
    """Return the group of an evaluator's results: a single name, also for a member of a family.

    >>> result_name("attacks/PGD")
    'attacks+PGD'
    """
    return evaluator.strip("/").replace("/", "+")


def numbered(name: str, is_taken: Callable[[str], bool], mark: str = "+") -> str:
    """Return a name that is not taken: itself, or ``NAME+2``, or ``NAME+3`` and so on.

    >>> numbered("net", {"net", "net+2"}.__contains__)
    'net+3'
    """
    names = chain([name], (f"{name}{mark}{number}" for number in count(2)))
    return next(each for each in names if not is_taken(each))


def check_result_name(name: str) -> None:
    """Raise `MetameryError` if an evaluator's results cannot be stored under a name."""
    _check_group(name)
    if _folded(name) in RESERVED:
        reserved = ", ".join(RESERVED)
        raise MetameryError(
            f"'{name}' cannot be an evaluator's name, since studies use it themselves; reserved are {reserved}"
        )


def check_addition(path: str) -> None:
    """Raise `MetameryError` if a path cannot name a group, or names one that belongs to the study itself."""
    for part in path.split("/")[2 if _NULL.fullmatch(path) else 0 :]:  # the model's key is not checked
        _check_group(part)
    if _OWN.fullmatch(_folded(path)):
        raise MetameryError(f"'{path}' belongs to the study itself, and cannot be added or replaced")


def check_removal(path: str) -> None:
    """Raise `MetameryError` if a group belongs to the study or the run itself."""
    check_addition(path)
    if _OF_THEIR_MAKERS.fullmatch(_folded(path)):
        raise MetameryError(f"'{path}' belongs to the study or the run itself, and cannot be removed")


def is_replaceable(path: str) -> bool:
    """Whether a group, by its path, may be added, replaced and removed: a result of an evaluator, or a null.

    >>> is_replaceable("models/net/null"), is_replaceable("accuracy"), is_replaceable("models/net/match")
    (True, True, False)
    """
    return bool(path) and not _OWN.fullmatch(_folded(path))


def check_variables(names: Iterable[object]) -> None:
    """Raise `MetameryError` if variables and coordinates cannot be stored in one group."""
    known: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise MetameryError(f"variable {name!r}: expected a name that is text")
        if not name or "/" in name or "\0" in name or name.startswith((".", "__")) or _folded(name) in RESERVED[3:]:
            raise MetameryError(
                f"variable '{name}': expected a name without '/', other than '{RESERVED[3]}', not beginning with '.'"
            )
        if len(name.encode()) > 200:
            raise MetameryError(f"variable '{name[:40]}…': expected a name of at most 200 bytes")
        check_apart([name], known)
        known.append(name)


def check_apart(names: Iterable[str], others: Iterable[str]) -> None:
    """Raise `MetameryError` if two names are the same on file systems that ignore case."""
    known = {_folded(other): other for other in others}
    for name in names:
        if (other := known.get(_folded(name), name)) != name:
            raise MetameryError(f"'{name}' and '{other}' differ only in case, and are the same name on some disks")


def _check_group(name: str) -> None:
    if not _GROUP.fullmatch(name) or name.startswith("__") or len(name) > 200:
        raise MetameryError(
            f"'{name[:80]}' cannot name a group of results: expected at most 200 letters, digits and . _ - + @, "
            "beginning with a letter or digit"
        )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
