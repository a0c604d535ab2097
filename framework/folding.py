"""Batch normalisations of a frozen network, folded into the layers before them.

A normalisation whose statistics are fixed multiplies and shifts each channel, which the weights of a convolution or a
linear layer before it can do as well. Up to rounding the network stays the same, and a pass forward and back has less
to do (`benchmarks/synthesis.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from .contract import examine, still_examined
from .devices import repeatable
from .domains import blank_signal
from .joint import single_layers
from .layers import LayerName
from .running import signal_type

if TYPE_CHECKING:
    from .models import Model

TOLERANCE = 1e-4
"""Largest relative change of the activations at a layer; a network that changes more is not folded."""

_Before = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # not what derives from them, and may do more


@contextmanager
def folded(model: Model, layers: Sequence[str]) -> Iterator[int]:
    """Fold the batch normalisations of a frozen network as long as the context is open, and restore them.

    A normalisation is folded where it directly follows a convolution or a linear layer, both run once in a pass, and
    `layers` do not read what is between them. The result is compared with the network itself at `layers` and at its
    output, on a signal of noise; where they differ by more than `TOLERANCE`, nothing is folded.

    Yields
    ------
    int
        Number of normalisations that are folded.

    Examples
    --------
    >>> import torch
    >>> from metamery.framework import ImageDomain, Model
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> with folded(Model(network, ImageDomain(3, 8, 8), ["2"]), ["2"]) as count:
    ...     count, network[1](torch.ones(1, 4, 1, 1)).flatten().tolist()
    (1, [1.0, 1.0, 1.0, 1.0])
    """
    pairs, expected = _examined(model, layers)
    with ExitStack() as stack:
        stack.callback(still_examined, model)
        for before, normalisation in pairs:
            stack.enter_context(_merged(before, normalisation))
        still_examined(model)
        if pairs and not _same(expected, _read(model, layers)):
            stack.close()
            pairs = []
        yield len(pairs)


def _examined(model: Model, layers: Sequence[str]) -> tuple[list[tuple[_Before, nn.Module]], list[torch.Tensor]]:
    """Return the layers that can be merged with normalisations, and the activations before that."""
    examine(model, layers)  # whose passes are not to be counted
    modules = dict(model.module.named_modules(remove_duplicate=False))
    read = {modules.get(LayerName.parse(name).within(model.module).path) for name in single_layers(layers)}
    calls: Counter[nn.Module] = Counter()
    made: dict[int, tuple[_Before, torch.Tensor]] = {}  # the tensor is kept, so that no other gets its identity
    pairs: list[tuple[_Before, nn.Module]] = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        calls[module] += 1
        if arguments and id(arguments[0]) in made:
            pairs.append((made[id(arguments[0])][0], module))

    def after(module: nn.Module, _arguments: Any, output: Any) -> None:
        calls[module] += 1
        if isinstance(output, torch.Tensor) and (not isinstance(module, nn.Linear) or output.ndim == 2):
            made[id(output)] = module, output  # type: ignore[assignment]

    plain = [part for part in {*modules.values()} if not (part._forward_hooks or part._forward_pre_hooks)]
    with ExitStack() as stack:
        for part in plain:
            if type(part) in _NORMALISATIONS and not part.training and part.running_mean is not None:
                stack.callback(part.register_forward_pre_hook(before).remove)
            elif isinstance(part, _Before) and part._parameters.get("weight") is not None and part not in read:
                stack.callback(part.register_forward_hook(after).remove)
        expected = _read(model, layers)
    return [pair for pair in pairs if all(calls[part] == 1 for part in pair)], expected


@contextmanager
def _merged(before: _Before, normalisation: Any) -> Iterator[None]:
    weight, bias = before.weight, before.bias
    fuse: Any = fuse_linear_bn_weights if isinstance(before, nn.Linear) else fuse_conv_bn_weights
    statistics = normalisation.running_mean, normalisation.running_var, normalisation.eps
    with torch.no_grad():
        fused = fuse(weight, bias, *statistics, normalisation.weight, normalisation.bias)
    before.weight, before.bias = (part.requires_grad_(False) for part in fused)
    normalisation.forward = _unchanged
    try:
        yield
    finally:
        before.weight, before.bias = weight, bias
        del normalisation.forward


def _unchanged(activation: torch.Tensor) -> torch.Tensor:
    return activation


@torch.no_grad()
def _read(model: Model, layers: Sequence[str]) -> list[torch.Tensor]:
    domain, generator = model.domain, torch.Generator().manual_seed(0)
    signal = blank_signal(domain)
    noise = torch.rand(signal.shape, generator=generator, dtype=torch.float32, device="cpu")
    device = next((weight.device for weight in model.module.parameters()), torch.device("cpu"))
    signal = (domain.low + (domain.high - domain.low) * noise).to(device, signal_type(model.module))
    cuda = [device] if device.type == "cuda" else []
    named = [*dict.fromkeys([*layers, "output"])]
    with repeatable("float32"), torch.random.fork_rng(devices=cuda), model.tap(named) as tap:
        torch.manual_seed(0)
        return [activation.clone() for activation in tap(signal).values()]


def _same(expected: list[torch.Tensor], found: list[torch.Tensor]) -> bool:
    return all(bool((a - b).norm() <= TOLERANCE * a.norm()) for a, b in zip(expected, found, strict=True))
