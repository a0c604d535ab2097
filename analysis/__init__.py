"""Metamer synthesis and what is measured of metamers. Algorithms take objects; names are the plugins' business."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .matching import Record as Record
    from .matching import match_layer as match_layer
    from .presets import Settings as Settings
    from .synthesis import synthesise as synthesise

_PLACES = {
    "Record": "matching",
    "Settings": "presets",
    "match_layer": "matching",
    "synthesise": "synthesis",
}

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
