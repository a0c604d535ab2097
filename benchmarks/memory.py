"""The memory of this process in MB, as Linux counts it."""

from __future__ import annotations

import ctypes
from pathlib import Path

_PROCESS = Path("/proc/self")


def resident() -> float:
    """Return what the process holds now."""
    return _status("VmRSS")


def peak() -> float:
    """Return the most that it held since it began, or since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> float:
    """Return freed memory to the system, and begin the peak anew; return what the process holds then."""
    ctypes.CDLL(None).malloc_trim(0)  # glibc's
    (_PROCESS / "clear_refs").write_text("5")
    return resident()


def _status(name: str) -> float:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6
