"""When the success of a metamer is settled, so that a screening need not go on with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr

from ...framework.joint import terms_of
from ..proof.measures import measure
from ..proof.success import settled_from
from .responses import Responses

NEEDS_NULL = "stop is 'verdict', which needs a null: expected signals for one that are unlike, or stop = 'steps'"

LOOK_EVERY = 50
"""Number of updates between two looks at the metamers."""


class Settling:
    """Tells which metamers of a batch have a settled success, that is, in two looks one after the other.

    In a look, a metamer is rounded as it will be presented. It succeeds by far where the network gives it the class of
    its original, and where its measures exceed the null's maximum by the margin of `settled_from`, at each term of a
    joint layer that pulls.

    Parameters
    ----------
    read
        Returns the responses to some signals, after rounding them.
    originals
        Responses to the originals.
    null, layer
        The null, and the layer at which the metamers are made.
    """

    def __init__(
        self, read: Callable[[torch.Tensor], Responses], originals: Responses, null: xr.Dataset, layer: str
    ) -> None:
        self._read, self._originals = read, originals
        pulling = [term.layer for term in terms_of(layer) if term.weight > 0]
        self._least = {term: settled_from(null, term) for term in pulling}
        self._seen = np.zeros(len(originals.answers), dtype=bool)

    def __call__(self, update: int, signals: torch.Tensor, _distances: torch.Tensor, rows: Sequence[int]) -> list[bool]:
        """Look at the metamers `rows` of the batch every `LOOK_EVERY` updates; return which are settled."""
        if not all(self._least.values()) or not update or update % LOOK_EVERY:
            return [False] * len(rows)
        now, among = self._read(signals), np.array(rows)
        passing = np.flatnonzero((now.answers == self._originals.answers[among]).all(axis=1))
        for term, limits in self._least.items():
            for metric, least in limits.items():
                activations = now.activations[term][torch.from_numpy(passing)]
                values = measure(activations, self._originals.activations[term][among[passing]], [metric])
                passing = passing[values[:, 0] >= least]
        settled = np.zeros(len(rows), dtype=bool)
        settled[passing] = self._seen[among[passing]]
        self._seen[among] = np.isin(np.arange(len(rows)), passing)
        return settled.tolist()
