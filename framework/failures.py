"""Failures of reading stored results or of allocating memory, as distinct from faults of the program."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from types import TracebackType

from .checks import shown
from .limits import size

_READERS = ("zarr.", "numcodecs.", "xarray.backends.", "xarray.coding.", "xarray.conventions")
"""Modules that decode stored data; their exceptions are due to the files, since the calls to them are tested."""


def failure_message(error: BaseException) -> str:
    """Return one line for a failure to read results or to allocate memory; empty for any other exception."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"there is not enough memory: {first}; smaller batches need less"
    if isinstance(error, RuntimeError) and (asked := re.search(r"tried to allocate (\d+) bytes", first)):
        return f"there is not enough memory: {size(int(asked[1]))} were requested at once"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"a name is too long for a file: {shown(str(error.filename))}"
    if isinstance(error, Exception) and any(name.startswith(_READERS) for name in _modules(error.__traceback__)):
        return f"stored results cannot be read; they are damaged or incomplete: {first}"
    return ""


def _modules(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        yield str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
