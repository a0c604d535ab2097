"""The family ``feather2023/``: networks of model_metamers_pytorch, with the paper's layers and normalisation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from ...framework.domains import ImageDomain, WaveformDomain
from ...framework.errors import MetameryError, MissingExtraError, unknown
from ...framework.models import Model
from ...framework.normalisation import normalise_input
from ...framework.weights import Rename, make_network
from ..vision.imagenet import IMAGENET_MEAN, IMAGENET_STD, labels_of

ARCHIVES = {kind: f"pytorch_metamers_{kind}_model_checkpoints.tar" for kind in ("visual", "audio")}
"""Files of the release, by the words that `networks.toml` has for them."""

SOUND_NETWORKS = ("cochcnn9", "cochresnet50")
"""Networks of two seconds of sound; the others take pictures."""


@dataclass(frozen=True)
class Architecture:
    """One architecture of the paper.

    Parameters
    ----------
    network
        Name of the network that serves it here.
    layers
        The paper's name of each layer, and ours.
    classes
        Number of logits, or width of an embedding.
    mean, std
        Normalisation of pictures, if the file holds none.
    rename
        Pairs of a regular expression and its replacement, for names in the files.
    leave_out
        Regular expressions of names in the files that are not weights.
    """

    network: str
    layers: Mapping[str, str]
    classes: int = 1000
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    rename: Sequence[tuple[str, str]] = ()
    leave_out: Sequence[str] = ()


@dataclass(frozen=True)
class Release:
    """One network of the paper: its architecture, the file with its weights, and where that comes from."""

    architecture: Architecture
    file: str
    source: str


@cache
def releases() -> Mapping[str, Release]:
    """Return the networks by the names of their folders in model_metamers_pytorch."""
    table = tomllib.loads((Path(__file__).parent / "networks.toml").read_text(encoding="utf-8"))
    architectures = {name: Architecture(**entries) for name, entries in table["architectures"].items()}
    return {
        name: Release(architectures[architecture], file, source)
        for name, (architecture, file, source) in table["networks"].items()
    }


def feather2023_names() -> list[str]:
    """Return the names of all networks."""
    return list(releases())


def feather2023_model(
    name: str,
    *,
    weights: str = "",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build a network in eval mode, for pictures of 224 × 224 in [0, 1] or 2 s of sound at 20 kHz in [−1, 1].

    Its layers are those of the paper, in the order of the paper. The normalisation of pictures is the file's, or the
    paper's.

    Parameters
    ----------
    name
        Name of the folder in model_metamers_pytorch, such as ``resnet50_l2_3_robust``.
    weights
        A released file, in any format of `metamery.framework.read_weights`, or ``none`` for random weights. Nothing is
        downloaded.
    entry
        Where in a file the weights are, such as ``model_ema``.
    num_classes
        Number of logits; by default that of the file. Any other number gives a new, random last layer.
    labels
        Names of the classes; by default ImageNet's for 1,000 classes.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The network is unknown.
    MetameryError
        No file is given, it is not one of this network's weights, `num_classes` is below 1, or the number of labels
        differs from that of the classes.
    """
    if name not in releases():
        raise unknown("network of Feather et al. (2023)", name, feather2023_names())
    release = releases()[name]
    what, architecture = f"feather2023/{name}", release.architecture
    if not weights:
        source = ARCHIVES.get(release.source, release.source)
        raise MetameryError(f"{what} needs weights=FILE: '{release.file}' of {source}, or weights=none for random ones")
    is_sound = architecture.network in SOUND_NETWORKS
    member = architecture.network.removeprefix("timm/")
    loaded, names = make_network(
        _builder(architecture.network, what), architecture.classes, what=what, weights=weights, entry=entry,
        num_classes=num_classes, labels=labels, seed=seed, normalises=not is_sound,
        rename=partial(_renamed, architecture) if member == architecture.network else _timm_names(member),
    )  # fmt: skip
    layers = tuple(architecture.layers.values())
    if is_sound:
        return Model(loaded.network.eval(), WaveformDomain(40_000, 20_000), layers, names, notes=loaded.notes)
    normalise_input(loaded.network, *(loaded.normalisation or (architecture.mean, architecture.std))).eval()
    named = labels_of(what, loaded.classes, labels)
    return Model(loaded.network, ImageDomain(3, 224, 224), layers, *named, loaded.notes)


def _builder(network: str, what: str) -> Callable[[int], nn.Module]:
    """Return the function that builds a network with random weights for a number of classes."""
    family, _, member = network.rpartition("/")
    if family == "torchvision":
        from torchvision.models import get_model

        return lambda count: get_model(member, num_classes=count)
    if family == "timm":
        try:
            import timm
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"{what} needs the package 'timm': pip install 'metamery[timm]'") from error
        return lambda count: timm.create_model(member, num_classes=count)
    if network in SOUND_NETWORKS:
        from ..audio.cochcnn9 import network as cochcnn9
        from ..audio.cochleagram import Cochleagram
        from ..audio.cochresnet50 import CochResNet50

        build = cochcnn9 if network == "cochcnn9" else CochResNet50
        return lambda count: build(Cochleagram(), count)
    if network == "lowpass-alexnet":
        from ..antialias.lowpass_alexnet import LowpassAlexNet

        return LowpassAlexNet
    from .alexnet_gn import AlexNetGN

    return AlexNetGN


def _timm_names(member: str) -> Rename:
    from ..vision.timm_models import timm_names

    return partial(timm_names, member)


def _renamed(
    architecture: Architecture, tensors: Mapping[str, torch.Tensor], _network: nn.Module
) -> Mapping[str, torch.Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        if any(re.search(pattern, name) for pattern in architecture.leave_out):
            continue
        for pattern, replacement in architecture.rename:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        renamed[name] = tensor
    return renamed
