"""Names, hooks, domains, layers and results: everything that plugins, analyses and trainings share.

It knows no algorithm. Names are imported when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context as Context
    from .contract import Contract as Contract
    from .contract import examine as examine
    from .domains import Domain as Domain
    from .domains import ImageDomain as ImageDomain
    from .domains import WaveformDomain as WaveformDomain
    from .errors import MetameryError as MetameryError
    from .errors import MissingExtraError as MissingExtraError
    from .errors import UnknownNameError as UnknownNameError
    from .hookspecs import hookimpl as hookimpl
    from .layers import LayerName as LayerName
    from .layers import Tap as Tap
    from .manager import Plugins as Plugins
    from .model_results import ModelResults as ModelResults
    from .model_results import models_of as models_of
    from .models import Model as Model
    from .progress import Progress as Progress
    from .progress import ProgressBar as ProgressBar
    from .protocols import Distance as Distance
    from .protocols import Evaluator as Evaluator
    from .protocols import Loss as Loss
    from .protocols import OptimizerFactory as OptimizerFactory
    from .protocols import Perturbation as Perturbation
    from .recipes import Recipe as Recipe
    from .registry import Register as Register
    from .results import open_study as open_study
    from .schema import check_dataset as check_dataset
    from .stimuli import Stimuli as Stimuli
    from .stimuli import Stimulus as Stimulus
    from .study import ModelReference as ModelReference
    from .study import Reference as Reference
    from .study import Study as Study

_EXPORTS = {
    "Context": "context",
    "Contract": "contract",
    "Distance": "protocols",
    "Domain": "domains",
    "Evaluator": "protocols",
    "ImageDomain": "domains",
    "LayerName": "layers",
    "Loss": "protocols",
    "MetameryError": "errors",
    "MissingExtraError": "errors",
    "Model": "models",
    "ModelResults": "model_results",
    "ModelReference": "study",
    "OptimizerFactory": "protocols",
    "Perturbation": "protocols",
    "Plugins": "manager",
    "Progress": "progress",
    "ProgressBar": "progress",
    "Recipe": "recipes",
    "Register": "registry",
    "Stimuli": "stimuli",
    "Stimulus": "stimuli",
    "Study": "study",
    "Tap": "layers",
    "UnknownNameError": "errors",
    "Reference": "study",
    "WaveformDomain": "domains",
    "check_dataset": "schema",
    "examine": "contract",
    "hookimpl": "hookspecs",
    "models_of": "model_results",
    "open_study": "results",
}

__all__ = sorted(_EXPORTS)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
