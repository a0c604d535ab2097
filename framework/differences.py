"""What differs between two files of settings, in words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any


def differences(mine: str, theirs: str) -> list[str]:
    r"""Say what differs between two TOML texts, one ``entry (this, there that)`` each, in order of the entries.

    >>> differences("seed = 1", "seed = 2\n[model]\nname = 'net'")
    ['model.name (unset, there net)', 'seed (1, there 2)']
    """
    one, other = (dict(_flat(tomllib.loads(text))) for text in (mine, theirs))
    return [
        f"{key} ({one.get(key, 'unset')}, there {other.get(key, 'unset')})"
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
