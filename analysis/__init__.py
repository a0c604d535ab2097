"""Metamer synthesis and what is measured of metamers. Algorithms take objects; names are the plugins' business.

Names are imported when first used. `metamery.analysis.plot` draws the Datasets, `metamery.analysis.statistics` has
intervals and tests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plot as plot
    from . import statistics as statistics
    from .proof.measures import match as match
    from .proof.null import null_distribution as null_distribution
    from .proof.success import judge as judge
    from .proof.success import success_by_layer as success_by_layer
    from .recognition.in_memory import recognise as recognise
    from .recognition.labels import Labels as Labels
    from .report import write_report as write_report
    from .studies.compare import compare as compare
    from .studies.evaluate import evaluate as evaluate
    from .studies.export import export as export
    from .studies.in_memory import as_study as as_study
    from .studies.run_study import run_study as run_study
    from .studies.table import to_table as to_table
    from .synthesis.in_memory import synthesise as synthesise
    from .synthesis.matching import Record as Record
    from .synthesis.matching import match_layer as match_layer
    from .synthesis.settings import Settings as Settings

_EXPORTS = {
    "Labels": "recognition.labels",
    "Record": "synthesis.matching",
    "Settings": "synthesis.settings",
    "as_study": "studies.in_memory",
    "compare": "studies.compare",
    "evaluate": "studies.evaluate",
    "export": "studies.export",
    "judge": "proof.success",
    "match": "proof.measures",
    "match_layer": "synthesis.matching",
    "null_distribution": "proof.null",
    "recognise": "recognition.in_memory",
    "run_study": "studies.run_study",
    "success_by_layer": "proof.success",
    "synthesise": "synthesis.in_memory",
    "to_table": "studies.table",
    "write_report": "report",
}
_PACKAGES = ("plot", "statistics")

__all__ = sorted([*_EXPORTS, *_PACKAGES])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
