"""Stimuli: natural signals with their categories, right answers and origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from .checks import whole


@dataclass(frozen=True, eq=False)
class Stimulus:
    """One natural signal.

    Parameters
    ----------
    signal
        Picture ``(C, H, W)`` in [0, 1], or mono waveform ``(T,)`` in [−1, 1].
    category
        What it shows; empty if unknown.
    labels
        Right answers for each label space, by name. If a space is missing, its right answers are unknown, and
        correctness is then missing, not false. An answer is the name of a class, which stands for all classes of that
        name, or the number of a class.
    name
        Name, unique among its stimuli.
    source, licence
        Origin, and the terms under which it may be shown.
    group
        Property that it shares with others, for example the speaker.
    sample_rate
        Sample rate in Hz, of waveforms only.
    fitted
        Function that returns the signal in a domain, if it is known already (`known_as`); `Domain.fit` then calls it.
    """

    signal: torch.Tensor
    category: str = ""
    labels: Mapping[str, frozenset[str | int]] = field(default_factory=dict)
    name: str = ""
    source: str = ""
    licence: str = ""
    group: str = ""
    sample_rate: int | None = None
    fitted: Callable[[Any], torch.Tensor] | None = field(default=None, init=False, repr=False)

    def known_as(self, fitted: Callable[[Any], torch.Tensor]) -> Stimulus:
        """Return the same stimulus, with a function that returns its signal in a domain, such as a stored one.

        A copy by `dataclasses.replace`, perhaps with another signal, is fitted again.
        """
        known = replace(self)
        object.__setattr__(known, "fitted", fitted)
        return known

    def right_answers(self, label_space: str) -> frozenset[str | int] | None:
        """Return the right answers in one label space; None if they are unknown."""
        if label_space in self.labels:
            return self.labels[label_space]
        return frozenset({self.category}) if label_space == "category" and self.category else None

    @property
    def answers(self) -> dict[str, frozenset[str | int]]:
        """The right answers by label space, including ``category`` if the category is known."""
        category = self.right_answers("category")
        return {**({} if category is None else {"category": category}), **self.labels}


class Stimuli(Protocol):
    """A sequence of stimuli, each loaded on access. Data sets for training are such sequences, too."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Stimulus: ...

    def __iter__(self) -> Iterator[Stimulus]: ...


@dataclass(frozen=True)
class Selection:
    """Some of other stimuli, by position; each is loaded on access."""

    stimuli: Stimuli
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Stimulus:
        return self.stimuli[self.positions[index]]

    def __iter__(self) -> Iterator[Stimulus]:
        return (self.stimuli[position] for position in self.positions)


def is_utf8(name: str) -> bool:
    """Whether a name can be written as text: names of files can have bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_limit(limit: int | None) -> None:
    """Raise `MetameryError` unless `limit` is None or a whole number above 0."""
    if limit is not None:
        whole("limit", limit, 1)


def spread(count: int, limit: int | None) -> range | list[int]:
    """Select at most `limit` of `count` positions, evenly spread, in order.

    Data sets are often sorted by class; the first hundred stimuli would then belong to a single one.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    >>> spread(3, None)
    range(0, 3)
    """
    check_limit(limit)
    if limit is None or limit >= count:
        return range(count)
    return [position * count // limit for position in range(limit)]
