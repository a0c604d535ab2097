"""Errors that the user can correct.

The command line prints a `MetameryError` as one line and exits with status 2; every other exception is a
fault of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MetameryError(Exception):
    """A request that cannot be fulfilled; the message states it, what is expected and the nearest valid name."""


class UnknownNameError(MetameryError):
    """A name that is not known."""


class MissingExtraError(MetameryError):
    """A name whose optional dependency is not installed."""


def unknown(kind: str, given: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """Return the error for a name that is not among `known`, with the nearest valid name.

    >>> str(unknown("preset", "fasst", ["fast", "feather2023"]))
    "unknown preset 'fasst'; did you mean 'fast'? Known: fast, feather2023"
    """
    names = list(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return UnknownNameError(f"unknown {kind} '{given}'{guess} Known: {shown or 'none'}{hint}")
