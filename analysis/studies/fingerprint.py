"""What tells a network from another of the same weights: a sketch of its activations, a few numbers for each layer.

A sketch holds the norm of an activation and its projections on a few fixed vectors of random signs. Of two activations
the projections differ as much as the activations themselves do, whatever it is that differs (Achlioptas 2003): a mean
and a norm alone would miss what was turned, permuted or interpolated otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...framework.models import Model
from ...framework.running import channels_last, frozen, signal_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBED = 4
"""Signals whose activations are kept."""

TOLERANCE = 1e-4
"""How far activations may lie from those that are kept, relative to their norm, and still be the same network's.

Other threads, devices and versions of PyTorch round otherwise, which comes to some 1e-6 in float32."""

_PROJECTIONS = 8
_BLOCK = 2**16  # units that are projected at once


@torch.no_grad()
def fingerprint(model: Model, signals: torch.Tensor, layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Sketch a network's activations to signals ``(B, …)`` of its domain, at layers: ``(B, numbers)`` for each.

    The network runs where its weights are, frozen and in full float32.
    """
    device = next((weight.device for weight in model.module.parameters()), signals.device)
    with (
        frozen(model.module),
        channels_last(model.module, model.domain),
        _full_precision(),
        model.tap(layers) as tap,
    ):
        found = tap(signals.to(device, signal_type(model.module)))
    return {name: sketch(rows.flatten(1).float().cpu().numpy()) for name, rows in found.items()}


def sketch(activations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Reduce activations ``(B, D)`` to the norm and the projections of each, ``(B, numbers)``."""
    signs = np.random.PCG64(0)
    projected = np.zeros((len(activations), _PROJECTIONS))
    for first in range(0, activations.shape[1], _BLOCK):
        block = activations[:, first : first + _BLOCK].astype(np.float64)
        bits = np.unpackbits(signs.random_raw(_BLOCK * _PROJECTIONS // 64).astype("<u8").view(np.uint8))
        drawn = bits.reshape(_BLOCK, _PROJECTIONS)[: block.shape[1]]
        projected += block @ (1.0 - 2.0 * drawn)
    norm = np.linalg.norm(activations.astype(np.float64), axis=1)
    return np.column_stack([norm, projected])


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Estimate how far the activations behind two sketches are apart, relative to their norm: the largest of a batch.

    It is infinite where the sketches are not of as many signals, or one is not finite.
    """
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return np.inf
    apart = np.sqrt(np.square(one[:, 1:] - other[:, 1:]).mean(axis=1))
    apart = np.maximum(apart, np.abs(one[:, 0] - other[:, 0]))
    norm = np.maximum(one[:, 0], other[:, 0])
    return float(np.divide(apart, norm, out=np.zeros_like(apart), where=norm > 0).max(initial=0))


def first_difference(
    kept: Mapping[str, NDArray[np.float64]], now: Mapping[str, NDArray[np.float64]], allowed: float = TOLERANCE
) -> tuple[str, float] | None:
    """Find the first layer at which a network differs from the one that `kept` is of, and how far; None if at none."""
    for name, own in now.items():
        if name in kept and (apart := difference(kept[name], own)) > allowed:
            return name, apart
    return None


def tolerance(module: torch.nn.Module) -> float:
    """How far a network's activations may lie apart: `TOLERANCE`, or 16 units of rounding of half-precision weights."""
    types = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    return max([TOLERANCE, *(16 * torch.finfo(dtype).eps for dtype in types)])


@contextmanager
def _full_precision() -> Iterator[None]:
    """Have GPUs compute in float32, not in TF32, whose rounding is larger than what is to be found."""
    places = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
