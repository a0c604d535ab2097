"""Stimuli from the user's own files. Hooks only: what they name is imported on first use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.plugins.files"


@hookimpl
def register_stimuli(register: Register) -> None:
    register(
        "folder",
        f"{_HERE}.folder:folder",
        summary="pictures or sounds of your own: path/CLASS/FILE, or path/FILE",
    )
    register("file", f"{_HERE}.single:single", summary="one picture or sound of your own")
    register(
        "prepared",
        "metamery.training.prepared:prepared",
        summary="pictures decoded once by metamery prepare, in one file that is mapped into memory",
    )
    register(
        "shards",
        f"{_HERE}.shards:shards",
        summary="pictures in tar files as WebDataset writes them, train-{000..146}.tar",
    )
