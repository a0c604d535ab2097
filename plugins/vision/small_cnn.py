"""A network of four convolutions, trained in minutes on two cores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import gcd

import torch
from torch import nn

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.errors import unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.weights import make_network
from .cifar import CIFAR10_MEAN, CIFAR10_STD

NORMS = ("batch", "group")


class SmallCNN(nn.Module):
    """Four times convolution 3 × 3, normalisation, ReLU, with max pools in between; then average and linear.

    Parameters
    ----------
    width
        Number of channels of the first convolution; each further one has twice as many as the one before.
    norm
        Normalisation: ``batch`` for BatchNorm, ``group`` for GroupNorm with up to eight groups.
    """

    def __init__(self, width: int = 32, norm: str = "batch", num_classes: int = 10) -> None:
        super().__init__()
        before = 3
        self.features = nn.Sequential()
        for block in range(1, 5):
            channels = width * 2 ** (block - 1)
            self.features.add_module(f"conv{block}", nn.Conv2d(before, channels, 3, padding=1, bias=False))
            self.features.add_module(f"norm{block}", _norm(norm, channels))
            self.features.add_module(f"relu{block}", nn.ReLU())
            if block < 4:
                self.features.add_module(f"pool{block}", nn.MaxPool2d(2))
            before = channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(before, num_classes)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(self.features(signals)).flatten(1)  # (B, 8 width)
        logits: torch.Tensor = self.classify(pooled)
        return logits


def small_cnn(
    *,
    weights: str = "none",
    entry: str | None = None,
    width: int = 32,
    norm: str = "batch",
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 32,
) -> Model:
    """Build the network in eval mode, for pictures in [0, 1].

    Its layers are the four ReLUs and the logits. Pictures are normalised with CIFAR-10's statistics.

    Parameters
    ----------
    weights
        ``none`` for random weights, or a file of weights in any format of `metamery.framework.read_weights`.
    entry
        Where in a file the weights are, such as ``model_ema``.
    width
        Number of channels of the first convolution; the others have 2, 4 and 8 times as many.
    norm
        Normalisation: ``batch``, or ``group`` where batches are small or spread over processes.
    num_classes
        Number of logits; by default that of the labels or the file, or 10.
    labels
        Names of the classes.
    seed
        Seed of the random weights.
    size
        Height and width of the pictures, from 8.

    Raises
    ------
    UnknownNameError
        `norm` is unknown.
    MetameryError
        The number of labels differs from that of the classes, a number is too small, or the file is not one of this
        network's weights.
    """
    check_number("small-cnn", "width", width)
    check_number("small-cnn", "size", size, least=8)
    if norm not in NORMS:
        raise unknown("norm of small-cnn:", norm, NORMS)
    loaded, names = make_network(
        partial(SmallCNN, width, norm), 10, what="small-cnn",
        weights=weights, entry=entry, num_classes=num_classes, labels=labels, seed=seed,
    )  # fmt: skip
    normalise_input(loaded.network, *(loaded.normalisation or (CIFAR10_MEAN, CIFAR10_STD))).eval()
    layers = (*(f"features.relu{block}" for block in range(1, 5)), "output")
    return Model(loaded.network, ImageDomain(3, size, size), layers, names, notes=loaded.notes)


def _norm(norm: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(gcd(8, channels), channels)
