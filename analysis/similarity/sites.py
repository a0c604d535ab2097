"""Activations of several models at several layers: sites, and a reader of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError, unknown
from ...framework.layers import LayerName, Tap
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.running import signal_type
from .streaming import Gram, Plan, inner_products, plan

Signals = Callable[[slice], Mapping[Domain, torch.Tensor]]
"""Function that returns a slice of the signals in every domain of the models, ``(B, …)``."""


def choose_sites(models: Mapping[str, Model], layers: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Return the sites to compare, ``(model, layer)``: each model's own layers, or those of `layers` that it has.

    Raises
    ------
    MetameryError
        There is no model, or no model has one of the layers.
    """
    if not models:
        raise MetameryError("similarity needs a model")
    if layers is None:
        return [(name, layer) for name, model in models.items() for layer in model.layers]
    has = {
        name: {"input", "output", *(path for path, _ in model.module.named_modules(remove_duplicate=False))}
        for name, model in models.items()
    }
    for layer in layers:
        if not any(_path(layer, model) in has[name] for name, model in models.items()):
            raise unknown("layer", layer, sorted({path for own in has.values() for path in own if path}))
    return [(name, layer) for name, model in models.items() for layer in layers if _path(layer, model) in has[name]]


def _path(layer: str, model: Model) -> str:
    return LayerName.parse(layer).within(model.module).path


@dataclass(frozen=True, eq=False)
class LayerReader:
    """Reads layers of models, and plans how many of their activations memory can hold.

    Parameters
    ----------
    taps
        Each model and the tap of its layers, by name.
    device
        Device of the models.
    batch_size
        Number of signals that pass through them at once.
    memory
        Memory limit in GiB, see `plan`.
    progress
        Display of the progress, advanced after each batch.
    """

    taps: Mapping[str, tuple[Model, Tap]]
    device: torch.device
    batch_size: int
    memory: float
    progress: Progress

    @property
    def domains(self) -> set[Domain]:
        """Domains of the models."""
        return {model.domain for model, _ in self.taps.values()}

    @torch.no_grad()
    def activations(self, signals: Mapping[Domain, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the activations to some signals at every site, ``(B, …)``, by ``MODEL LAYER``."""
        found: dict[str, torch.Tensor] = {}
        for name, (model, tap) in self.taps.items():
            given = signals[model.domain].to(self.device, signal_type(model.module))
            found |= {f"{name} {layer}": rows for layer, rows in tap(given).items()}
        return found

    def plan(self, signals: Signals, count: int, matrices: int) -> Plan:
        """Plan a comparison; one signal passes through the networks to measure its activations."""
        one = self.activations(signals(slice(0, 1)))
        each = sum(rows.numel() * rows.element_size() for rows in one.values())
        return plan(count, matrices, each, batch_size=self.batch_size, memory=self.memory)

    def grams(self, signals: Signals, count: int, held: int, name: Callable[[int], str]) -> list[Gram]:
        """Return the inner products of the activations to signals at every site; `name` returns a signal's name."""
        found = inner_products(
            lambda stimuli: self.activations(signals(stimuli)),
            count,
            batch_size=self.batch_size,
            held=held,
            name=name,
            advance=self.progress.advance,
        )
        return list(found.values())


@contextmanager
def open_layers(
    models: Mapping[str, Model],
    sites: Sequence[tuple[str, str]],
    *,
    device: torch.device,
    batch_size: int,
    memory: float,
    progress: Progress,
) -> Iterator[LayerReader]:
    """Open a reader of layers; models that have none to compare do not run."""
    with ExitStack() as stack:
        taps = {}
        for name, model in models.items():
            if own := [layer for site, layer in sites if site == name]:
                taps[name] = (model, stack.enter_context(model.tap(own)))
        yield LayerReader(taps, device, batch_size, memory, progress)
