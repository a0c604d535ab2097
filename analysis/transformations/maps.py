"""Which layers of a network are maps of the signal, and how far apart their units are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...framework.domains import Domain
from ...framework.models import Model
from ...framework.running import signal_type

_ALIKE = 1.25
"""Factor by which the ratio of a map's sides may differ from that of the picture's."""


@dataclass(frozen=True)
class Layout:
    """Layout of an activation ``(B, …)`` that is a map.

    Parameters
    ----------
    axes
        Axes of rows and columns, or of time.
    stride
        Pixels, or samples, from one unit to the next along rows and columns; for a sound ``(1, samples)``.
    """

    axes: tuple[int, ...]
    stride: tuple[float, float]

    def framed(self, activations: torch.Tensor) -> torch.Tensor:
        """The activation as ``(B, …, h, w)``; for a sound h is 1."""
        if len(self.axes) == 1:
            return activations.movedim(self.axes[0], -1).unsqueeze(-2)
        return activations.movedim(self.axes, (-2, -1))


def layouts(model: Model, layers: Sequence[str], device: torch.device) -> Mapping[str, Layout | None]:
    """Find which layers are maps; the others, such as logits, get None.

    The network is run on one larger signal: the axes that grow are those of space or time, and their growth gives the
    stride, whatever the padding. In a network, or layer, that does not grow with its signal, an activation is a map if
    it is ``(B, C, h, w)`` and, for pictures, h / w is close to the picture's height / width; its stride is then the
    signal's size divided by the map's, which is exact if the map covers the whole signal.
    """
    shape = (1, *model.domain.shape)
    plain = _shapes(model, layers, shape, device)
    larger = tuple(n + extra for n, extra in zip(shape, _extra(model.domain), strict=True))
    grown = {layer: _shapes(model, [layer], larger, device).get(layer) for layer in layers}
    return {layer: _layout(model.domain, plain[layer], grown[layer]) for layer in layers}


def _layout(domain: Domain, plain: torch.Size, grown: torch.Size | None) -> Layout | None:
    count = len(domain.axes)
    sizes, extra = domain.shape[-count:], _extra(domain)[-count:]
    axes = tuple(axis for axis, n in enumerate(plain) if grown and len(grown) == len(plain) and grown[axis] > n)
    if grown and len(axes) == count:
        strides = [more / (grown[axis] - plain[axis]) for more, axis in zip(extra, axes, strict=True)]
    elif not axes and len(plain) == 4:
        axes = (2, 3)[-count:]
        strides = [n / plain[axis] for n, axis in zip(sizes, axes, strict=True)]
        if max(strides) > _ALIKE * min(strides):
            return None
    else:
        return None
    if min(plain[axis] for axis in axes) < 2:
        return None
    return Layout(axes, (1.0, strides[0]) if count == 1 else (strides[0], strides[1]))


def _extra(domain: Domain) -> tuple[int, ...]:
    """By how much each side of a signal ``(1, …)`` is made larger: a multiple of 64, so that most strides divide it."""
    more = tuple(-(-n // 64) * 64 for n in domain.shape)
    return (*[0] * (1 + len(more) - len(domain.axes)), *more[-len(domain.axes) :])


def _shapes(
    model: Model, layers: Sequence[str], shape: Sequence[int], device: torch.device
) -> Mapping[str, torch.Size]:
    """Shapes of the activations of one signal; empty where the network does not take signals of this shape."""
    signal = torch.full(tuple(shape), model.domain.middle, device=device, dtype=signal_type(model.module))
    try:
        with model.tap(layers) as tap, torch.no_grad():
            return {layer: activation.shape for layer, activation in tap(signal).items()}
    except Exception:
        if tuple(shape[1:]) == model.domain.shape:
            raise
        return {}  # each network refuses other sizes in a way of its own
