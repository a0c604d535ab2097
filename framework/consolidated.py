"""All metadata of a Zarr hierarchy in one file, which readers look at first."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import zarr

from .remote import Folder, RemotePath, zarr_at
from .replacing import replaced
from .results import quiet


def consolidate(path: Folder) -> None:
    """Consolidate all metadata, which xarray reads first; stale consolidated metadata would hide new groups."""
    with quiet():
        zarr.consolidate_metadata(zarr_at(path))
    if isinstance(path, RemotePath):  # without this it is the same as before if an equal result was put in its place
        node = json.loads((path / "zarr.json").read_text())
        node["consolidated_metadata"]["changed"] = secrets.token_hex(8)
        (path / "zarr.json").write_text(json.dumps(node, indent=2))


def is_consolidated(path: Folder) -> bool:
    """Whether the metadata of a hierarchy are consolidated."""
    return "consolidated_metadata" in json.loads((path / "zarr.json").read_text(encoding="utf-8"))


def unconsolidate(path: Folder, staging: Path) -> None:
    """Remove the consolidated metadata while groups are added or removed, so that no reader sees a stale one."""
    node = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    node.pop("consolidated_metadata", None)
    text = json.dumps(node, indent=2)
    if isinstance(path, RemotePath):
        (path / "zarr.json").write_text(text)
        return
    with replaced(path / "zarr.json", staging / "zarr.json") as partial:
        partial.write_text(text, encoding="utf-8")
