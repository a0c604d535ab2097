"""The labelled variables of similarities: values with their intervals, ceilings, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..statistics.intervals import percentiles, with_ends


class Similarities:
    """Similarities and the ends of their intervals."""

    def __init__(self, shape: tuple[int, ...], intervals: bool) -> None:
        self.values = np.full(shape, np.nan)
        self.ends = np.full((2, *shape), np.nan) if intervals else None

    def put(self, index: int | tuple[int, ...], values: torch.Tensor, samples: torch.Tensor) -> None:
        """Store values at an index, and the ends of the interval of their samples ``(draws, …)``, if there are any."""
        self.values[index] = values.cpu().numpy()
        if self.ends is not None and len(samples):
            for ends, own in zip(self.ends, percentiles(samples.cpu().numpy()), strict=True):
                ends[index] = own

    def variables(self, what: str, dims: tuple[str, ...]) -> dict[str, Any]:
        if self.ends is None:
            return {"similarity": (dims, self.values, {"long_name": what, "units": "1"})}
        return with_ends("similarity", dims, self.values, self.ends, what)


PAIRS = (
    "At 1 two layers arrange the signals alike; blocks of high values off the diagonal are layers of different models "
    "that correspond."
)
BOTH = (
    "At 1 a layer arranges the metamers as it does their natural signals; a model with the generator's invariances "
    "stays high at its corresponding layers."
)

COUNTED = {"long_name": "stimuli that count", "units": "1"}


def reading_order(variables: Mapping[str, Any], read_first: str) -> dict[str, Any]:
    """Attributes that tell how the result is read."""
    names = ("similarity", "ceiling_lower", "ceiling_upper")
    return {"reading_order": [name for name in names if name in variables], "read_first": read_first}


def ceiling_variables(values: np.ndarray[Any, np.dtype[np.float64]], dims: tuple[str, ...], of: str) -> dict[str, Any]:
    about = (("lower", "mean similarity to the mean of the other seeds"), ("upper", "to the mean of all seeds"))
    return {
        f"ceiling_{bound}": (dims, own, {"long_name": f"noise ceiling of {of}, {bound}: {how}", "units": "1"})
        for own, (bound, how) in zip(values, about, strict=True)
    }
