"""CochResNet50: torchvision's ResNet50 on a cochleagram (Feather et al. 2023, Methods)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from ...framework.domains import WaveformDomain
from ...framework.models import Model
from ...framework.weights import make_network
from ..antialias.surgery import antialiased
from .cochcnn9 import SAMPLE_RATE, SAMPLES, WORDS
from .cochleagram import Cochleagram

LAYERS = ("cochleagram", "relu", *(f"layer{stage}" for stage in range(1, 5)), "avgpool", "output")


class CochResNet50(ResNet):  # type: ignore[misc]
    """ResNet50 whose first convolution takes one channel, after a cochleagram; logits ``(B, num_classes)``."""

    def __init__(self, front_end: Cochleagram, num_classes: int) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=num_classes)
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's others
        self.cochleagram = front_end

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(self.cochleagram(signals))
        return logits


def cochresnet50(
    *,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    density: int | None = None,
) -> Model:
    """Build CochResNet50 in eval mode, for 2 s of sound at 20 kHz in [−1, 1].

    Its layers are the cochleagram, the first ReLU, the four stages, the average pool and the logits.

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
    return _build("cochresnet50", weights, entry, num_classes, labels, seed, density)


def cochresnet50_hann(
    *,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    density: int | None = None,
) -> Model:
    """Build CochResNet50 with Hann windows in place of strides and the max pool; options as in `cochresnet50`.

    It corresponds to `cochcnn9_hann`; for the 1 × 1 convolutions of the shortcuts, which have no ReLU, the input is
    averaged instead of the output.
    """
    model = _build("cochresnet50-hann", weights, entry, num_classes, labels, seed, density)
    model.module.maxpool = nn.AvgPool2d(1, 2)  # every other sample, which anti-aliasing replaces by its window
    model, replaced = antialiased(model, "hann")
    return replace(model, notes=(*model.notes, *map(str, replaced)))


def _build(
    name: str,
    weights: str,
    entry: str | None,
    num_classes: int | None,
    labels: Sequence[str] | None,
    seed: int,
    density: int | None,
) -> Model:
    loaded, names = make_network(
        lambda count: CochResNet50(Cochleagram(SAMPLES, SAMPLE_RATE, density=density), count), WORDS, what=name,
        weights=weights, entry=entry, num_classes=num_classes, labels=labels, seed=seed, normalises=False,
    )  # fmt: skip
    return Model(loaded.network.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), LAYERS, names, notes=loaded.notes)
