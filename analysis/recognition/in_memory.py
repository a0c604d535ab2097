"""`recognise`: recognition of metamers by models, without a store."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, whole
from ...framework.errors import MetameryError
from ...framework.model_results import models_of
from ...framework.models import Model
from ...framework.progress import Progress
from ..studies.in_memory import Results, opened
from ..studies.stored_stimuli import known_stimuli
from .evaluator import shared_labels, summarised
from .labels import Labels
from .recognise import BATCH_SIZE, ask


def recognise(
    recognisers: Mapping[str, Model],
    metamers: Results,
    labels: str | Labels = "",
    *,
    resamples: int = 2000,
    seed: int = 0,
    device: str | torch.device = "cpu",
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Ask models what metamers show.

    Metamers are rounded to 8-bit pictures or 16-bit sound, and fitted to each recogniser's own domain. The natural
    signals are included as the layer ``natural``.

    Parameters
    ----------
    recognisers
        Models by name. If one has the name of the model that metamers were made for, its answers are that model's
        own (``own``); the mean of the rest is ``others``.
    metamers
        What `synthesise` returned, for several models a mapping from their names; an open study or a study's folder.
        The model of a single Dataset is named ``model``.
    labels
        Categories in which models answer: by default each model's own classes; ``imagenet-16`` or ``cifar-10``, a TOML
        file (see `metamery.plugins.evaluators`), or `Labels`.
    resamples, seed
        Number of resamples of the bootstrap over stimuli, and its seed.
    device, batch_size
        Device to compute on, and number of signals at once.
    progress
        Display of the progress.

    Returns
    -------
    xarray.Dataset
        ``correct`` and ``predicted (site, recogniser, stimulus, seed)``: each answer, 1 right, 0 wrong, −1 unknown;
        ``recognised (site, recogniser)``, ``own``, ``others`` and ``idiosyncrasy (site)``, proportions in [0, 1] with
        95 % intervals ``…_low`` and ``…_high`` of a bootstrap over stimuli, each also ``…_given_right``. A site is a
        layer of a model; the coordinates ``model`` and ``layer`` name both.

    Raises
    ------
    MetameryError
        A recogniser has no labels or takes another kind of signals, or no right answer is known.

    Examples
    --------
    >>> from metamery.analysis import recognise, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model, other = example_model(), example_model(seed=1)
    >>> metamers = synthesise(model, example_stimuli(model), layers=["1"], steps=5)
    >>> recognised = recognise({"model": model, "other": other}, metamers, resamples=100)
    >>> recognised.site.values.tolist(), dict(recognised.correct.sizes)
    (['model natural', 'model 1'], {'site': 2, 'recogniser': 2, 'stimulus': 3, 'seed': 1})
    """
    whole("resamples", resamples, 1, MANY)
    categories = shared_labels(labels) if isinstance(labels, str) and labels else labels or None
    with opened(metamers) as tree:
        generated = models_of(tree)
        if not generated:
            raise MetameryError("there are no metamers, expected a study or what synthesise returns")
        found = ask(
            recognisers,
            generated,
            known_stimuli(tree, generated[0].stimuli),
            categories if isinstance(categories, Labels) else None,
            device=device,
            batch_size=batch_size,
            progress=progress,
        )
    return summarised(found, recognisers, np.random.default_rng(seed), resamples)
