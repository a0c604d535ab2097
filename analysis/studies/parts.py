"""The models of a study, loaded: what creation, synthesis, estimate and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...framework.choosing import choose_layers
from ...framework.contract import examine, on_device
from ...framework.groups import numbered
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.schema import model_key
from ...framework.study import ModelReference, Study
from ..proof.measures import measured_layers


@dataclass(frozen=True, eq=False)
class Part:
    """One model of a study, loaded.

    The name is the qualified one; if a study has the same model twice, with different options, the second name ends
    in ``+2``.
    """

    key: str
    name: str
    use: ModelReference
    model: Model
    layers: tuple[str, ...]
    measured: tuple[str, ...]
    relus: tuple[bool, ...]
    weights_sha256: str


def load_parts(study: Study, plugins: Plugins, device: torch.device) -> list[Part]:
    """Load the models of a study and check that all of their layers can be reached.

    Raises
    ------
    MetameryError
        A model or a layer is unknown or cannot be used.
    """
    parts: list[Part] = []
    for use in study.models:
        found = plugins.find("model", use.name).qualified
        model: Model = plugins.load("model", use.name, **use.options)
        on_device(model, device)
        layers = choose_layers(model, use.layers)
        name = _unique(found, [part.key for part in parts])
        measured = measured_layers(model, layers)
        contract = examine(model, layers)
        relus = tuple(contract.relus[layer] for layer in layers)
        parts.append(Part(model_key(name), name, use, model, layers, measured, relus, model.weights_sha256()))
    return parts


def _unique(name: str, keys: Sequence[str]) -> str:
    """Return a model's name, with a number if another model has the same key, ignoring case."""
    taken = {key.casefold() for key in keys}
    return numbered(name, lambda each: model_key(each).casefold() in taken)
