"""Differences between two settings files, as text."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def differences(given: str, stored: str) -> list[str]:
    r"""Return the differences of a TOML text from a stored one, each as ``entry (this, stored that)``, sorted by entry.

    >>> differences("seed = 1", "seed = 2\n[model]\nname = 'net'")
    ['model.name (unset, stored net)', 'seed (1, stored 2)']
    """
    one, other = (dict(_flat(tomllib.loads(text))) for text in (given, stored))
    return [
        f"{key} ({one.get(key, 'unset')}, stored {other.get(key, 'unset')})"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _flat(table: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(table, dict):
        for name, value in table.items():
            yield from _flat(value, f"{key}.{name}".lstrip("."))
    elif isinstance(table, list) and any(isinstance(value, dict) for value in table):
        for index, value in enumerate(table):
            yield from _flat(value, f"{key}[{index}]")
    else:
        yield key, table
