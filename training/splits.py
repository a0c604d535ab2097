"""Training and validation stimuli: the splits of a folder or of a data set that a training uses."""

from __future__ import annotations

import inspect
from pathlib import Path

from ..framework.errors import MetameryError, UnknownNameError
from ..framework.manager import Plugins
from ..framework.study import Reference, located

HELD_OUT = ("validation", "val", "valid")
"""Names of the split that trainings are validated on; the first that a data set has is used."""


def splits(folder: Path) -> tuple[Reference, Reference | None]:
    """Return the training and validation stimuli of a folder: ``train`` and ``val`` or ``test`` in it, or itself."""
    parts = {name: folder / name for name in ("train", "val", "validation", "test") if (folder / name).is_dir()}
    if "train" not in parts:
        return located(Reference(f"{folder}/")), None
    held_out = next((path for name, path in parts.items() if name != "train"), None)
    return located(Reference(f"{parts['train']}/")), None if held_out is None else located(Reference(f"{held_out}/"))


def splits_of_name(plugins: Plugins, use: Reference) -> tuple[Reference, Reference | None]:
    """Return the training and validation stimuli of a registered name: its splits, where it has several.

    A name that has a ``split`` is trained on ``train``, and validated on ``validation`` (or ``val``, ``valid``) where
    it has such a split, otherwise on its default. Nothing is downloaded to find that out.
    """
    try:
        found = plugins.find("stimuli", use.name)
    except UnknownNameError:
        return located(use), None  # a prepared file, or refused when it is loaded
    options = inspect.signature(found.entry.factory()).parameters
    if "split" not in options or "/" in found.member:
        return use, None
    held_out = use
    if "split" not in use.options and "download" in options:
        named = (Reference(use.name, {**use.options, "split": name}) for name in HELD_OUT)
        held_out = next((split for split in named if _exists(plugins, split)), use)
    return Reference(use.name, {**use.options, "split": "train"}), held_out


def _exists(plugins: Plugins, use: Reference) -> bool:
    """Whether a data set has a split; it checks that before it looks for its files."""
    try:
        plugins.load("stimuli", use.name, **{**use.options, "download": False})
    except UnknownNameError:
        return False
    except MetameryError:
        return True  # its files do not exist yet
    return True
