"""CochCNN9: nine layers on a cochleagram, for recognising the word in the middle of two seconds of sound.

The architecture is that of Kell et al. (2018, Neuron 98:630), as trained by Feather et al. (2023, Methods). Modules
have the names of the network that they released.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from ...framework.domains import WaveformDomain
from ...framework.models import Model
from ...framework.weights import make_network
from ..antialias.surgery import antialiased
from .cochleagram import Cochleagram

SAMPLES, SAMPLE_RATE = 40_000, 20_000

WORDS = 794
"""Classes of the published networks: 793 words, and one for none of them."""

LAYERS = ("cochleagram", *(f"relu{index}" for index in range(5)), "avgpool", "relufc", "output")

_POOL = (2, 5)


class SamePadding(nn.Module):
    """Zeros around pictures ``(B, C, H, W)``, so that ``n`` samples become ``⌈n / stride⌉``; an odd zero comes last.

    PyTorch's own ``padding="same"`` does not support strides, and warns about even kernels.
    """

    def __init__(self, kernel: tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        sides: list[int] = []
        for length, kernel in zip(reversed(signals.shape[2:]), reversed(self.kernel), strict=True):
            missing = max(0, (-(-length // self.stride) - 1) * self.stride + kernel - length)
            sides += [missing // 2, missing - missing // 2]
        return F.pad(signals, sides)

    def extra_repr(self) -> str:
        return f"{self.kernel}, stride={self.stride}"


def network(front_end: Cochleagram, num_classes: int, *, pools: bool = True, width: float = 1) -> nn.Sequential:
    """Build the network, from waveforms to logits ``(B, num_classes)``; sizes are for 2 s at 20 kHz and `width` 1.

    Parameters
    ----------
    front_end
        Front end, which returns pictures of `shape` ``(1, H, W)``.
    pools
        Whether to pool. If False, each pooling is replaced by a module that takes every other sample, which
        anti-aliasing replaces by a blur.
    width
        Factor of the number of channels, and of units of the hidden layer.
    """
    height, frames = (_after_pools(length) for length in front_end.shape[1:])
    first, second, third, fourth, units = (round(width * count) for count in (96, 256, 512, 1024, 4096))
    parts: dict[str, nn.Module] = {
        "cochleagram": front_end,  # (B, 1, 211, 390)
        "batchnorm0": nn.BatchNorm2d(1),
        "same0": SamePadding((7, 14), 3),
        "conv0": nn.Conv2d(1, first, (7, 14), stride=3),
        "relu0": nn.ReLU(),  # (B, 96, 71, 130)
        "maxpool0": _pool(nn.MaxPool2d, pools),
        "batchnorm1": nn.BatchNorm2d(first),  # (B, 96, 36, 65)
        "same1": SamePadding((4, 8), 2),
        "conv1": nn.Conv2d(first, second, (4, 8), stride=2),
        "relu1": nn.ReLU(),  # (B, 256, 18, 33)
        "maxpool1": _pool(nn.MaxPool2d, pools),
        "batchnorm2": nn.BatchNorm2d(second),  # (B, 256, 9, 17)
        "same2": SamePadding((2, 5)),
        "conv2": nn.Conv2d(second, third, (2, 5)),
        "relu2": nn.ReLU(),
        "same3": SamePadding((2, 5)),
        "conv3": nn.Conv2d(third, fourth, (2, 5)),
        "relu3": nn.ReLU(),
        "same4": SamePadding((2, 5)),
        "conv4": nn.Conv2d(fourth, third, (2, 5)),
        "relu4": nn.ReLU(),
        "avgpool": _pool(nn.AvgPool2d, pools),  # (B, 512, 5, 9)
        "flatten": nn.Flatten(),
        "fullyconnected": nn.Linear(third * height * frames, units),
        "relufc": nn.ReLU(),
        "dropout": nn.Dropout(),
        "classification": nn.Linear(units, num_classes),
    }
    return nn.Sequential(OrderedDict(parts))


def cochcnn9(
    *,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    density: int | None = None,
) -> Model:
    """Build CochCNN9 in eval mode, for 2 s of sound at 20 kHz in [−1, 1].

    Its layers are the cochleagram, every ReLU, the average pool and the logits.

    Parameters
    ----------
    weights
        ``none`` for random weights, or a file of weights in any format of `metamery.framework.read_weights`.
    entry
        Where in a file the weights are, such as ``model_ema``.
    num_classes
        Number of logits; by default that of the labels or the file, or 794.
    labels
        Names of the classes.
    seed
        Seed of the random weights.
    density
        Density of the cochleagram: None for the published one, 8 for a faster one that is close to it.

    Raises
    ------
    MetameryError
        The number of labels differs from that of the classes, a number is too small, or the file is not one of this
        network's weights.
    """
    return _build("cochcnn9", weights, entry, num_classes, labels, seed, density, pools=True)


def cochcnn9_hann(
    *,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    density: int | None = None,
) -> Model:
    """Build CochCNN9 with Hann windows in place of strides and pools (Feather et al. 2019); options as in `cochcnn9`.

    A strided convolution is computed at every sample and averaged after its ReLU, by a Hann window of 8 samples for
    stride 2, of 12 for stride 3, along frequency and time; the same window replaces each pooling. Weights and layers
    have the names of `cochcnn9`.
    """
    model, replaced = antialiased(
        _build("cochcnn9-hann", weights, entry, num_classes, labels, seed, density, pools=False), "hann"
    )
    return replace(model, notes=(*model.notes, *map(str, replaced)))


def _build(
    name: str,
    weights: str,
    entry: str | None,
    num_classes: int | None,
    labels: Sequence[str] | None,
    seed: int,
    density: int | None,
    *,
    pools: bool,
) -> Model:
    loaded, names = make_network(
        lambda count: network(Cochleagram(SAMPLES, SAMPLE_RATE, density=density), count, pools=pools), WORDS, what=name,
        weights=weights, entry=entry, num_classes=num_classes, labels=labels, seed=seed, normalises=False,
    )  # fmt: skip
    return Model(loaded.network.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), LAYERS, names, notes=loaded.notes)


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d], pools: bool) -> nn.Module:
    """Pool with zeros at the edges: after a ReLU, they change no maximum but lower the averages at the edges."""
    return nn.Sequential(SamePadding(_POOL, 2), kind(_POOL, 2)) if pools else nn.AvgPool2d(1, 2)


def _after_pools(length: int) -> int:
    for stride in (3, 2, 2, 2, 2):
        length = -(-length // stride)
    return length
