"""Types of what the factories of registered names return; `hookspecs` lists the hook that registers each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    import xarray as xr
    from torch import nn

    from .context import Context
    from .domains import Bounds


class Distance(Protocol):
    """What synthesis minimises: a number for each signal, which depends on that signal alone; 0 is a perfect match."""

    def __call__(self, activations: torch.Tensor, targets: torch.Tensor, /) -> torch.Tensor:
        """Compare activations and targets ``(B, …)`` of one shape; return ``(B,)``."""
        ...


class Evaluator(Protocol):
    """A measurement of models, or of a study."""

    def __call__(self, context: Context, /) -> xr.Dataset:
        """Measure, and return a dataset that passes the schema."""
        ...


class Loss(Protocol):
    """A training objective: ``loss(model, signals, labels)``, with labels ``(B,)``, returns a scalar tensor."""

    def __call__(self, *args: Any, **natural: Any) -> torch.Tensor:
        """Return the loss.

        If it has a parameter `natural`, it is also given the unperturbed signals. Where a recipe mixes signals, it is
        given the probabilities of the classes, ``(B, classes)``, as `targets`.
        """
        ...


class OptimizerFactory(Protocol):
    """A function that makes an optimizer of given parameters, for weights or for signals."""

    def __call__(self, parameters: Iterable[torch.Tensor], /) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters; each signal is a separate parameter."""
        ...


class Perturbable(Protocol):
    """What perturbations and attacks need of a model: `Model` is one, and so is the rest of a network after a layer."""

    @property
    def module(self) -> nn.Module:
        """The network from signals, or from the activations of a layer instead."""
        ...

    @property
    def domain(self) -> Bounds:
        """The range of the network's input."""
        ...


class Perturbation(Protocol):
    """A change of signals: an attack, noise, a shift, a blur."""

    def __call__(
        self, model: Any, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator, /
    ) -> torch.Tensor:
        """Return signals of the same shape, inside the range of the model's domain; labels are ``(B,)``.

        The model is a `Model`; where a recipe perturbs a layer, it is a `Perturbable` whose signals are activations.
        """
        ...
