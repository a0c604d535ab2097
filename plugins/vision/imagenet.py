"""The classes of ImageNet-1k, in the order of the logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from torchvision.models import ResNet18_Weights

from ...framework.class_labels import labels_for

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


def labels_of(
    what: str, classes: int | None, labels: Sequence[str] | None = None
) -> tuple[tuple[str, ...] | None, str]:
    """Return the labels of a network and their label space: those given, or ImageNet's for 1,000 classes, or none.

    Parameters
    ----------
    what
        Name of the network, for messages.
    classes
        Number of its logits; None if it has none.
    labels
        Names of the classes.

    Raises
    ------
    MetameryError
        The number of labels differs from that of the classes, or there are no classes to name.
    """
    if labels is not None:
        return labels_for(what, classes, labels), "category"
    is_imagenet = classes == len(imagenet_labels())
    return (imagenet_labels(), IMAGENET_1K) if is_imagenet else (None, "category")


@cache
def imagenet_numbers() -> Mapping[str, int]:
    """Return the number of each class by its WordNet ID, such as ``n01440764``, and by its name in lower case."""
    wnids = (Path(__file__).parent / "imagenet_wnids.txt").read_text(encoding="utf-8").split()
    return {name.lower(): number for names in (imagenet_labels(), wnids) for number, name in enumerate(names)}


def numbers_of(categories: Iterable[str]) -> dict[str, int]:
    """Return the number of each category, if all of them are classes of ImageNet-1k by WordNet ID or name.

    Names may have ``_`` or ``-`` in place of spaces, in any case. Otherwise nothing is returned.

    >>> numbers_of(["n01440764", "great_white_shark"]), numbers_of(["tabby", "my cat"])
    ({'n01440764': 0, 'great_white_shark': 2}, {})
    """
    known = {_plain(name): number for name, number in imagenet_numbers().items()}
    found = {each: known[_plain(each)] for each in categories if _plain(each) in known}
    return found if len(found) == len({*categories}) else {}


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
