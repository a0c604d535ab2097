"""Augmentations of pictures, one by one, by the names that recipes give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..framework.domains import ImageDomain
from ..framework.errors import MetameryError, unknown
from ..framework.models import Model
from ..framework.running import float32_by_default
from .data import Augment

TRANSFORMS = (
    "AugMix", "AutoAugment", "ElasticTransform", "GaussianNoise", "RandAugment", "RandomAutocontrast",
    "RandomChannelPermutation", "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomInvert", "RandomPerspective", "RandomPhotometricDistort", "RandomVerticalFlip", "TrivialAugmentWide",
)  # fmt: skip
"""Classes of `torchvision.transforms.v2` that change a picture without arguments, and keep its size and its label."""


def known_augmentations() -> set[str]:
    """Return the names that are of augmentations, those of transforms that are refused among them."""
    from torchvision.transforms import v2

    return {"flip", "crop", *(name for name in dir(v2) if isinstance(getattr(v2, name), type))}


def augmentation(names: Sequence[str], model: Model) -> Augment | None:
    """Build augmentations by name, to be applied in order.

    ``flip``: left and right are exchanged with a probability of one half. ``crop``: a random crop after padding by an
    eighth on each side, reflected. `TRANSFORMS`: classes of `torchvision.transforms.v2`, made without arguments.

    Raises
    ------
    UnknownNameError
        A name is unknown.
    MetameryError
        A transform needs arguments, does nothing without them, or changes more than the picture; or one fails on the
        model's pictures.
    """
    from torchvision.transforms import v2

    if not names:
        return None
    if not isinstance(model.domain, ImageDomain):
        raise MetameryError(f"augment = {list(names)}: augmentations are of images, and the model takes sounds")
    height, width = model.domain.height, model.domain.width
    known: dict[str, Callable[[], Any]] = {
        "flip": v2.RandomHorizontalFlip,
        "crop": lambda: v2.RandomCrop((height, width), padding=(width // 8, height // 8), padding_mode="reflect"),
        **{name: getattr(v2, name) for name in TRANSFORMS if hasattr(v2, name)},
    }
    for name in names:
        if name not in known and isinstance(getattr(v2, name, None), type):
            raise MetameryError(
                f"augmentation '{name}' needs arguments, does nothing without them, or changes more than the picture: "
                f"expected one of {', '.join(known)}"
            )
        if name not in known:
            raise unknown("augmentation", name, known)
    composed = v2.Compose([known[name]() for name in names])
    low, high = model.domain.low, model.domain.high

    def augment(signal: torch.Tensor) -> torch.Tensor:
        try:
            with torch.device("cpu"), float32_by_default():
                return composed(signal).clamp(low, high)  # type: ignore[no-any-return]
        except (RuntimeError, TypeError, ValueError) as error:
            shape = " × ".join(map(str, signal.shape))
            raise MetameryError(f"augment = {list(names)} fails on pictures of {shape}: {error}") from error

    return augment
