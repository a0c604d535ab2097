"""The models of a study, loaded: what creation, synthesis, estimate and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...framework.choosing import choose_layers
from ...framework.contract import has_relus, on_device
from ...framework.groups import numbered
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.schema import model_key
from ...framework.study import ModelReference, Study
from ..proof.measures import measured_layers
from ..synthesis.procedure import Procedure


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
    return [_load(name, use, plugins, device) for name, use in _named(study, plugins)]


def load_part(study: Study, key: str, plugins: Plugins, device: torch.device) -> Part:
    """Load one model of a study, by the key of its group.

    Raises
    ------
    MetameryError
        The model or one of its layers cannot be used.
    """
    return next(_load(name, use, plugins, device) for name, use in _named(study, plugins) if model_key(name) == key)


def check_fit(procedure: Procedure, parts: Sequence[Part]) -> None:
    """Raise `MetameryError` if the file to start from, where there is one, does not fit a model's domain."""
    if procedure.start is not None:
        for domain in {part.model.domain: None for part in parts}:
            procedure.start.fit(domain)


def _named(study: Study, plugins: Plugins) -> list[tuple[str, ModelReference]]:
    """Return the models of a study with their names, which are numbered if their keys are the same, ignoring case."""
    names: list[str] = []
    for use in study.models:
        names.append(_unique(plugins.find("model", use.name).qualified, names))
    return list(zip(names, study.models, strict=True))


def _unique(name: str, others: Sequence[str]) -> str:
    taken = {model_key(other).casefold() for other in others}
    return numbered(name, lambda each: model_key(each).casefold() in taken)


def _load(name: str, use: ModelReference, plugins: Plugins, device: torch.device) -> Part:
    model: Model = plugins.load("model", use.name, **use.options)
    on_device(model, device)
    layers = choose_layers(model, use.layers)
    measured = measured_layers(model, layers)
    relus = has_relus(model, layers)
    return Part(model_key(name), name, use, model, layers, measured, relus, model.weights_sha256())
