"""The two correct ways in which a command may end."""

from __future__ import annotations

from typing import Any


def wrong(status: Any, err: str) -> str:
    """Why an end is not one of the two that are right; empty where it is."""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if status == 0 and not errors and "Traceback" not in err:
        return ""
    if status == 2 and len(errors) == 1 and "Traceback" not in err:
        return ""
    return f"status {status}, {len(errors)} lines of error: {err[-900:]}"
