"""Where signals are pushed apart: in themselves, or at a layer of any network, a cochleagram for example."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...framework.checks import wrong
from ...framework.contract import examine
from ...framework.errors import UnknownNameError
from ...framework.manager import Plugins
from ...framework.models import Model
from ..synthesis.together import common_domain, conversion

Apart = Callable[[torch.Tensor], torch.Tensor]
"""Function of signals ``(B, …)`` whose values ``(B, …)`` are pushed apart."""


def itself(signals: torch.Tensor) -> torch.Tensor:
    """Return the signals: these are pushed apart."""
    return signals


def named_layer(text: str, models: Mapping[str, Model], plugins: Plugins) -> tuple[Model, str]:
    """Return the model and the layer that ``MODEL LAYER`` names; the model is one of `models`, or loaded.

    Raises
    ------
    MetameryError
        The text is not of this form, or a name is unknown.
    """
    name, space, layer = text.strip().rpartition(" ")
    if not space:
        raise wrong("apart", text, 'a model and one of its layers, such as "small-cnn relu1"')
    model = models.get(name)
    if model is None:
        try:
            model = models.get(plugins.find("model", name).qualified)
        except UnknownNameError as error:
            raise UnknownNameError(f"apart is '{text}': {error}") from None
    model = plugins.load("model", name) if model is None else model
    examine(model, [layer])
    return model, layer


def at_layer(other: Model, layer: str, name: str, model: Model) -> Apart:
    """Return the activations at a layer of another model as a function of signals of a model called `name`.

    Signals are converted by `conversion`, through which gradients pass.

    Raises
    ------
    MetameryError
        The two models cannot share a signal.
    """
    common_domain({name: model, "apart": other})
    convert = conversion(model.domain, other.domain)

    def activations(signals: torch.Tensor) -> torch.Tensor:
        with other.tap([layer]) as tap:
            return tap(convert(signals))[layer]

    return activations
