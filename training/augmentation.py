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


def known_augmentations() -> dict[str, Callable[..., Any]]:
    """Return the classes of the augmentations by name."""
    from torchvision.transforms import v2

    own = {"flip": v2.RandomHorizontalFlip, "crop": v2.RandomCrop}
    return own | {name: getattr(v2, name) for name in dir(v2) if isinstance(getattr(v2, name), type)}


def augmentation(names: Sequence[str], model: Model) -> Augment | None:
    """Build augmentations by name, to be applied in order.

    ``flip``: left and right are exchanged with a probability of one half. ``crop``: a random crop after padding by an
    eighth on each side, reflected. Any other name is a class of `torchvision.transforms.v2`, made without arguments.

    Raises
    ------
    UnknownNameError
        A name is unknown.
    """
    from torchvision.transforms import v2

    if not names:
        return None
    if not isinstance(model.domain, ImageDomain):
        raise MetameryError(f"augment = {list(names)}: augmentations are of images, and the model takes sounds")
    height, width = model.domain.height, model.domain.width
    known: dict[str, Callable[[], Any]] = {
        **known_augmentations(),
        "crop": lambda: v2.RandomCrop((height, width), padding=(width // 8, height // 8), padding_mode="reflect"),
    }
    made = []
    for name in names:
        if name not in known:
            raise unknown("augmentation", name, known)
        try:
            made.append(known[name]())
        except TypeError as error:
            raise MetameryError(f"augmentation '{name}': {error}") from None
    low, high = model.domain.low, model.domain.high
    composed = v2.Compose(made)

    def augment(signal: torch.Tensor) -> torch.Tensor:
        with torch.device("cpu"), float32_by_default():
            return composed(signal).clamp(low, high)  # type: ignore[no-any-return]

    return augment
