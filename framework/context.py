"""`Context`: the input of an evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import xarray as xr

from .models import Model
from .progress import Progress
from .stimuli import Stimuli


@dataclass(frozen=True, eq=False)
class Context:
    """The input of an evaluator.

    Parameters
    ----------
    models
        Models by qualified name, which is the ``model`` attribute of their groups in the study.
    stimuli
        Natural signals; those of a study are read from its store, and `Domain.fit` returns them as its models got them.
    study
        Results of the study so far, as a `DataTree`; None outside a study.
    device
        Device to compute on.
    generator
        Generator of all random choices.
    progress
        Object to which the evaluator reports its progress.
    """

    models: Mapping[str, Model]
    stimuli: Stimuli
    study: xr.DataTree | None = None
    device: torch.device = torch.device("cpu")
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    progress: Progress = field(default_factory=Progress)
