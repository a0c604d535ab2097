"""Weights of a file brought into a network whose names, classes and last layer may be others."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from .class_labels import class_labels, labels_for
from .errors import MetameryError, unknown
from .seeding import seeded
from .weight_files import WeightFile, read_weights

SHOWN = 3
"""Number of names of each kind that a message gives."""

_NORMALISATION = ("normalise.mean", "normalise.std")
"""What `normalise_input` adds to a network."""

_NORMALISATIONS = (("new_mean", "new_std"), ("mu", "sigma"), ("mean", "std"))
"""Names of mean and standard deviation in files of robustness, of RobustBench, and of others."""

_STATISTICS = ("running_mean", "running_var")
"""Buffers that must be in the file; others are computed when the network is built."""

_COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
"""Buffers without influence on the network in eval mode."""

_SILENT = (*_COUNTERS, *(name for pair in _NORMALISATIONS for name in pair))


Rename = Callable[[Mapping[str, torch.Tensor], nn.Module], Mapping[str, torch.Tensor]]
"""A function from the tensors of a file to the same tensors by the names of a network."""


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a network.

    Parameters
    ----------
    tensors
        Those that fit, by the network's names.
    missing
        Names of the network's weights and statistics that the file lacks.
    reshaped
        Tensors of the file that have another shape than the network's, by the network's names.
    unexpected
        Names in parts that the network has, without the prefix.
    apart
        Tensors of parts that the network does not have, by the file's names.
    """

    tensors: Mapping[str, torch.Tensor]
    missing: Sequence[str]
    reshaped: Mapping[str, torch.Tensor]
    unexpected: Sequence[str]
    apart: Mapping[str, torch.Tensor]

    @property
    def whole(self) -> bool:
        return not (self.missing or self.reshaped or self.unexpected)


def names_file(what: str, weights: str, known: Sequence[str], entry: str | None = None) -> bool:
    """Whether the option `weights` of a network names a file, and not one of the known weights.

    Parameters
    ----------
    what
        Name of the network, for messages.
    weights
        The option; what has a point or a slash is taken for a file.
    known
        Names of weights that are not files, none of which has a point or a slash.
    entry
        Where in the file the weights are.

    Raises
    ------
    UnknownNameError
        It is neither.
    MetameryError
        An entry is given without a file.
    """
    if weights in known:
        if entry is not None:
            raise MetameryError(f"{what}: entry = {entry!r} needs a file of weights, and weights = {weights!r} is none")
        return False
    if "." in weights or "/" in weights or os.sep in weights:
        return True
    raise unknown(f"weights of {what}:", weights, [*known, "FILE"])


@dataclass(frozen=True)
class Loaded:
    """A network with its weights.

    Parameters
    ----------
    network
        The network, in the mode in which it was built.
    classes
        Number of its logits; None if the file has no last layer: the network then returns its input.
    normalisation
        Mean and standard deviation of each channel, if the file holds them.
    notes
        A line on the file and how many of its tensors are used; none for random weights.
    """

    network: nn.Module
    classes: int | None
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    notes: tuple[str, ...] = ()


def make_network(
    build: Callable[[int], nn.Module],
    classes: int,
    *,
    what: str,
    weights: str = "none",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    normalises: bool = True,
    rename: Rename | None = None,
) -> tuple[Loaded, tuple[str, ...] | None]:
    """Build a network with random weights or those of a file, and return it with the names of its classes, if given.

    Parameters
    ----------
    build
        Builds the network with random weights for a number of classes.
    classes
        Its usual number of classes.
    what
        Name of the network, for messages.
    weights
        ``none`` for random weights, or a file; see `load_network`.
    entry
        Where in the file the weights are.
    num_classes
        Number of logits that is asked for; by default that of the labels or `classes`, or the file's.
    labels
        Names of the classes.
    seed
        Seed of random weights.
    normalises
        Whether the network normalises its input by a mean and a standard deviation.
    rename
        See `load_network`.

    Raises
    ------
    MetameryError
        The file cannot be read or holds the weights of another network or a normalisation that this one does not have,
        or the number of labels differs from that of the classes.
    """
    if not names_file(what, weights, ["none"], entry):
        count, names = class_labels(what, num_classes, labels, classes)
        with seeded(seed):
            return Loaded(build(count), count), names
    class_labels(what, num_classes, labels, classes)
    with seeded(seed):
        loaded = load_network(build, classes, weights, entry, what=what, num_classes=num_classes, rename=rename)
    mean, std = loaded.normalisation or ((0.0,), (1.0,))
    if not normalises and ({*mean} != {0.0} or {*std} != {1.0}):
        raise MetameryError(f"'{weights}' normalises signals by mean {mean} and std {std}, which {what} does not do")
    return loaded, labels_for(what, loaded.classes, labels)


