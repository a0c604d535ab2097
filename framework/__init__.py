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
    from .models import Model as Model
    from .recipes import Recipe as Recipe
    from .registry import Register as Register
    from .results import open_study as open_study
    from .stimuli import Stimuli as Stimuli
    from .stimuli import Stimulus as Stimulus
    from .study import Study as Study

_PLACES = {
    "Context": "context",
    "Contract": "contract",
    "Domain": "domains",
    "ImageDomain": "domains",
    "LayerName": "layers",
    "MetameryError": "errors",
    "MissingExtraError": "errors",
    "Model": "models",
    "Plugins": "manager",
    "Recipe": "recipes",
    "Register": "registry",
    "Stimuli": "stimuli",
    "Stimulus": "stimuli",
    "Study": "study",
    "Tap": "layers",
    "UnknownNameError": "errors",
    "WaveformDomain": "domains",
    "examine": "contract",
    "hookimpl": "hookspecs",
    "open_study": "results",
}

__all__ = sorted(_PLACES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
