"""Files that are replaced in one step: a reader gets a complete file, the earlier or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MetameryError
from .owners import discard, owned
from .remote import Folder


@contextmanager
def replaced(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` at the end, unless an error is raised.

    Parameters
    ----------
    path
        File to replace or create.
    partial
        Path that is written first, on the same disk; by default beside `path`, under a name that `owners.clear`
        finds by the prefix ``.NAME.``.
    """
    partial = partial or owned(path.parent, f".{path.name}.")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        discard(partial)


@contextmanager
def writing_to(folder: Folder) -> Iterator[None]:
    """Turn the error of a full or locked disk into a `MetameryError` that names the folder."""
    try:
        yield
    except OSError as error:
        raise MetameryError(f"cannot write to '{folder}': {error.strerror or error}") from error
