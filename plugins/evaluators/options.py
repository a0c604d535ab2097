"""Checks of what evaluators are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...framework.errors import MetameryError


def check_count(name: str, count: object, least: int = 1) -> None:
    """Raise `MetameryError` unless an option is a whole number of at least so much."""
    if not isinstance(count, int) or isinstance(count, bool) or count < least:
        raise MetameryError(f"{name} is {count!r}, expected a whole number of at least {least}")


def check_list(name: str, given: Any, example: str) -> None:
    """Raise `MetameryError` unless an option is a list of numbers, and not empty."""
    listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    if not listed or not all(isinstance(each, int | float) for each in given):
        raise MetameryError(f"{name} is {given!r}, expected a list of numbers, such as {example}")
