"""torchvision's classification networks, by torchvision's own names."""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.outline import default_layers
from ...framework.seeding import seeded
from .imagenet import IMAGENET_1K, imagenet_labels

_WITH_AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def torchvision_model_names() -> list[str]:
    """Return the names of all classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def torchvision_model(name: str, *, weights: str = "DEFAULT", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build a network, in eval mode, for signals ``(B, 3, H, W)`` in [0, 1].

    Size and normalisation are those of the weights in torchvision; for random weights, those of the default weights.
    Auxiliary heads are left out.

    Parameters
    ----------
    name
        Name as in torchvision, such as ``resnet18``.
    weights
        ``DEFAULT``, the name of other weights, such as ``IMAGENET1K_V1``, or ``none`` for random ones. They are
        downloaded once, and read as tensors only: a file that holds anything else is refused.
    num_classes
        Number of logits; 1,000 by default. With weights, any other number than theirs gives a new, random last layer.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The network or its weights are unknown.
    MetameryError
        The weights cannot be downloaded, or `num_classes` is below 1.
    """
    if name not in (names := torchvision_model_names()):
        raise unknown("torchvision network", name, names)
    known = torchvision.models.get_model_weights(name)
    if weights != "none" and weights not in known.__members__:
        raise unknown(f"weights of torchvision/{name}:", weights, [*known.__members__, "none"])
    selected = None if weights == "none" else known[weights]
    if num_classes is not None:
        check_number(f"torchvision/{name}", "num_classes", num_classes)
    described = selected or known["DEFAULT"]
    preset = described.transforms()
    pixels = preset.crop_size[0]
    if selected is not None:
        _download(name, selected)
    classes = num_classes or len(described.meta["categories"])
    with seeded(seed):
        network = _build(name, None, pixels, num_classes) if selected is None else _build(name, selected, pixels)
        if selected is not None and classes != len(selected.meta["categories"]):
            _new_head(network, _build(name, None, pixels, classes))
    network.eval()
    domain = ImageDomain(3, pixels, pixels)
    layers = default_layers(network, domain)
    normalise_input(network, preset.mean, preset.std)
    if classes == len(imagenet_labels()):
        return Model(network, domain, layers, imagenet_labels(), IMAGENET_1K)
    return Model(network, domain, layers)


def _build(name: str, weights: WeightsEnum | None, pixels: int, num_classes: int | None = None) -> nn.Module:
    arguments: dict[str, Any] = {}
    if name in _WITH_AUXILIARY_HEADS and weights is None:  # published weights include the heads
        arguments |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_") and weights is None:
        arguments["image_size"] = pixels
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    network: nn.Module = torchvision.models.get_model(name, weights=weights, **arguments)
    for head in _WITH_AUXILIARY_HEADS.get(name, ()):
        setattr(network, head, None)
    if name in _WITH_AUXILIARY_HEADS:
        network.__dict__["aux_logits"] = False
    return network


def _new_head(network: nn.Module, random: nn.Module) -> None:
    """Replace modules whose weights have other shapes than in a random network (the last layer) by that network's."""
    fresh = dict(random.named_modules())
    for path, part in list(network.named_modules()):
        if any(w.shape != getattr(fresh[path], own).shape for own, w in part.named_parameters(recurse=False)):
            network.set_submodule(path, fresh[path])


def _download(name: str, weights: WeightsEnum) -> None:
    """Fetch the file into torch's cache, where `get_model` finds it, reading it with `weights_only`.

    `get_model` itself would unpickle any content.
    """
    try:
        weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MetameryError(
            f"the weights of torchvision/{name} could not be downloaded ({error}); weights=none gives a random network"
        ) from error
    except (RuntimeError, UnpicklingError) as error:  # a wrong checksum, or something other than tensors
        reason = str(error).splitlines()[0]
        raise MetameryError(f"the file of weights of torchvision/{name} is damaged: {reason}") from error
