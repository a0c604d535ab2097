"""The classes of ImageNet-1k, in the order of the logits."""

from __future__ import annotations

from functools import cache

from torchvision.models import ResNet18_Weights

IMAGENET_1K = "imagenet-1k"
"""The name of this label space."""

IMAGENET_16 = "imagenet-16"
"""The 16 everyday classes of Geirhos et al. (2018, arXiv:1808.08750), each a set of ImageNet-1k's."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels of ImageNet's pictures, in [0, 1], as torchvision normalises them."""


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 names as torchvision's weights give them; no two are the same."""
    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
