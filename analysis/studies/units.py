"""Units of a study: batches of metamers, each made at once, in any order and by any process."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ...framework.errors import MetameryError
from ...framework.schema import STATES
from ..synthesis.driver import SynthesisBatch, partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHARES = 10**6


@dataclass(frozen=True)
class Unit:
    """The metamers of some stimuli at one layer of one model, from one seed; results are stored in chunks of this size.

    Parameters
    ----------
    model
        Key of the model's group.
    batch
        Layer, stimuli and seed.
    """

    model: str
    batch: SynthesisBatch

    @property
    def at(self) -> tuple[slice, slice, slice]:
        """Index of its metamers in arrays ``(layer, stimulus, seed)``."""
        layer, stimuli, seed = self.batch.region.values()
        return layer, stimuli, seed

    @property
    def metamers(self) -> int:
        """Number of its metamers."""
        return int(self.batch.stimuli.stop - self.batch.stimuli.start)


@dataclass(frozen=True)
class Share:
    """One of several processes that make a study's metamers without a scheduler: the `index`-th of `count`, from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a share such as ``2/3``.

        Raises
        ------
        MetameryError
            The text is of another form, or the share does not exist.

        >>> Share.parse("2/3")
        Share(index=2, count=3)
        """
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= count <= MOST_SHARES:
            raise MetameryError(f"part is '{text}', expected I/N, such as 2/4, with I from 1 to N")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, units: Sequence[Unit]) -> Sequence[Unit]:
        """Return this process's units: those of one layer, which cost the same, are dealt in turn."""
        return units[self.index - 1 :: self.count]


def units(states: Mapping[str, NDArray[np.int8]], batch_size: int) -> list[Unit]:
    """Return the units of a study, sorted by model, layer, seed and stimuli.

    Parameters
    ----------
    states
        States of each model's metamers, ``(layer, stimulus, seed)``, by the key of its group.
    batch_size
        Largest number of stimuli in a unit.
    """
    found: list[Unit] = []
    for key, state in states.items():
        layers, stimuli, seeds = state.shape
        batches = [batch for block in partition(layers, stimuli, seeds, batch_size) for batch in block]
        batches.sort(key=lambda batch: (batch.layer, batch.seed, batch.stimuli.start))
        found += [Unit(key, batch) for batch in batches]
    return found


def missing(units: Sequence[Unit], states: Mapping[str, NDArray[np.int8]]) -> list[Unit]:
    """Return the units of which some metamers are missing."""
    return [unit for unit in units if (states[unit.model][unit.at] == STATES["missing"]).any()]
