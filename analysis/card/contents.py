"""What a card holds: names and numbers, which are its JSON file, and from which its page is made."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ...framework.checks import shown
from ...framework.errors import MetameryError
from ...framework.folders import KINDS, kind
from .protocol import VERSION

SCHEMA_VERSION = 1
"""Version of the file's entries; a reader refuses newer ones."""

DIGITS = 6
"""Number of significant digits of a card's numbers."""


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval; None where it is not known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Juror:
    """A network of the jury: its name, the SHA-256 of its weights, and how many natural signals it recognises."""

    name: str
    weights_sha256: str
    choices: int
    natural: Estimate


@dataclass(frozen=True)
class LayerCard:
    """One layer: success of its metamers, who recognises them, and the prediction for people.

    Parameters
    ----------
    name
        Name of the layer.
    success, same_label
        Proportions of the metamers that succeed, and that get their natural signal's label.
    judged, unattainable
        Number of metamers that are judged, and for which no match can be told from chance.
    own, others, idiosyncrasy
        Recognition by the network itself, by the jury, and the difference.
    easiest, hardest, searched
        The jury's recognition of the easiest and of the hardest of the metamers that were pushed apart, and the number
        of stimuli for which they were.
    people
        Predicted recognition by people, with its 95 % prediction interval.
    is_extrapolated
        Whether the jury recognises fewer or more than any published metamers at a layer.
    aliasing
        Mean share of the activations' energy that folds where the network subsamples the metamers.
    """

    name: str
    success: Estimate
    same_label: Estimate
    judged: int
    unattainable: int
    own: Estimate
    others: Estimate
    idiosyncrasy: Estimate
    easiest: Estimate
    hardest: Estimate
    searched: int
    people: Estimate
    is_extrapolated: bool
    aliasing: float | None


@dataclass(frozen=True)
class RobustAccuracy:
    """Accuracy under attacks of one size, in the signals' units."""

    epsilon: float
    accuracy: Estimate


@dataclass(frozen=True)
class StimuliFacts:
    """The stimuli: their name, number, and the SHA-256 of the natural signals' names and right answers.

    `counted` is the number to which the jury knows a right answer; `are_bundled` says that they are the protocol's own.
    """

    name: str
    count: int
    counted: int
    sha256: str
    are_bundled: bool


@dataclass(frozen=True)
class PeopleFacts:
    """The fit that predicts people: where it is from, and how it does where a network is left out of it.

    Parameters
    ----------
    modality, choices
        ``vision`` or ``audio``, and the number of answers in the experiments.
    points, networks, pearson
        Number of stages of how many networks, and the correlation of people with other networks.
    coverage, jury_coverage
        Proportion of left-out points inside the 95 % prediction interval, with all other networks as a jury and with
        juries of this card's size.
    error
        Root mean square error of left-out points.
    by_relatives, by_strangers
        Mean recognition by networks of the generating network's architecture, and by others, of the same metamers.
    """

    modality: str
    choices: int
    points: int
    networks: int
    pearson: float
    coverage: float
    jury_coverage: float
    error: float
    by_relatives: float
    by_strangers: float


@dataclass(frozen=True)
class Card:
    """The card of a network.

    Parameters
    ----------
    schema, protocol
        Versions of the file and of the protocol.
    metamery, torch
        Versions of the programs.
    network, options, weights_sha256, domain, kind, choices
        Name of the network, its options as JSON, its weights, signals and their kind, and its number of classes.
    labels
        Categories in which the jury answers; empty for each network's own classes.
    jury, stimuli
        Who recognises what.
    made, failed
        Number of metamers that were made, and that failed.
    null_signals
        Number of signals of the null.
    own_natural, others_natural
        Recognition of the natural signals by the network itself and by the jury.
    layers
        The layers, from the first to the last.
    accuracy, norm, robust, shift_consistency
        Of the network on the natural signals: accuracy, accuracy under attacks by size, and how often the label is the
        same at two positions.
    aliasing
        Mean share of the activations' energy that folds where the network subsamples natural signals.
    people
        The fit of the prediction.
    """

    schema: int
    protocol: int
    metamery: str
    torch: str
    network: str
    options: str
    weights_sha256: str
    domain: str
    kind: str
    choices: int
    labels: str
    jury: tuple[Juror, ...]
    stimuli: StimuliFacts
    made: int
    failed: int
    null_signals: int
    own_natural: Estimate
    others_natural: Estimate
    layers: tuple[LayerCard, ...]
    accuracy: Estimate
    norm: str
    robust: tuple[RobustAccuracy, ...]
    shift_consistency: Estimate
    aliasing: float | None
    people: PeopleFacts

    @property
    def headline(self) -> RobustAccuracy:
        """The robust accuracy that a page states first: that under attacks of the second largest size."""
        return self.robust[-2 if len(self.robust) > 1 else -1]

    def to_json(self) -> str:
        """Return the text of the card's file: the same for the same results."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def short(value: float) -> float | None:
    """Return a number with the digits of a card; None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None


def read_card(file: str | Path) -> Card:
    """Read the JSON file of a card.

    Raises
    ------
    MetameryError
        There is no such file, it is not a card, of a newer schema or another protocol, or damaged.
    """
    path = Path(file)
    if not path.is_file():
        raise MetameryError(f"'{path}' {KINDS[kind(path)]}, expected the JSON file of a card")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MetameryError(f"'{path}' cannot be read as the JSON file of a card: {error}") from None
    if not isinstance(table, dict) or not {"schema", "protocol", "network"} <= {*table}:
        raise MetameryError(f"'{path}' is not the JSON file of a card")
    if table["schema"] != SCHEMA_VERSION:
        raise MetameryError(f"'{path}' has schema {shown(table['schema'])}, this version reads {SCHEMA_VERSION}")
    if table["protocol"] != VERSION:
        raise MetameryError(f"'{path}' is of protocol {shown(table['protocol'])}, expected {VERSION} as here")
    card: Card = _read(Card, table, f"'{path}'")
    for name, entries in (("layers", card.layers), ("robust", card.robust), ("jury", card.jury)):
        if not entries:
            raise MetameryError(f"'{path}' is damaged: '{name}' is empty")
    return card


def _read(wanted: Any, value: Any, where: str) -> Any:
    """Return a value of JSON as what a type asks for: a dataclass, a tuple, a plain type, or None where it may be."""
    if is_dataclass(wanted):
        names = [field.name for field in fields(wanted)]
        if not isinstance(value, Mapping) or {*value} != {*names}:
            raise MetameryError(f"{where} is damaged: expected {', '.join(names)}")
        hints = get_type_hints(wanted)
        return wanted(**{name: _read(hints[name], value[name], f"{where}, {name}") for name in names})  # type: ignore[operator]
    if get_origin(wanted) is tuple:
        if not isinstance(value, list):
            raise MetameryError(f"{where} is damaged: {shown(value)}, expected a list")
        return tuple(_read(get_args(wanted)[0], each, f"{where}[{index}]") for index, each in enumerate(value))
    if get_origin(wanted) is types.UnionType:
        return None if value is None else _read(get_args(wanted)[0], value, where)
    accepted = {float: (float, int)}.get(wanted, (wanted,))
    is_finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, accepted) or isinstance(value, bool) != (wanted is bool) or not is_finite:
        raise MetameryError(f"{where} is damaged: {shown(value)}, expected {_NAMES[wanted]}")
    return wanted(value)


_NAMES = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
