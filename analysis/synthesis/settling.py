"""When the success of a metamer is settled, so that a screening need not go on with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from ..proof.measures import measure
from ..proof.success import settled_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS_NULL = "stop is 'verdict', which needs a null: expected signals for one that are unlike, or stop = 'steps'"

LOOK_EVERY = 50
"""Number of updates between two looks at the metamers."""


class Settling:
    """Tells which metamers of a batch have a settled success, that is, in two looks one after the other.

    In a look, a metamer is rounded as it will be presented. It succeeds by far where the network gives it the class of
    its original, and where its measures exceed the null's maximum by the margin of `settled_from`.

    Parameters
    ----------
    read
        Returns activations at the layer ``(B, …)`` and classes ``(B,)`` of some signals, after rounding them; the
        classes are −1 where the network has none.
    targets
        The originals' activations, ``(B, …)``.
    classes
        The originals' classes, ``(B,)``.
    null, layer
        The null, and the layer at which the metamers are made.
    """

    def __init__(
        self,
        read: Callable[[torch.Tensor], tuple[torch.Tensor, NDArray[np.int64]]],
        targets: torch.Tensor,
        classes: NDArray[np.int64],
        null: xr.Dataset,
        layer: str,
    ) -> None:
        self._read, self._targets, self._classes = read, targets, classes
        self._least = settled_from(null, layer)
        self._seen = np.zeros(len(classes), dtype=bool)

    def __call__(self, update: int, signals: torch.Tensor, _distances: torch.Tensor, rows: Sequence[int]) -> list[bool]:
        """Look at the metamers `rows` of the batch every `LOOK_EVERY` updates; return which are settled."""
        if not self._least or not update or update % LOOK_EVERY:
            return [False] * len(rows)
        activations, classes = self._read(signals)
        among = np.array(rows)
        passing = np.flatnonzero(classes == self._classes[among])
        for metric, least in self._least.items():
            here = torch.from_numpy(passing)
            values = measure(activations[here], self._targets[among[passing]], [metric])
            passing = passing[values[:, 0] >= least]
        settled = np.zeros(len(rows), dtype=bool)
        settled[passing] = self._seen[among[passing]]
        self._seen[among] = np.isin(np.arange(len(rows)), passing)
        return settled.tolist()
