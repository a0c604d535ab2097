"""What came of each layer: how many metamers, how close, and whether the model still agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.schema import STATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .stored import StoredModel


@dataclass(frozen=True)
class LayerSummary:
    """One layer over all its stimuli and seeds; losses and updates are of the metamers that were made.

    Where nothing was made, losses and updates are not a number.
    """

    name: str
    modified_relu: str  # yes, no, or unknown
    total: int
    made: int
    failed: int
    steps: float  # median
    loss: float  # median
    lowest: float
    highest: float
    agreeing: int
    asked: int


def layer_summary(model: StoredModel, layer: int, final: NDArray[np.float32]) -> LayerSummary:
    """Summarise one layer; `final` are its last losses, ``(stimulus, seed)``."""
    here: dict[str, NDArray[Any]] = {
        name: np.asarray(model.metamers[name].isel(layer=layer).values) for name in ("state", "steps", "modified_relu")
    }
    done = here["state"] == STATES["done"]
    agrees = model.answers("agrees", -1)[layer][done]
    losses = final[done]
    losses = losses[np.isfinite(losses)]
    return LayerSummary(
        name=model.layers[layer],
        modified_relu={0: "no", 1: "yes"}.get(int(here["modified_relu"]), "unknown"),
        total=int(done.size),
        made=int(done.sum()),
        failed=int((here["state"] == STATES["failed"]).sum()),
        steps=_or_nan(np.median, here["steps"][done]),
        loss=_or_nan(np.median, losses),
        lowest=_or_nan(np.min, losses),
        highest=_or_nan(np.max, losses),
        agreeing=int((agrees == 1).sum()),
        asked=int((agrees >= 0).sum()),
    )


def _or_nan(reduce: Any, values: NDArray[Any]) -> float:
    return float(reduce(values)) if values.size else float("nan")
