"""What the factories of names return, as types; `hookspecs` says which hook registers which."""

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
    """What synthesis lowers: one number for each signal, which depends on that signal alone; 0 is a perfect match."""

    def __call__(self, activations: torch.Tensor, targets: torch.Tensor, /) -> torch.Tensor:
        """Compare activations and targets ``(B, …)`` of one shape; return ``(B,)``."""
        ...


class Evaluator(Protocol):
    """A measurement of models, or of a study."""

    def __call__(self, context: Context, /) -> xr.Dataset:
        """Measure, and return a dataset that passes the schema."""
        ...


class Loss(Protocol):
    """A training objective: ``loss(model, signals, labels)``, with labels ``(B,)``, a scalar tensor."""

    def __call__(self, *args: Any, **natural: Any) -> torch.Tensor:
        """Return the loss; one that has a parameter `natural` also gets the signals before they were perturbed."""
        ...


class OptimizerFactory(Protocol):
    """An optimizer without its parameters yet, for weights or for signals."""

    def __call__(self, parameters: Iterable[torch.Tensor], /) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters; of signals each is a parameter of its own."""
        ...


class Perturbable(Protocol):
    """What perturbations and attacks ask of a model: `Model` is one, and so is the rest of a network after a layer."""

    @property
    def module(self) -> nn.Module:
        """Network that takes the signals, or the activations of a layer in their place."""
        ...

    @property
    def domain(self) -> Bounds:
        """Range of what the network takes."""
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
