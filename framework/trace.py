"""The trace of hook calls: one line each on standard error, if ``METAMERY_TRACE_PLUGINS=1`` is set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "METAMERY_TRACE_PLUGINS"


@contextmanager
def traced(plugin: str, hook: str, added: list[str]) -> Iterator[None]:
    """Print which plugin's hook was called, the names that are in `added` afterwards, and whether it raised."""
    end = ""
    try:
        yield
    except BaseException as error:
        end = f" (raises {type(error).__name__})"
        raise
    finally:
        if os.environ.get(VARIABLE, "") not in ("", "0"):
            print(f"trace: {plugin} {hook}: {', '.join(added) or 'nothing'}{end}", file=sys.stderr)
