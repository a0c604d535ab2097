"""What a network does with signals: its activations at some layers, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...framework.contract import examine
from ...framework.models import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses to a batch of B signals.

    Parameters
    ----------
    activations
        Activations ``(B, …)`` at each layer.
    predicted
        The network's best class, ``(B,)``; −1 where it has none.
    confidence
        Softmax probability of that class, ``(B,)``; NaN where there is none.
    answers
        Best class at each of the model's layers of answers, ``(B, answers)``.
    """

    activations: dict[str, torch.Tensor]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    answers: NDArray[np.int64]

    def variables(self, natural: Responses, failed: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Return the answers to metamers as stored, compared with those to their originals; missing where failed."""
        agrees = np.full(len(failed), -1)
        if self.answers.size:
            agrees = (self.answers == natural.answers).all(axis=1).astype(int)
        return {
            "predicted": np.where(failed, -1, self.predicted),
            "confidence": np.where(failed, np.nan, self.confidence),
            "agrees": np.where(failed, -1, agrees),
        }


@torch.no_grad()
def respond(model: Model, signals: torch.Tensor, layers: Sequence[str]) -> Responses:
    """Pass signals ``(B, …)`` through a network."""
    with model.tap(list(dict.fromkeys([*layers, "output", *model.answers]))) as tap:
        activations = tap(signals)
    classes = [activations[name] for name in model.answers if name != "output"]
    predicted = np.full(len(signals), -1)
    confidence = np.full(len(signals), np.nan, dtype=np.float32)
    if examine(model).classes is not None:
        best = activations["output"].float().softmax(dim=1).max(dim=1)
        predicted, confidence = best.indices.cpu().numpy(), best.values.cpu().numpy()
    answers = [logits.argmax(dim=1).cpu().numpy() for logits in classes]
    if "output" in model.answers and examine(model).classes is not None:
        answers.append(predicted)
    table = np.stack(answers, axis=1) if answers else np.empty((len(signals), 0), dtype=np.int64)
    return Responses({name: activations[name] for name in layers}, predicted, confidence, table)
