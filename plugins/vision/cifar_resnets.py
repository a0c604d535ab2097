"""Residual networks for small pictures: ResNet-20, 32 and 56, and PreActResNet-18.

The first three are those of He et al. (2015, arXiv:1512.03385, §4.2): shortcuts are identities that take every other
sample and fill new channels with zeros (their option A). The last has the blocks of He et al. (2016, arXiv:1603.05027),
where normalisation and ReLU come before each convolution, in the usual size for CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.weights import make_network
from .cifar import CIFAR10_MEAN, CIFAR10_STD

_convolution = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)


class Shortcut(nn.Module):
    """Every `stride`-th sample, with new channels of zeros; it has no weights."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self.more = more
        self.skip = nn.AvgPool2d(1, stride)  # a module, not an index, so that anti-aliasing can replace it

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return F.pad(self.skip(signals), (0, 0, 0, 0, 0, self.more))


class Block(nn.Module):
    """Two convolutions, each followed by BatchNorm; ReLU after the first and after the sum."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(before, channels, stride=stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = Shortcut(channels - before, stride) if stride > 1 or channels != before else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        inside = self.relu1(self.norm1(self.conv1(signals)))
        summed: torch.Tensor = self.relu2(self.norm2(self.conv2(inside)) + self.shortcut(signals))
        return summed


class PreActBlock(nn.Module):
    """BatchNorm and ReLU before each of two convolutions; a 1 × 1 convolution where the shortcut changes size."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.relu1 = nn.ReLU()
        self.conv1 = _convolution(before, channels, stride=stride)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = _convolution(channels, channels)
        self.shortcut = (
            nn.Conv2d(before, channels, 1, stride=stride, bias=False) if stride > 1 or channels != before else None
        )

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        ready = self.relu1(self.norm1(signals))
        passed = signals if self.shortcut is None else self.shortcut(ready)
        summed: torch.Tensor = passed + self.conv2(self.relu2(self.norm2(self.conv1(ready))))
        return summed


class ResNet(nn.Module):
    """3 × 3 convolution, BatchNorm, ReLU; stages of `depth` blocks, the later ones at half the size; average; linear.

    Parameters
    ----------
    widths
        Number of channels of each stage.
    depth
        Number of blocks in each stage.
    """

    def __init__(self, widths: Sequence[int], depth: int, num_classes: int) -> None:
        super().__init__()
        self.conv = _convolution(3, widths[0])
        self.norm = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.stages = _stages(Block, widths, depth)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(widths[-1], num_classes)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        inside = self.stages(self.relu(self.norm(self.conv(signals))))
        logits: torch.Tensor = self.classify(self.pool(inside).flatten(1))
        return logits


class PreActResNet(nn.Module):
    """`ResNet` made of `PreActBlock`s: BatchNorm and ReLU come after the stages."""

    def __init__(self, widths: Sequence[int], depth: int, num_classes: int) -> None:
        super().__init__()
        self.conv = _convolution(3, widths[0])
        self.stages = _stages(PreActBlock, widths, depth)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(widths[-1], num_classes)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        inside = self.relu(self.norm(self.stages(self.conv(signals))))
        logits: torch.Tensor = self.classify(self.pool(inside).flatten(1))
        return logits


def cifar_resnet20(
    *,
    weights: str = "none",
    entry: str | None = None,
    width: int = 16,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 32,
) -> Model:
    """Build ResNet-20: three stages of three blocks; see `cifar_resnet`."""
    return cifar_resnet("cifar-resnet20", 3, weights, entry, width, num_classes, labels, seed, size)


def cifar_resnet32(
    *,
    weights: str = "none",
    entry: str | None = None,
    width: int = 16,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 32,
) -> Model:
    """Build ResNet-32: three stages of five blocks; see `cifar_resnet`."""
    return cifar_resnet("cifar-resnet32", 5, weights, entry, width, num_classes, labels, seed, size)


def cifar_resnet56(
    *,
    weights: str = "none",
    entry: str | None = None,
    width: int = 16,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 32,
) -> Model:
    """Build ResNet-56: three stages of nine blocks; see `cifar_resnet`."""
    return cifar_resnet("cifar-resnet56", 9, weights, entry, width, num_classes, labels, seed, size)


def preact_resnet18(
    *,
    weights: str = "none",
    entry: str | None = None,
    width: int = 64,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    size: int = 32,
) -> Model:
    """Build PreActResNet-18: four stages of two blocks; options as in `cifar_resnet`."""
    layers = ("conv", *(f"stages.{stage}" for stage in range(1, 5)), "relu", "output")
    build = partial(PreActResNet, [width, 2 * width, 4 * width, 8 * width], 2)
    return _model("preact-resnet18", build, layers, weights, entry, width, num_classes, labels, seed, size)


def cifar_resnet(
    name: str,
    depth: int,
    weights: str,
    entry: str | None,
    width: int,
    num_classes: int | None,
    labels: Sequence[str] | None,
    seed: int,
    size: int,
) -> Model:
    """Build a ResNet of three stages in eval mode, for pictures in [0, 1].

    Its layers are the first ReLU, the three stages and the logits. Pictures are normalised with CIFAR-10's statistics.

    Parameters
    ----------
    name
        Name of the network in errors.
    depth
        Number of blocks in each stage.
    weights
        ``none`` for random weights, or a file of weights in any format of `metamery.framework.read_weights`.
    entry
        Where in a file the weights are, such as ``model_ema``.
    width
        Number of channels of the first stage; the others have 2 and 4 times as many.
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
    MetameryError
        The number of labels differs from that of the classes, a number is too small, or the file is not one of this
        network's weights.
    """
    layers = ("relu", *(f"stages.{stage}" for stage in range(1, 4)), "output")
    build = partial(ResNet, [width, 2 * width, 4 * width], depth)
    return _model(name, build, layers, weights, entry, width, num_classes, labels, seed, size)


def _model(
    name: str,
    build: partial[ResNet] | partial[PreActResNet],
    layers: Sequence[str],
    weights: str,
    entry: str | None,
    width: int,
    num_classes: int | None,
    labels: Sequence[str] | None,
    seed: int,
    size: int,
) -> Model:
    check_number(name, "width", width)
    check_number(name, "size", size, least=8)

    def initialised(count: int) -> nn.Module:
        network = build(count)
        for part in network.modules():
            if isinstance(part, nn.Conv2d):  # He et al. (2015, arXiv:1502.01852)
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        return network

    loaded, names = make_network(
        initialised, 10, what=name,
        weights=weights, entry=entry, num_classes=num_classes, labels=labels, seed=seed,
    )  # fmt: skip
    normalise_input(loaded.network, *(loaded.normalisation or (CIFAR10_MEAN, CIFAR10_STD))).eval()
    return Model(loaded.network, ImageDomain(3, size, size), layers, names, notes=loaded.notes)


def _stages(block: type[Block] | type[PreActBlock], widths: Sequence[int], depth: int) -> nn.Sequential:
    """Build stages ``1``, ``2``, …; the first block of all but the first stage has stride 2."""
    stages = nn.Sequential()
    before = widths[0]
    for stage, channels in enumerate(widths, 1):
        first = block(before, channels, 1 if stage == 1 else 2)
        stages.add_module(str(stage), nn.Sequential(first, *(block(channels, channels, 1) for _ in range(depth - 1))))
        before = channels
    return stages