def load_network(
    build: Callable[[int], nn.Module],
    classes: int,
    path: str | Path,
    entry: str | None = None,
    *,
    what: str,
    num_classes: int | None = None,
    rename: Rename | None = None,
) -> Loaded:
    """Build a network with the weights of a file; the number of its logits is the file's unless one is given.

    If `num_classes` is another number than the file's, or the file has no last layer, the last layer is a new, random
    one, with a warning. A network without a last layer and without `num_classes` has none: it returns what the last
    layer would get.

    Parameters
    ----------
    build
        Builds the network with random weights for a number of classes.
    classes
        Its usual number of classes.
    path, entry
        The file, and where in it the weights are; see `read_weights`.
    what
        Name of the network, for messages.
    num_classes
        Number of logits that is asked for.
    rename
        Gives the tensors of the file the names of a network, for files with other names.

    Raises
    ------
    MetameryError
        The file cannot be read, or holds the weights of another network.
    """
    file = read_weights(path, entry)
    network = build(classes)
    tensors = _unwrapped(file.tensors, network)
    file = replace(file, tensors=rename(tensors, network) if rename else tensors)
    found = fit(network, file)
    head: set[str] = set()
    given: int | None = classes
    if not found.whole or num_classes not in (None, classes):
        head = _differing(network, build(classes + 1))
    if not found.whole:
        if not {*found.missing, *found.reshaped} <= head or not _are_within(found.unexpected, head):
            raise MetameryError(f"'{file.path}' holds weights of another network than {what}: {misfit(network, found)}")
        rows = {len(tensor) for name, tensor in {**found.tensors, **found.reshaped}.items() if name in head}
        given = rows.pop() if len(rows) == 1 and not (found.missing or found.unexpected) else None
    wanted = given if num_classes is None else num_classes
    if wanted not in (None, classes):
        network = build(wanted)
        found = fit(network, file)
    kept = {name: tensor for name, tensor in found.tensors.items() if name not in head or given == wanted}
    state = network.state_dict()  # with the versions of its parts, which some need
    state.update(kept)
    network.load_state_dict(state)
    _warn(file, found, what, given, wanted, head)
    if wanted is None:
        for module in {name.rpartition(".")[0] for name in head}:
            network.set_submodule(module, nn.Identity())
    place = f", entry '{file.entry}'" if file.entry else ""
    note = f"weights: {len(kept)} tensors of '{file.path.name}'{place}"
    return Loaded(network, wanted, _normalisation(file), (note,))


