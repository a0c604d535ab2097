"""timm's networks, by timm's own names."""

from __future__ import annotations

from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from timm.models import is_model

from ...framework.class_labels import check_number
from ...framework.domains import ImageDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.outline import default_layers
from ...framework.seeding import seeded
from .imagenet import IMAGENET_1K, imagenet_labels


def timm_model_names() -> list[str]:
    """Return the names of all networks, without the tags of their weights."""
    return list(timm.list_models())


def timm_model(name: str, *, weights: str = "DEFAULT", num_classes: int | None = None, seed: int = 0) -> Model:
    """Build a network, in eval mode, for signals ``(B, C, H, W)`` in [0, 1].

    Size and normalisation are those of the weights in timm; for random weights, those of the default weights.

    Parameters
    ----------
    name
        Name as in timm, such as ``resnet10t``, or with the tag of its weights, ``resnet10t.c3_in1k``.
    weights
        ``DEFAULT``, the tag of other weights, or ``none`` for random ones. They are downloaded once, as tensors only.
    num_classes
        Number of logits. With weights, any other number than theirs gives a new, random last layer.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The network or its weights are unknown.
    MetameryError
        The weights cannot be downloaded, the network has none, or `num_classes` is below 1.
    """
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        raise unknown("timm network", architecture, timm_model_names())
    tags = [known.partition(".")[2] for known in timm.list_models(f"{architecture}.*", pretrained=True)]
    if weights not in ("DEFAULT", "none"):
        tag = weights
    if tag and tag not in tags:
        raise unknown(f"weights of timm/{architecture}:", tag, [*tags, "none"])
    full = f"{architecture}.{tag}" if tag else architecture
    if num_classes is not None:
        check_number(f"timm/{architecture}", "num_classes", num_classes)
    arguments: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with seeded(seed):
        network = _create(full, weights != "none", arguments).eval()
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    domain = ImageDomain(*config["input_size"])
    layers = default_layers(network, domain)
    normalise_input(network, config["mean"], config["std"])
    if network.num_classes == len(imagenet_labels()):
        return Model(network, domain, layers, imagenet_labels(), IMAGENET_1K)
    return Model(network, domain, layers)


def _create(name: str, pretrained: bool, arguments: dict[str, Any]) -> Any:
    config = timm.get_pretrained_cfg(name)
    if pretrained and (config is None or not config.has_weights):
        raise MetameryError(f"timm/{name} has no weights; weights=none gives a random network")
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except OSError as error:
        if not pretrained:
            raise
        reason = " ".join(str(error).split())
        raise MetameryError(
            f"the weights of timm/{name} could not be downloaded ({reason}); weights=none gives a random network"
        ) from error
