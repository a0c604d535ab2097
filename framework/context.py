"""`Context`: what an evaluator may use."""

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
    """What an evaluator is given.

    Parameters
    ----------
    models
        By name, as the ``model`` attribute of their groups in the study has it: the qualified name.
    stimuli
        The natural signals; of a study those that it stored, which `Domain.fit` gives back as its models got them.
    study
        The study's results so far, as a `DataTree`; None outside a study.
    device
        Where to compute.
    generator
        The one source of randomness.
    progress
        Where to report how far the evaluator is.
    """

    models: Mapping[str, Model]
    stimuli: Stimuli
    study: xr.DataTree | None = None
    device: torch.device = torch.device("cpu")
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    progress: Progress = field(default_factory=Progress)
