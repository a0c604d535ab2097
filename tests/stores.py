"""Comparing the stores of two studies, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

from metamery.framework.folders import RESULTS
from metamery.framework.remote import Folder, RemotePath

_OF_A_RUN = ("created", "folder")


def differing(one: Path, other: Folder) -> list[str]:
    """Return the files that differ between the results of two studies, but for when and where they were made."""
    first, second = _files(one / RESULTS), _files(other / RESULTS)
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _files(results: Folder) -> dict[str, bytes]:
    if isinstance(results, RemotePath):
        fs, root = results._opened()
        found = fs.cat([f"{root}/{name}" for name in results.objects()])
        files = {name.removeprefix(f"{root}/"): content for name, content in found.items()}
    else:
        files = {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*") if file.is_file()}
    root = json.loads(files["zarr.json"])
    for name in _OF_A_RUN:
        root["attributes"].pop(name)
    root.get("consolidated_metadata", {}).pop("changed", None)  # of object stores
    return files | {"zarr.json": json.dumps(root).encode()}
