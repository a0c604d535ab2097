"""timm's networks, by timm's own names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import is_model, model_entrypoint
from torch import nn

from ...framework.class_labels import class_labels
from ...framework.domains import ImageDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.outline import default_layers
from ...framework.seeding import seeded
from ...framework.weight_files import WeightFile
from ...framework.weights import fit, load_network, names_file
from .imagenet import imagenet_labels, labels_of


def timm_model_names() -> list[str]:
    """Return the names of all networks, without the tags of their weights."""
    return list(timm.list_models())


def timm_model(
    name: str,
    *,
    weights: str = "DEFAULT",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build a network, in eval mode, for signals ``(B, C, H, W)`` in [0, 1].

    Size and normalisation are those of the weights in timm; for random weights, those of the default weights.

    Parameters
    ----------
    name
        Name as in timm, such as ``resnet10t``, or with the tag of its weights, ``resnet10t.c3_in1k``.
    weights
        ``DEFAULT``, the tag of other weights, or ``none`` for random ones. They are downloaded once, as tensors only.
        Or a file of weights, in any format of `metamery.framework.read_weights`, with timm's names or those of the
        authors, if timm knows these; its normalisation, if it holds one, is used.
    entry
        Where in a file the weights are, such as ``model_ema``.
    num_classes
        Number of logits; by default that of the weights. Any other number gives a new, random last layer.
    labels
        Names of the classes; by default ImageNet's for 1,000 classes.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The network or its weights are unknown.
    MetameryError
        The weights cannot be downloaded, the network has none, the file is not one of this network's weights,
        `num_classes` is below 1, or the number of labels differs from that of the classes.
    """
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        raise unknown("timm network", architecture, timm_model_names())
    what = f"timm/{architecture}"
    tags = [known.partition(".")[2] for known in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise unknown(f"weights of {what}:", tag, [*tags, "none", "FILE"])
    from_file = names_file(what, weights, ["DEFAULT", "none", *tags], entry)
    if weights in tags:
        tag = weights
    full = f"{architecture}.{tag}" if tag else architecture
    asked = None if num_classes is None and labels is None else class_labels(what, num_classes, labels, 0)[0]
    normalisation = None
    notes: tuple[str, ...] = ()
    with seeded(seed):
        if from_file:
            usual = getattr(timm.get_pretrained_cfg(full), "num_classes", len(imagenet_labels()))
            build = partial(_create, full, False)
            rename = partial(timm_names, architecture)
            loaded = load_network(build, usual, weights, entry, what=what, num_classes=num_classes, rename=rename)
            network, classes = loaded.network, loaded.classes
            normalisation, notes = loaded.normalisation, loaded.notes
        else:
            network = _create(full, weights != "none", asked)
            classes = network.num_classes
    network.eval()
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    domain = ImageDomain(*config["input_size"])
    layers = default_layers(network, domain)
    normalise_input(network, *(normalisation or (config["mean"], config["std"])))
    return Model(network, domain, layers, *labels_of(what, classes, labels), notes, encoder=classes is None)


def timm_names(
    architecture: str, tensors: Mapping[str, torch.Tensor], network: nn.Module
) -> Mapping[str, torch.Tensor]:
    """Give the tensors of an author's own file, such as OpenAI's of CLIP, timm's names, if timm knows how to."""
    convert = getattr(sys.modules[model_entrypoint(architecture).__module__], "checkpoint_filter_fn", None)
    missing = _missing(tensors, network)
    if convert is None or not missing:
        return tensors
    try:
        converted: Mapping[str, torch.Tensor] = convert(dict(tensors), network)
    except Exception:  # such functions take other files than those that they know for granted
        return tensors
    return converted if _missing(converted, network) < missing else tensors


def _missing(tensors: Mapping[str, torch.Tensor], network: nn.Module) -> int:
    return len(fit(network, WeightFile(Path(), "", tensors)).missing)


def _create(name: str, pretrained: bool, classes: int | None = None) -> Any:
    arguments: dict[str, Any] = {} if classes is None else {"num_classes": classes}
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
