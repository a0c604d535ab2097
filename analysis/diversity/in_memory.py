"""`maximally_different`: the evaluator `diversity` of objects, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import xarray as xr

from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.stimuli import Stimuli, Stimulus
from ..studies.evaluate import evaluate
from ..studies.in_memory import as_study
from ..synthesis.in_memory import synthesise
from ..synthesis.settings import Settings
from .evaluator import diversity


def maximally_different(
    model: Model,
    stimuli: Stimuli | Sequence[Stimulus],
    null: xr.Dataset,
    layers: Sequence[str] | None = None,
    preset: str | Settings = "fast",
    *,
    k: int = 4,
    push_steps: int = 400,
    push_size: float = 0.02,
    unexplained: float = 0.5,
    apart: str = "",
    seed: int = 0,
    plugins: Plugins | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    **changes: Any,
) -> xr.Dataset:
    """Make k metamers of each stimulus at layers of a model, and push them apart as far as they remain metamers.

    Parameters
    ----------
    model, stimuli, layers, preset, seed, plugins, device, progress, changes
        See `synthesise`, which makes the metamers that are pushed apart, one for each of k seeds.
    null
        From `null_distribution`, for the same layers.
    k
        Number of metamers of each stimulus and layer, at least 2.
    push_steps, push_size
        Number of updates that push them apart, and length of the first, as a root mean square in units of the domain.
    unexplained
        Part of what the null's best pair leaves unexplained that a metamer may leave.
    apart
        ``model LAYER``, or ``NAME LAYER`` of a registered model: a layer at which they are pushed apart; by default in
        the signals themselves.

    Returns
    -------
    xarray.Dataset
        See `diversity`; the model is named ``model``.

    Raises
    ------
    MetameryError
        See `synthesise` and `diversity`.

    Examples
    --------
    >>> from metamery.analysis import maximally_different, null_distribution
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model, stimuli = example_model(), example_stimuli(count=6)
    >>> null = null_distribution(model, stimuli, ["1"])
    >>> found = maximally_different(model, stimuli[:2], null, ["1"], k=3, push_steps=50, steps=200)
    >>> dict(found.success.sizes), bool((found.spread >= found.ordinary_spread).all())
    ({'site': 1, 'stimulus': 2, 'variant': 3}, True)
    """
    plugins = plugins or Plugins()
    evaluator = diversity(
        plugins=plugins, k=k, steps=push_steps, step_size=push_size, unexplained=unexplained, apart=apart, limit=None
    )
    metamers = synthesise(
        model,
        stimuli,
        layers,
        preset,
        seed=seed,
        null=null,
        plugins=plugins,
        device=device,
        progress=progress,
        **(changes | {"seeds": k}),
    )
    study = as_study(metamers, null)
    return evaluate(evaluator, study, models=model, seed=seed, plugins=plugins, device=device, progress=progress)
