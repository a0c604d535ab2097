"""The classes of ImageNet-1k, in the order of the logits."""

from __future__ import annotations

from functools import cache

from torchvision.models import ResNet18_Weights

IMAGENET_1K = "imagenet-1k"
"""Name of the label space of ImageNet-1k."""

IMAGENET_16 = "imagenet-16"
"""Name of the label space of Geirhos et al. (2018, arXiv:1808.08750): 16 everyday classes, sets of ImageNet-1k's."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels of ImageNet's pictures, in [0, 1], as used by torchvision."""


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 class names of torchvision's weights; no two are the same."""
    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