def fit(network: nn.Module, file: WeightFile) -> Fit:
    """Find the names that a file's tensors have in a network.

    Of the prefixes that names in the file and all names of the network have, such as ``module.model.``, those are left
    out without which most names and shapes agree; the shortest of several.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if name not in _NORMALISATION}
    theirs, inner = _prefixes(file.tensors, own)
    found = {inner + name.removeprefix(theirs): name for name in file.tensors if name.startswith(theirs)}
    tensors: dict[str, torch.Tensor] = {}
    reshaped: dict[str, torch.Tensor] = {}
    unexpected: list[str] = []
    apart = {name: tensor for name, tensor in file.tensors.items() if not name.startswith(theirs)}
    apart = {name: tensor for name, tensor in apart.items() if not _is_copy(name, tensor, found, file)}
    parts = {name.removeprefix(inner).partition(".")[0] for name in own}
    for name, original in found.items():
        tensor, short = file.tensors[original], name.removeprefix(inner)
        if name in own:
            (tensors if tensor.shape == own[name].shape else reshaped)[name] = tensor
        elif short.partition(".")[0] not in parts:
            apart[original] = tensor
        elif not short.endswith(_COUNTERS):
            unexpected.append(short)
    learned = dict(network.named_parameters())
    missing = [name for name in own if name not in found and (name in learned or name.endswith(_STATISTICS))]
    return Fit(tensors, missing, reshaped, unexpected, apart)


def _unwrapped(tensors: Mapping[str, torch.Tensor], network: nn.Module) -> Mapping[str, torch.Tensor]:
    """Leave out ``module``, by which `torch.nn.DataParallel` around a part of a network is known, within names."""
    if any("module" in name.split(".") for name in network.state_dict()):
        return tensors
    short = {".".join(part for part in name.split(".") if part != "module"): tensor for name, tensor in tensors.items()}
    return short if len(short) == len(tensors) else tensors


def _prefixes(theirs: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> tuple[str, str]:
    first, *_ = own
    inner = [prefix for prefix, _ in _splits(first) if all(name.startswith(prefix) for name in own)]
    counts: Counter[tuple[str, str]] = Counter({("", ""): 0})
    for name, tensor in theirs.items():
        for prefix, rest in _splits(name):
            for before in inner:
                if before + rest in own:
                    counts[prefix, before] += 1 + (own[before + rest].shape == tensor.shape)
    return max(counts, key=lambda pair: (counts[pair], -len(pair[0])))


def _is_copy(name: str, tensor: torch.Tensor, found: Mapping[str, str], file: WeightFile) -> bool:
    """Whether a tensor is in the file twice: robustness stores the network once more, as its attacker's."""
    return any(rest in found and torch.equal(file.tensors[found[rest]], tensor) for _, rest in _splits(name))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield each prefix of a dotted name, the empty one first, with the rest.

    >>> list(_splits("a.b"))
    [('', 'a.b'), ('a.', 'b')]
    """
    yield "", name
    for index, letter in enumerate(name):
        if letter == ".":
            yield name[: index + 1], name[index + 1 :]


def _differing(network: nn.Module, other: nn.Module) -> set[str]:
    """Return the names of tensors whose shape depends on the number of classes."""
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    return {name for name, tensor in network.state_dict().items() if tensor.shape != shapes.get(name)}


def _are_within(names: Sequence[str], head: set[str]) -> bool:
    modules = tuple(f"{name.rpartition('.')[0]}." for name in head)
    return all(name.startswith(modules) for name in names)


def misfit(network: nn.Module, found: Fit) -> str:
    """Return in one line which tensors are missing, unexpected, or of another shape."""
    own = network.state_dict()
    kinds = []
    if found.missing:
        kinds.append(f"{_names(found.missing)} missing")
    if found.unexpected:
        kinds.append(f"{_names(found.unexpected)} unexpected")
    if found.reshaped:
        name, tensor = next(iter(found.reshaped.items()))
        shapes = f"{name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
        kinds.append(f"{len(found.reshaped)} of another shape ({shapes})")
    return "; ".join(kinds)


def _names(names: Sequence[str]) -> str:
    """Return a number of tensors with the first names, as in ``2 tensors (fc.weight, fc.bias)``."""
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(names[:SHOWN])}{more})"


def _warn(file: WeightFile, found: Fit, what: str, given: int | None, wanted: int | None, head: set[str]) -> None:
    if left := [*found.unexpected, *(name for name in found.apart if not name.endswith(_SILENT))]:
        warnings.warn(f"'{file.path}' also holds {_names(left)}, which {what} does not have", stacklevel=3)
    layers = " and ".join(sorted({f"'{name.rpartition('.')[0]}'" for name in head}))
    if given is None:
        rest = "and the network ends before it" if wanted is None else "which starts from random weights"
        warnings.warn(f"'{file.path}' has no last layer {layers}, {rest}", stacklevel=3)
    elif given != wanted:
        other = f"'{file.path}' has one of {given} classes"
        warnings.warn(f"the last layer {layers} starts from random weights: {other}", stacklevel=3)


def _normalisation(file: WeightFile) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and the standard deviation that a file holds beside the weights."""
    for mean, std in _NORMALISATIONS:
        for name, tensor in file.tensors.items():
            before, _, last = name.rpartition(".")
            other = file.tensors.get(f"{before}.{std}" if before else std)
            if last == mean and other is not None and tensor.numel() == other.numel() <= 4 and bool((other > 0).all()):
                return tuple(tensor.flatten().tolist()), tuple(other.flatten().tolist())
    return None
