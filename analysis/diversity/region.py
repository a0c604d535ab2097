"""The region of signals that are metamers of stimuli at a layer, by a margin above the null's maximum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from ...framework.joint import terms_of
from ...framework.models import Model
from ...framework.schema import VERDICTS
from ..proof.measures import NULL_METRICS, measure
from ..proof.success import settled_from
from ..synthesis.responses import respond

Bounds = Mapping[str, Mapping[str, float]]
"""Measures of match that a metamer exceeds, by the term of its layer and the metric."""


class Region:
    """Signals that get the class of their stimulus, and whose measures of match exceed bounds at a layer.

    Parameters
    ----------
    model
        The network, on the device of the signals.
    natural
        Natural signals ``(S, …)``.
    bounds
        From `bounds_at`.
    """

    def __init__(self, model: Model, natural: torch.Tensor, bounds: Bounds) -> None:
        self._model, self._bounds = model, bounds
        self._originals = respond(model, natural, [*bounds])

    @property
    def targets(self) -> tuple[torch.Tensor, ...]:
        """Activations of the natural signals at each term, ``(S, …)``."""
        return tuple(self._originals.activations.values())

    @property
    def radii(self) -> torch.Tensor:
        """Largest relative L2 distance at each term, ``(terms,)``: that of the bound of the SNR."""
        snr = torch.tensor([least["snr_db"] for least in self._bounds.values()], dtype=self.targets[0].dtype)
        return (10 ** (-snr / 20)).to(self.targets[0].device)

    def __call__(self, signals: torch.Tensor) -> torch.Tensor:
        """Whether each of k signals of each stimulus, ``(S, k, …)``, is inside: ``(S, k)``."""
        stimuli, k = signals.shape[:2]
        found = respond(self._model, signals.flatten(0, 1), [*self._bounds])
        inside = np.asarray((found.answers == self._originals.answers.repeat(k, axis=0)).all(axis=1))
        for target, (term, least) in zip(self.targets, self._bounds.items(), strict=True):
            values = measure(found.activations[term], target.repeat_interleave(k, dim=0), NULL_METRICS)
            inside &= (values > [least[metric] for metric in NULL_METRICS]).all(axis=1)
        return torch.from_numpy(inside).reshape(stimuli, k).to(signals.device)


def bounds_at(null: xr.Dataset, layer: str, unexplained: float) -> Bounds | int:
    """Return the bounds at the terms of a layer that pull; otherwise the verdict why there are none.

    That is ``unattainable`` where no metamer can be told from the null's best pair, ``missing`` where the null lacks
    the layer.

    Parameters
    ----------
    null, layer, unexplained
        See `settled_from`.
    """
    terms = [term.layer for term in terms_of(layer) if term.weight > 0]
    bounds = {term: settled_from(null, term, unexplained) for term in terms}
    if all(bounds.values()):
        return bounds
    known = {*terms} <= {*null["layer"].values} and bool(null["maximum"].sel(layer=terms).notnull().all())
    return VERDICTS["unattainable" if known else "missing"]
