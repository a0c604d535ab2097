"""Training of networks: the loop, its data and schedules, checkpoints, the folders of runs, and the command ``train``.

Attacks are optimisations over signals, like synthesis, and live in `metamery.analysis.attacks`; a training gets them
by name, as the perturbations of its recipe. Names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .driver import TrainingStimuli as TrainingStimuli
    from .driver import prepare as prepare
    from .driver import run_training as run_training
    from .hardware import Hardware as Hardware
    from .in_memory import train as train
    from .runs import trained as trained

_EXPORTS = {
    "Hardware": "hardware",
    "TrainingStimuli": "driver",
    "prepare": "driver",
    "run_training": "driver",
    "train": "in_memory",
    "trained": "runs",
}

__all__ = sorted(_EXPORTS)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
