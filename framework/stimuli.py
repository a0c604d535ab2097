"""Stimuli: natural signals with what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
        A picture ``(C, H, W)`` in [0, 1], or a mono waveform ``(T,)`` in [−1, 1].
    category
        What it shows; empty where nobody said.
    labels
        For each label space by name, the answers that count as right. Where a space is missing it is not known
        which answers are right: correctness is then missing, not false. An answer is a class's name, which means all
        classes that are called so, or its number.
    name
        Unique among its stimuli.
    source, licence
        Where it comes from and under what terms it may be shown.
    group
        What it shares with others, for example the speaker.
    sample_rate
        In Hz; of waveforms only.
    fitted
        Gives the signal as it is in a domain, where that is known already (`known_as`): `Domain.fit` then returns this.
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
        """Return the same stimulus, of which `fitted` tells what it is in a domain: a study's, which are stored.

        One that is made from it by `dataclasses.replace`, perhaps with another signal, is fitted anew.
        """
        known = replace(self)
        object.__setattr__(known, "fitted", fitted)
        return known

    def right_answers(self, label_space: str) -> frozenset[str | int] | None:
        """The answers that count as right in one label space; None where they are not known."""
        if label_space in self.labels:
            return self.labels[label_space]
        return frozenset({self.category}) if label_space == "category" and self.category else None

    @property
    def answers(self) -> dict[str, frozenset[str | int]]:
        """The right answers by label space, ``category`` among them where the category is known."""
        category = self.right_answers("category")
        return {**({} if category is None else {"category": category}), **self.labels}


class Stimuli(Protocol):
    """A sequence of stimuli, each loaded when it is asked for. Data sets for training are the same thing."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Stimulus: ...

    def __iter__(self) -> Iterator[Stimulus]: ...


def is_utf8(name: str) -> bool:
    """Whether a name can be written as text: that of a file can hold bytes that are not UTF-8."""
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
    """Choose at most `limit` of `count` positions, evenly spread, in order.

    Sets are often sorted by class; the first hundred would then show a single one.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    >>> spread(3, None)
    range(0, 3)
    """
    check_limit(limit)
    if limit is None or limit >= count:
        return range(count)
    return [position * count // limit for position in range(limit)]
