"""torchvision's classification networks, by torchvision's own names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pickle import UnpicklingError
from typing import Any

import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from ...framework.class_labels import class_labels
from ...framework.domains import ImageDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.outline import default_layers
from ...framework.seeding import seeded
from ...framework.weights import load_network, names_file
from .imagenet import labels_of

_WITH_AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def torchvision_model_names() -> list[str]:
    """Return the names of all classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def torchvision_model(
    name: str,
    *,
    weights: str = "DEFAULT",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build a network, in eval mode, for signals ``(B, 3, H, W)`` in [0, 1].

    Size and normalisation are those of the weights in torchvision; for random weights, those of the default weights.
    Auxiliary heads are left out.

    Parameters
    ----------
    name
        Name as in torchvision, such as ``resnet18``.
    weights
        ``DEFAULT``, the name of other weights, such as ``IMAGENET1K_V1``, or ``none`` for random ones. They are
        downloaded once, and read as tensors only: a file that holds anything else is refused. Or a file of weights, in
        any format of `metamery.framework.read_weights`; its normalisation, if it holds one, is used.
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
        The weights cannot be downloaded, the file is not one of this network's weights, `num_classes` is below 1, or
        the number of labels differs from that of the classes.
    """
    if name not in (names := torchvision_model_names()):
        raise unknown("torchvision network", name, names)
    what = f"torchvision/{name}"
    known = torchvision.models.get_model_weights(name)
    from_file = names_file(what, weights, [*known.__members__, "none"], entry)
    published = weights != "none" and not from_file
    described = known[weights if published else "DEFAULT"]
    preset = described.transforms()
    pixels, normalisation = preset.crop_size[0], (preset.mean, preset.std)
    usual = len(described.meta["categories"])
    asked, _ = class_labels(what, num_classes, labels, usual)
    classes: int | None = asked
    if published:
        _download(name, described)
    notes: tuple[str, ...] = ()
    with seeded(seed):
        if from_file:
            build = partial(_build, name, None, pixels)
            loaded = load_network(build, usual, weights, entry, what=what, num_classes=num_classes)
            network, normalisation = loaded.network, loaded.normalisation or normalisation
            classes, notes = loaded.classes, loaded.notes
        elif published:
            network = _build(name, described, pixels)
            if asked != usual:
                _new_head(network, _build(name, None, pixels, asked))
        else:
            network = _build(name, None, pixels, asked)
    network.eval()
    domain = ImageDomain(3, pixels, pixels)
    layers = default_layers(network, domain)
    normalise_input(network, *normalisation)
    return Model(network, domain, layers, *labels_of(what, classes, labels), notes, encoder=classes is None)


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
