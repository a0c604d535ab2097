"""Synthetic observers of known accuracy, who answer an experiment's own lists."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...framework.checks import number
from ...framework.errors import MetameryError, unknown
from ...framework.replacing import replaced, writing_to
from .key import NATURAL, Item, Key
from .psych_ds import lines_of
from .records import Record, Session

CHANCE = "chance"
CATCH = "catch"

MEDIAN_SECONDS, SPREAD = 1.2, 0.35
"""Median reaction time, and the standard deviation of its logarithm."""


@dataclass(frozen=True)
class Accuracy:
    """Probability of the right answer, by layer; a wrong answer is any of the others with equal probability.

    Parameters
    ----------
    by_layer
        Probabilities by layer, with ``natural`` for natural signals and ``catch`` for catch trials.
    """

    by_layer: Mapping[str, float]

    def of(self, item: Item) -> float:
        return self.by_layer[CATCH if item.role == CATCH else item.layer]


def read_accuracy(given: Sequence[str], key: Key, default: float | None = None) -> Accuracy:
    """Read probabilities as the command line takes them.

    Parameters
    ----------
    given
        ``0.9`` for all layers, ``LAYER=0.7`` for one, or a TOML file with a number for each layer; later ones win.
        ``chance`` in place of a number is `Key.chance`.
    default
        Probability where none is given; without it, each layer needs one. That of catch trials is 1.

    Raises
    ------
    MetameryError
        A layer is unknown or has no probability, or a value is not a probability.
    """
    known = list(dict.fromkeys([NATURAL, CATCH, *(layer for layers in key.models.values() for layer in layers)]))
    found = {CATCH: 1.0} | ({} if default is None else {layer: default for layer in known if layer != CATCH})
    for each in given:
        if each.endswith(".toml"):
            found |= {_layer(name, known): _probability(value, key) for name, value in _table(Path(each)).items()}
            continue
        layer, equals, value = each.rpartition("=")
        probability = _probability(value, key)
        found |= {_layer(layer, known): probability} if equals else dict.fromkeys(set(known) - {CATCH}, probability)
    if lacking := [layer for layer in known if layer not in found]:
        raise MetameryError(
            f"layer '{lacking[0]}' has no accuracy: expected a number for all, or LAYER=NUMBER for each"
        )
    return Accuracy(found)


def observe(key: Key, participants: int, accuracy: Accuracy, generator: np.random.Generator) -> list[Session]:
    """Return complete sessions of synthetic observers; lists are filled in turn."""
    return [_session(key, person, accuracy, generator) for person in range(participants)]


def write_lines(path: Path, sessions: Sequence[Session]) -> None:
    """Write sessions as lines of JSON, as pages save them.

    Raises
    ------
    MetameryError
        The file cannot be written.
    """
    with writing_to(path.parent), replaced(path) as partial:
        partial.write_text("".join(lines_of(session) for session in sessions), encoding="utf-8")


def _session(key: Key, person: int, accuracy: Accuracy, generator: np.random.Generator) -> Session:
    list_ = person % len(key.lists)
    records, at = [], 0.0
    for position, name in enumerate(key.trials(list_)):
        item = key.items[name]
        answer = item.answer
        if generator.random() >= accuracy.of(item):
            others = [choice for choice in key.offered(name) if choice != answer]
            answer = others[generator.integers(len(others))]
        seconds = float(generator.lognormal(np.log(MEDIAN_SECONDS), SPREAD))
        at += 1000 * (seconds + 1)
        records.append(Record("main", position, name, answer, 1000 * seconds, 300.0, at))
    return Session(
        experiment=key.experiment,
        session=f"observer-{person}",
        list_=list_,
        participant=f"observer-{person}",
        browser={"agent": "synthetic observer"},
        started=f"2000-01-01T{person // 3600 % 24:02}:{person // 60 % 60:02}:{person % 60:02}Z",
        end="completed",
        records=tuple(records),
    )


def _layer(name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise unknown("layer", name, known)
    return name


def _probability(value: object, key: Key) -> float:
    if value == CHANCE:
        return key.chance
    try:
        given = float(value) if isinstance(value, str) else value
    except ValueError:
        given = value
    return number("accuracy", given, 0, 1)


def _table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MetameryError(f"cannot read accuracies from '{path}': {error}") from None
