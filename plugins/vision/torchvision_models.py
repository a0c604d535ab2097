"""torchvision's classification networks, by torchvision's own names."""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import torchvision
from torchvision.models import WeightsEnum

from ...framework.domains import ImageDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.outline import default_layers
from .imagenet import IMAGENET_1K, imagenet_labels
from .normalisation import normalise_input
from .seeding import seeded


def torchvision_model_names() -> list[str]:
    """Return the names of all classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def torchvision_model(name: str, *, weights: str = "DEFAULT", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build a network, in eval mode, for signals ``(B, 3, H, W)`` in [0, 1].

    Size and normalisation are those that torchvision gives for the weights; for random ones, for the default
    weights. Auxiliary heads are left out.

    Parameters
    ----------
    name
        As torchvision's, such as ``resnet18``.
    weights
        ``DEFAULT``, another of the network's weights by name, such as ``IMAGENET1K_V1``, or ``none``. They are
        downloaded once, and read as tensors only: a file that holds anything else is refused.
    num_classes
        Number of logits of a random network; 1,000 by default.
    seed
        Of random weights.

    Raises
    ------
    UnknownNameError
        There is no such network, or it has no such weights.
    MetameryError
        The weights cannot be downloaded, or `num_classes` is given with weights.
    """
    if name not in (names := torchvision_model_names()):
        raise unknown("torchvision network", name, names)
    known = torchvision.models.get_model_weights(name)
    if weights != "none" and weights not in known.__members__:
        raise unknown(f"weights of torchvision/{name}:", weights, [*known.__members__, "none"])
    chosen = None if weights == "none" else known[weights]
    if chosen is not None and num_classes is not None:
        raise MetameryError(f"torchvision/{name}: num_classes={num_classes} goes with weights=none only")
    described = chosen or known["DEFAULT"]
    preset = described.transforms()
    pixels = preset.crop_size[0]
    if chosen is not None:
        _download(name, chosen)
    with seeded(seed):
        network = torchvision.models.get_model(
            name, weights=chosen, **_arguments(name, chosen is None, pixels, num_classes)
        ).eval()
    domain = ImageDomain(3, pixels, pixels)
    layers = default_layers(network, domain)
    normalise_input(network, preset.mean, preset.std)
    classes = num_classes or len(described.meta["categories"])
    if classes == len(imagenet_labels()):
        return Model(network, domain, layers, imagenet_labels(), IMAGENET_1K)
    return Model(network, domain, layers)


def _arguments(name: str, random: bool, pixels: int, num_classes: int | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        arguments["aux_logits"] = False
        if random:
            arguments["init_weights"] = True
    if name.startswith("vit_") and random:
        arguments["image_size"] = pixels
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    return arguments


def _download(name: str, weights: WeightsEnum) -> None:
    """Fetch the file into torch's cache, where `get_model` finds it, and hold it against `weights_only`.

    `get_model` itself would unpickle whatever is in the file.
    """
    try:
        weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise MetameryError(
            f"the weights of torchvision/{name} could not be downloaded ({error}); weights=none gives a random network"
        ) from error
    except (RuntimeError, UnpicklingError) as error:  # a wrong checksum, something else than tensors
        reason = str(error).splitlines()[0]
        raise MetameryError(f"the file of weights of torchvision/{name} is damaged: {reason}") from error
