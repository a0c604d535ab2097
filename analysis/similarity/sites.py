"""Activations of several models at several layers: sites, and the signals that are shown there."""

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
"""Gives some signals in every domain of the models, ``(B, …)``."""


def choose_sites(models: Mapping[str, Model], layers: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Which layers of which models are compared, ``(model, layer)``: each model's own, or those of some that it has.

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
        if not any(LayerName.parse(layer).path in own for own in has.values()):
            raise unknown("layer", layer, sorted({path for own in has.values() for path in own if path}))
    return [(name, layer) for name in models for layer in layers if LayerName.parse(layer).path in has[name]]


@dataclass(frozen=True, eq=False)
class LayerReader:
    """Layers of models while they are read, and how much of their activations there is room for.

    Parameters
    ----------
    taps
        By name, each model and what reads its layers.
    device
        Where the models run.
    batch_size
        Signals that pass through them at once.
    memory
        In GiB, see `plan`.
    progress
        Told of each batch.
    """

    taps: Mapping[str, tuple[Model, Tap]]
    device: torch.device
    batch_size: int
    memory: float
    progress: Progress

    @property
    def domains(self) -> set[Domain]:
        """Of the models."""
        return {model.domain for model, _ in self.taps.values()}

    @torch.no_grad()
    def activations(self, signals: Mapping[Domain, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Show some signals and read every site, named ``MODEL LAYER``: ``(B, …)``."""
        found: dict[str, torch.Tensor] = {}
        for name, (model, tap) in self.taps.items():
            given = signals[model.domain].to(self.device, signal_type(model.module))
            found |= {f"{name} {layer}": rows for layer, rows in tap(given).items()}
        return found

    def plan(self, signals: Signals, count: int, matrices: int) -> Plan:
        """What a comparison takes; one signal passes through the networks to tell."""
        one = self.activations(signals(slice(0, 1)))
        each = sum(rows.numel() * rows.element_size() for rows in one.values())
        return plan(count, matrices, each, batch_size=self.batch_size, memory=self.memory)

    def grams(self, signals: Signals, count: int, held: int, name: Callable[[int], str]) -> list[Gram]:
        """The inner products of the activations to signals, at every site; `name` says what each is called."""
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
    """Read layers of models; those that are compared at none do not run."""
    with ExitStack() as stack:
        taps = {}
        for name, model in models.items():
            if own := [layer for site, layer in sites if site == name]:
                taps[name] = (model, stack.enter_context(model.tap(own)))
        yield LayerReader(taps, device, batch_size, memory, progress)
