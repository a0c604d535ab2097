"""Fingerprints, which distinguish networks of the same weights: a sketch of the activations at each layer.

A sketch holds the norm of an activation and its projections on a few fixed vectors of random signs. The projections of
two activations differ as much as the activations themselves, whatever the difference is (Achlioptas 2003); a mean and a
norm alone would miss a rotation, a permutation or another interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...framework.devices import float32_as
from ...framework.models import Model
from ...framework.running import channels_last, frozen, signal_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBED = 4
"""Number of signals whose activations are kept."""

TOLERANCE = 1e-4
"""Largest difference from the kept activations, relative to their norm, at which a network counts as the same.

Rounding differs by about 1e-6 in float32 between numbers of threads, devices and versions of PyTorch."""

_PROJECTIONS = 8
_BLOCK = 2**16  # number of units that are projected at once


@torch.no_grad()
def fingerprint(model: Model, signals: torch.Tensor, layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Sketch a network's activations to signals ``(B, …)`` of its domain, at layers: ``(B, numbers)`` for each.

    The network runs on the device of its weights, frozen and in full float32: errors of TF32 are larger than the
    differences that are to be found.
    """
    device = next((weight.device for weight in model.module.parameters()), signals.device)
    with (
        frozen(model.module),
        channels_last(model.module, model.domain),
        float32_as("ieee", torch.backends.cudnn.conv, torch.backends.cuda.matmul),  # type: ignore[attr-defined]
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
    """Estimate the difference of the activations of two sketches, relative to their norm: the largest of a batch.

    It is infinite if the sketches are of different numbers of signals, or if one is not finite.
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
    """Return the first layer at which a network differs from that of `kept`, and by how much; None if there is none."""
    for name, own in now.items():
        if name in kept and (apart := difference(kept[name], own)) > allowed:
            return name, apart
    return None


def tolerance(module: torch.nn.Module) -> float:
    """Return the largest allowed difference: `TOLERANCE`, or 16 units of rounding of half-precision weights."""
    types = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    return max([TOLERANCE, *(16 * torch.finfo(dtype).eps for dtype in types)])
