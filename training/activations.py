"""Perturbing a layer's activation instead of the signals, such as a cochleagram instead of the sound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..framework.contract import examine
from ..framework.errors import MetameryError
from ..framework.layers import LayerName, Tap
from ..framework.models import Model
from ..framework.protocols import Perturbation
from ..framework.running import frozen


@dataclass(frozen=True)
class ActivationDomain:
    """Activations of a layer, ``(B, *shape)``; they have no range that could be left."""

    shape: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    empty: float = 0.0


class FromLayer(nn.Module):
    """A network as a function of one layer's activation: that layer returns the activation it is given.

    The modules before the layer see the signals themselves, so whatever bypasses the layer is computed from them.

    Parameters
    ----------
    module
        The network.
    part
        Its layer, a module that is called once.
    signals
        Signals of the network's domain, ``(B, …)``.
    """

    def __init__(self, module: nn.Module, part: nn.Module, signals: torch.Tensor) -> None:
        super().__init__()
        self.module = module
        self.signals = signals
        self._part: tuple[nn.Module] = (part,)  # in a tuple it is not registered as a second child

    def forward(self, activations: torch.Tensor) -> Any:
        (part,) = self._part
        part.forward = lambda *_given, **_named: activations
        try:
            return self.module(self.signals)
        finally:
            del part.forward

    def around(self, module: nn.Module) -> FromLayer:
        """Return the same for a network that has been wrapped, as for several processes."""
        return FromLayer(module, *self._part, self.signals)


@dataclass(frozen=True, eq=False)
class LayerModel:
    """A model as a function of a layer's activation: a `Perturbable`."""

    module: FromLayer
    domain: ActivationDomain


def from_layer(model: Model, layer: str, signals: torch.Tensor) -> tuple[LayerModel, torch.Tensor]:
    """Return a model as a function of a layer's activation, and that activation for some signals.

    Parameters
    ----------
    model
        The model; its training and eval modes stay as they are, and the activation is that in eval mode.
    layer
        Path of a module.
    signals
        Signals of the model's domain, ``(B, …)``.

    Returns
    -------
    model, activations
        The model's module takes the activations, which are ``(B, …)``.

    Raises
    ------
    MetameryError
        The layer is unknown, or is not the single output of a module.
    """
    name = LayerName.parse(layer).within(model.module)
    if str(name) != name.path or name.path in ("input", "output"):
        raise MetameryError(f"'{layer}' cannot be perturbed: expected the path of a module that is called once")
    if layer in examine(model, [layer]).axes:
        raise MetameryError(f"layer '{layer}' cannot be perturbed: its first dimension is not the batch")
    with frozen(model.module), torch.no_grad(), Tap(model.module, [layer]) as tap:
        activations = tap(signals)[layer].detach()
    inner = FromLayer(model.module, model.module.get_submodule(layer), signals)
    domain = ActivationDomain(tuple(activations.shape[1:]))
    return LayerModel(inner, domain), activations


def perturbed(
    model: Model,
    layer: str,
    perturb: Perturbation,
    signals: torch.Tensor,
    labels: torch.Tensor,
    generator: torch.Generator,
) -> tuple[Model | LayerModel, torch.Tensor]:
    """Perturb signals, or a layer's activation of them; return the model that takes the result, and the result."""
    if not layer:
        return model, perturb(model, signals, labels, generator)
    inner, activations = from_layer(model, layer, signals)
    return inner, perturb(inner, activations, labels, generator)
