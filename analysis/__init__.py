"""Metamer synthesis and what is measured of metamers. Algorithms take objects; names are the plugins' business."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .matching import Record as Record
    from .matching import match_layer as match_layer
    from .measures import match as match
    from .null import null_distribution as null_distribution
    from .presets import Settings as Settings
    from .success import judge as judge
    from .success import success_by_layer as success_by_layer
    from .synthesis import synthesise as synthesise

_PLACES = {
    "Record": "matching",
    "Settings": "presets",
    "judge": "success",
    "match": "measures",
    "match_layer": "matching",
    "null_distribution": "null",
    "success_by_layer": "success",
    "synthesise": "synthesis",
}

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
