"""Several networks as one model, so that a metamer can match in all of them at once (Boehm et al. 2025).

Each network gets the common signal as its own domain has it, by a differentiable conversion. Layers are named by the
network and the layer, ``lite0._blocks.8``; a joint layer ``lite0._blocks.8 + lite1._blocks.8`` has a term in each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...framework.contract import examine
from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ...framework.errors import MetameryError
from ...framework.groups import numbered
from ...framework.joint import Term, sum_of, terms_of
from ...framework.layers import LayerName, PartRead
from ...framework.models import Model

if TYPE_CHECKING:
    from ...framework.manager import Plugins

Convert = Callable[[torch.Tensor], torch.Tensor]


class Together(nn.Module):
    """Runs several networks on one signal, each in its own domain.

    It returns the mean of their log-probabilities ``(B, classes)`` if `share_classes`, otherwise all of their results,
    flattened and concatenated.

    Parameters
    ----------
    members
        The models, by the name of the submodule.
    domain
        Domain of the common signal.
    share_classes
        Whether all members have the same classes.
    """

    def __init__(self, members: Mapping[str, Model], domain: Domain, *, share_classes: bool) -> None:
        super().__init__()
        self._converted: dict[str, Convert] = {}
        for name, model in members.items():
            self.add_module(name, model.module)
            self._converted[name] = conversion(domain, model.domain)
        self._shares_classes = share_classes
        self.independent_parts = tuple(members)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        results = []
        for name, convert in self._converted.items():
            with suppress(PartRead):
                results.append(self.get_submodule(name)(convert(signals)))
        if self._shares_classes:
            return torch.stack([logits.log_softmax(dim=1) for logits in results]).mean(dim=0)
        return torch.cat([result.flatten(1) for result in results], dim=1)


def together(models: Sequence[str | Mapping[str, Any]], *, plugins: Plugins) -> Model:
    """Join several models into one, by name.

    Parameters
    ----------
    models
        Names of two or more models, or tables of a name and options, ``{ name = "…", num_classes = 10 }``.
    plugins
        Plugins in which they are looked up.

    Raises
    ------
    MetameryError
        There are fewer than two models, one is unknown, or they cannot share a signal.
    """
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise MetameryError(f'models is {models!r}, expected a list of names: ["NAME", "NAME"]')
    tables = [{"name": each} if isinstance(each, str) else dict(each) for each in models]
    names = [str(table.pop("name", "")) for table in tables]
    keys = member_names(names)
    loaded = {key: plugins.load("model", name, **table) for key, name, table in zip(keys, names, tables, strict=True)}
    return join_models(loaded)


def join_models(members: Mapping[str, Model]) -> Model:
    """Join several models into one, whose metamers match in all of them at once.

    Its layers are those of the members. By default metamers are made at joint layers, one term in each member, at the
    same relative depth. A metamer has to get its original's class from each member that has classes.

    Parameters
    ----------
    members
        Two or more models by name; the names become part of those of the layers.

    Raises
    ------
    MetameryError
        There are fewer than two, two are the same network, or they cannot share a signal.

    Examples
    --------
    >>> from metamery.analysis import join_models
    >>> from metamery.framework.testing import example_model
    >>> both = join_models({"one": example_model(), "other": example_model(seed=1)})
    >>> both.objectives
    ('one.1 + other.1', 'one.2 + other.2', 'one + other')
    """
    if len(members) < 2:
        raise MetameryError(f"{len(members)} model to be joined, expected at least two")
    if len({id(model.module) for model in members.values()}) < len(members):
        raise MetameryError("a network is to be joined with itself: expected different networks")
    domain = common_domain(members)
    classes = {name: examine(model).classes for name, model in members.items()}
    known = {(model.labels, model.label_space) for model in members.values()}
    share_classes = len(known) == 1 and len({*classes.values()}) == 1 and None not in classes.values()
    first = next(iter(members.values()))
    layers = {name: _layers_of(name, model) for name, model in members.items()}
    return Model(
        Together(members, domain, share_classes=share_classes).eval(),
        domain,
        [*(layer for own in layers.values() for layer in own), "output"],
        labels=first.labels if share_classes else None,
        label_space=first.label_space if share_classes else "category",
        notes=[f"{name}: {note}" for name, model in members.items() for note in model.notes],
        stochastic=any(model.stochastic for model in members.values()),
        encoder=not share_classes,
        objectives=at_same_depth(list(layers.values())),
        answers=[name for name, count in classes.items() if count is not None] or ["output"],
    )


def member_names(models: Sequence[str]) -> list[str]:
    """Return unique short names of models, which can be part of a layer's name.

    >>> member_names(["vision:torchvision/resnet50", "runs/one", "runs/one"])
    ['resnet50', 'one', 'one-2']
    """
    names: list[str] = []
    for model in models:
        short = re.sub(r"[^A-Za-z0-9_-]+", "_", model.rstrip("/").rpartition("/")[2].rpartition(":")[2]) or "model"
        names.append(numbered(short, names.__contains__, "-"))
    return names


def in_all(layer: str, members: Sequence[str]) -> str:
    """Return the joint layer of a layer of this name in every member; names of members' layers stay as they are.

    >>> in_all("conv1 - 0.5 output", ["a", "b"])
    'a.conv1 + b.conv1 - 0.5 a - 0.5 b'
    >>> in_all("a.conv1 + b.conv2", ["a", "b"]), in_all("3", ["a", "b"])
    ('a.conv1 + b.conv2', '3')
    """
    terms = terms_of(layer)
    if layer.isdecimal() or any(term.layer.split(".")[0] in members for term in terms):
        return layer
    each = [Term(in_member(member, LayerName.parse(term.layer)), term.weight) for member in members for term in terms]
    return sum_of(each)


def common_domain(members: Mapping[str, Model]) -> Domain:
    """Return the domain of a signal that models share: of pictures the largest, of sounds the highest rate.

    Raises
    ------
    MetameryError
        Some take pictures and others sounds, or they differ in channels, in the shape of pictures or in duration.
    """
    domains = {name: model.domain for name, model in members.items()}
    largest = max(domains.values(), key=lambda domain: domain.shape[-1])
    first = next(name for name, domain in domains.items() if domain == largest)
    for name, domain in domains.items():
        if _proportions(domain) != _proportions(largest):
            raise MetameryError(f"'{name}' and '{first}' cannot share a signal: {domain}; {largest}")
    return largest


def conversion(common: Domain, own: Domain) -> Convert:
    """Return the function that gives a model the common signal in its own domain; gradients pass through it.

    Pictures are scaled, antialiased and bicubic; sounds are resampled (`torchaudio.functional.resample`), and set to
    the level that the model expects. Values are mapped from range to range, and clamped.
    """

    def convert(signals: torch.Tensor) -> torch.Tensor:
        if own == common:
            return signals
        if isinstance(own, WaveformDomain):
            assert isinstance(common, WaveformDomain)
            return _resampled(signals, common, own)
        unit = (signals - common.low) / (common.high - common.low)
        if own.shape != common.shape:
            unit = nn.functional.interpolate(unit, (own.height, own.width), mode="bicubic", antialias=True)
        scaled: torch.Tensor = (own.low + (own.high - own.low) * unit).clamp(own.low, own.high)
        return scaled

    return convert


def _resampled(signals: torch.Tensor, common: WaveformDomain, own: WaveformDomain) -> torch.Tensor:
    from torchaudio.functional import resample

    if own.sample_rate != common.sample_rate:
        signals = resample(signals, common.sample_rate, own.sample_rate)
    missing = own.samples - signals.shape[1]
    signals = nn.functional.pad(signals, (0, missing))  # at most a few samples, added or, if negative, cut off
    if own.rms is not None and common.rms is not None:
        signals = signals * (own.rms / common.rms)
    return signals.clamp(own.low, own.high)


def _proportions(domain: Domain) -> tuple[object, ...]:
    """Return what models that share a signal have to agree in."""
    if isinstance(domain, ImageDomain):
        return "image", domain.channels, round(domain.height / domain.width, 2)
    return "waveform", round(domain.samples / domain.sample_rate, 2)


def _layers_of(member: str, model: Model) -> list[str]:
    return [in_member(member, LayerName.parse(layer).within(model.module)) for layer in model.layers]


def in_member(member: str, name: LayerName) -> str:
    """Return the name of a member's layer in the model of several; that of its output is the member's own."""
    path = member if name.path == "output" else f"{member}.{name.path}"
    return str(LayerName(path, name.call, name.keys))


def at_same_depth(layers: Sequence[Sequence[str]]) -> list[str]:
    """Return joint layers of one layer in each member, evenly spaced; as many as the member with the fewest has."""
    count = min(map(len, layers))
    joint = []
    for index in range(count):
        at = index / max(1, count - 1)
        joint.append(" + ".join(own[round(at * (len(own) - 1))] for own in layers))
    return joint
