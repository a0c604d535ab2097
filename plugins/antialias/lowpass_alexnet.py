"""LowpassAlexNet: AlexNet with Hann windows in place of strides and max pools (Feather et al. 2023, Methods).

The first convolution has stride 1, and each stride and each max pool is replaced by an average weighted by a Hann
window: of 17 samples for stride 4, of 9 for stride 2, without the two zeros at its ends and summing to 1. At 224 pixels
the sizes are those of AlexNet: 55, 27, 27, 13, 13, 6.

Weights and layers have the names of ``torchvision/alexnet``, so the two can be compared layer by layer, and the weights
of either can be loaded into the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.weights import make_network
from ..vision.imagenet import IMAGENET_MEAN, IMAGENET_STD, imagenet_labels, labels_of
from .windows import hann

LAYERS = (*(f"features.{index}" for index in (1, 4, 7, 9, 11)), "classifier.2", "classifier.5", "output")
"""Every ReLU of AlexNet, and the logits."""


class HannPool2d(nn.Module):
    """Average of pictures ``(B, C, H, W)`` weighted by a Hann window; zeros beyond the edges.

    Parameters
    ----------
    size
        Number of samples of the window, including its two zero ends.
    stride, padding
        Stride and padding, as in a pooling.
    """

    taps: torch.Tensor

    def __init__(self, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.size = size
        self.stride = stride
        self.padding = padding
        taps = hann(size).float()
        self.register_buffer("taps", torch.outer(taps, taps)[None, None], persistent=False)  # (1, 1, size−2, size−2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        channels = signals.shape[1]
        taps = self.taps.to(signals.dtype).expand(channels, -1, -1, -1)
        return F.conv2d(signals, taps, stride=self.stride, padding=self.padding, groups=channels)

    def extra_repr(self) -> str:
        return f"{self.size}, stride={self.stride}, padding={self.padding}"


class LowpassAlexNet(nn.Module):
    """The network, without normalisation; logits ``(B, num_classes)``."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential()
        parts = {  # numbers as in AlexNet; sizes are for 224 pixels
            "0": nn.Conv2d(3, 64, 11, padding=5),  # (B, 64, 224, 224)
            "0_relu": nn.ReLU(),
            "0_pool": HannPool2d(17, stride=4, padding=5),  # (B, 64, 55, 55)
            "1": nn.ReLU(),
            "2": HannPool2d(9, stride=2, padding=2),  # (B, 64, 27, 27)
            "3": nn.Conv2d(64, 192, 5, padding=2),
            "4": nn.ReLU(),
            "5": HannPool2d(9, stride=2, padding=2),  # (B, 192, 13, 13)
            "6": nn.Conv2d(192, 384, 3, padding=1),
            "7": nn.ReLU(),
            "8": nn.Conv2d(384, 256, 3, padding=1),
            "9": nn.ReLU(),
            "10": nn.Conv2d(256, 256, 3, padding=1),
            "11": nn.ReLU(),
            "12": HannPool2d(9, stride=2, padding=2),  # (B, 256, 6, 6)
        }
        for name, part in parts.items():
            self.features.add_module(name, part)
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        pooled = self.avgpool(self.features(signals))
        logits: torch.Tensor = self.classifier(pooled.flatten(1))
        return logits


def lowpass_alexnet(
    *,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 224,
) -> Model:
    """Build LowpassAlexNet in eval mode, for pictures in [0, 1].

    Parameters
    ----------
    weights
        ``none`` for random weights, or a file of weights in any format of `metamery.framework.read_weights`.
    entry
        Where in a file the weights are, such as ``model_ema``.
    num_classes
        Number of logits; by default that of the labels or the file, or ImageNet's 1,000.
    labels
        The classes' names; by default ImageNet's, if there are 1,000.
    seed
        Seed of the random weights.
    size
        Height and width of the pictures.

    Raises
    ------
    MetameryError
        The number of labels is not that of the classes, the pictures are smaller than 32 pixels, or the file is not one
        of this network's weights.
    """
    check_number("lowpass-alexnet", "size", size, least=32)
    loaded, _ = make_network(
        LowpassAlexNet, len(imagenet_labels()), what="lowpass-alexnet",
        weights=weights, entry=entry, num_classes=num_classes, labels=labels, seed=seed,
    )  # fmt: skip
    normalise_input(loaded.network, *(loaded.normalisation or (IMAGENET_MEAN, IMAGENET_STD))).eval()
    named = labels_of("lowpass-alexnet", loaded.classes, labels)
    return Model(loaded.network, ImageDomain(3, size, size), LAYERS, *named, loaded.notes)
