"""Files that are replaced in one step: whoever reads one finds it whole, the earlier or the new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MetameryError
from .owners import discard, owned


@contextmanager
def replaced(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `path` at the end, unless an error is raised.

    Parameters
    ----------
    path
        The file to be replaced, or made.
    partial
        Where it is written first, on the same disk; by default beside it, under a name that `owners.clear` finds by
        the prefix ``.NAME.``.
    """
    partial = partial or owned(path.parent, f".{path.name}.")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        discard(partial)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn the error of a full or locked disk into a `MetameryError` that names the folder."""
    try:
        yield
    except OSError as error:
        raise MetameryError(f"cannot write to '{folder}': {error.strerror or error}") from error
