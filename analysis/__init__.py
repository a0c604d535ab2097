"""Metamer synthesis and what is measured of metamers. Algorithms take objects; names are the plugins' business."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .proof.measures import match as match
    from .proof.null import null_distribution as null_distribution
    from .proof.success import judge as judge
    from .proof.success import success_by_layer as success_by_layer
    from .synthesis.in_memory import synthesise as synthesise
    from .synthesis.matching import Record as Record
    from .synthesis.matching import match_layer as match_layer
    from .synthesis.settings import Settings as Settings

_EXPORTS = {
    "Record": "synthesis.matching",
    "Settings": "synthesis.settings",
    "judge": "proof.success",
    "match": "proof.measures",
    "match_layer": "synthesis.matching",
    "null_distribution": "proof.null",
    "success_by_layer": "proof.success",
    "synthesise": "synthesis.in_memory",
}

__all__ = sorted(_EXPORTS)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
