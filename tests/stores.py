"""Comparing the stores of two studies, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

from metamery.framework.folders import RESULTS

_OF_A_RUN = ("created", "folder")


def differing(one: Path, other: Path) -> list[str]:
    """Return the files that differ between the results of two studies, but for when and where they were made."""
    first, second = _files(one / RESULTS), _files(other / RESULTS)
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _files(results: Path) -> dict[str, bytes]:
    files = {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*") if file.is_file()}
    root = json.loads(files["zarr.json"])
    for name in _OF_A_RUN:
        root["attributes"].pop(name)
    return files | {"zarr.json": json.dumps(root).encode()}
