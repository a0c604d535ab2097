"""Provenance: attributes of results on how they were made, besides their settings."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

import torch


def provenance() -> dict[str, str]:
    """Return attributes of new results: the versions of metamery and torch, and the time in UTC."""
    return {
        "metamery_version": version("metamery"),
        "torch_version": torch.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
