"""`Model`: a network with its domain, layers and labels."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from .domains import Domain
from .errors import MetameryError
from .layers import Tap


@dataclass(frozen=True, eq=False)
class Model:
    """A network from signals to logits; any `torch.nn.Module` becomes one by this call.

    Parameters
    ----------
    module
        Network from signals ``(B, …)`` of the domain to logits ``(B, classes)``, with its normalisation inside.
    domain
        Domain of its signals.
    layers
        Layers of interest, in order: module paths, or ``output`` (see `LayerName`).
    labels
        Names of the classes, in the order of the logits.
    label_space
        Name of this set of classes, such as ``imagenet-1k``: a stimulus lists its right answers by label space.
        With the default, a label is compared with the stimulus's own category.
    notes
        Notes on how the network was made, one line each.
    encoder
        Whether the network returns features of signals ``(B, …)`` and not logits of classes. It then gives no answers,
        and a metamer's success is decided by its match alone.
    stochastic
        Whether the network is meant to be random in eval mode. Otherwise a random network is refused, since its
        results would be due to chance.
    objectives
        Layers or joint layers at which metamers are made by default, in order of depth; `layers` if there are none.
    answers
        Layers of interest that return logits, all of which have to give a metamer the class of its original.

    Raises
    ------
    MetameryError
        `module` is not a module, the layers are empty, not text or not unique, or an encoder has labels.
    """

    module: nn.Module
    domain: Domain
    layers: Sequence[str]
    labels: Sequence[str] | None = None
    label_space: str = "category"
    notes: Sequence[str] = ()
    stochastic: bool = False
    encoder: bool = False
    objectives: Sequence[str] = ()
    answers: Sequence[str] = ("output",)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise MetameryError(f"a model's module is {type(self.module).__name__}, expected torch.nn.Module")
        if isinstance(self.layers, str) or not self.layers:
            raise MetameryError(f"a model's layers are {self.layers!r}, expected a list of names")
        for name in ("layers", "objectives", "answers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(set(self.layers)) != len(self.layers):
            raise MetameryError(f"a model's layers are not unique: {', '.join(self.layers)}")
        if self.labels is not None:
            if self.encoder:
                raise MetameryError("a model that returns features, not classes, has labels: expected none")
            object.__setattr__(self, "labels", tuple(self.labels))

    @classmethod
    def from_module(
        cls,
        network: nn.Module,
        domain: Domain | Sequence[int],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        labels: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
        encoder: bool = False,
    ) -> Model:
        """Make a model of a network that has no normalisation and no list of layers.

        Parameters
        ----------
        network
            Network from signals ``(B, …)`` to logits ``(B, classes)``. It is put in eval mode.
        domain
            Domain of the signals, or the shape of pictures in [0, 1], ``(channels, height, width)``.
        mean, std
            Normalisation of each channel of a picture, in units of the domain; it becomes part of the network. A
            `torch.nn.Sequential` is wrapped, and is then called ``network`` in the names of layers.
        labels
            Names of the classes, in the order of the logits.
        layers
            Layers of interest; by default the network's stages.
        encoder
            Whether the network returns features and not logits of classes.

        Raises
        ------
        MetameryError
            The shape is not one of pictures, only one of `mean` and `std` is given, or they do not fit.

        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> Model.from_module(network, (3, 8, 8), mean=[0.5] * 3, std=[0.25] * 3).layers
        ('network.1', 'output')
        """
        from .domains import ImageDomain
        from .normalisation import Normalise, normalise_input
        from .outline import default_layers

        if isinstance(domain, Sequence):
            if len(domain) != 3:
                raise MetameryError(f"the shape is {tuple(domain)}, expected (channels, height, width) or a domain")
            domain = ImageDomain(*domain)
        if (mean is None) != (std is None):
            raise MetameryError("a normalisation needs both mean and std")
        network.eval()
        if mean is not None and std is not None:
            if isinstance(network, nn.Sequential):
                network = nn.Sequential(OrderedDict(normalise=Normalise(mean, std), network=network))
            else:
                normalise_input(network, mean, std)
        return cls(network, domain, layers or default_layers(network, domain), labels, encoder=encoder)

    def __call__(self, signals: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(B, classes)`` of signals ``(B, …)``, as `module` does.

        >>> from metamery.framework.testing import example_model, example_signals
        >>> model = example_model()
        >>> model(example_signals(model, count=2)).shape
        torch.Size([2, 4])
        """
        logits: torch.Tensor = self.module(signals)
        return logits

    def tap(self, layers: Sequence[str], *, stop: bool = True) -> Tap:
        """Read layers, each with the batch in its first dimension; see `Tap` and `examine`."""
        from .contract import examine

        return Tap(self.module, layers, stop=stop, axes=examine(self, layers).axes)

    def class_numbers(self, answers: Iterable[str | int]) -> frozenset[int]:
        """Return the numbers of the classes that answers stand for: all classes of a name, or the class of a number.

        >>> from metamery.framework import ImageDomain
        >>> model = Model(nn.Identity(), ImageDomain(1, 1, 3), ["output"], labels=["crane", "dog", "crane"])
        >>> sorted(model.class_numbers({"crane"})), sorted(model.class_numbers({0, 7}))
        ([0, 2], [0])
        """
        labels = self.labels or ()
        wanted = set(answers)
        return frozenset(number for number, label in enumerate(labels) if number in wanted or label in wanted)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Unique names of the classes: a label that several classes share is followed by the class's number.

        >>> from metamery.framework import ImageDomain
        >>> Model(nn.Identity(), ImageDomain(1, 1, 3), ["output"], labels=["crane", "dog", "crane"]).class_names
        ('crane (0)', 'dog', 'crane (2)')
        """
        count = Counter(self.labels or ())
        return tuple(
            label if count[label] == 1 else f"{label} ({number})" for number, label in enumerate(self.labels or ())
        )

    def attributes(self) -> dict[str, Any]:
        """Return the model's attributes in results: labels, weights' SHA-256, notes, and attributes of its domain."""
        from .contract import examine

        no_classes = ["returns features, not classes: success is the match alone"] if self.encoder else []
        return {
            "labels": list(self.labels or ()),
            "label_space": self.label_space,
            "weights_sha256": self.weights_sha256(),
            "stochastic": int(self.stochastic),
            "notes": [*self.notes, *no_classes, *examine(self).notes],
            **self.domain.attributes(),
        }

    def weights_sha256(self) -> str:
        """Return the SHA-256 over the names, types, shapes and bytes of all weights and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            if not hasattr(tensor, "detach"):
                continue
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
            digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
