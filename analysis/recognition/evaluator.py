"""Recognition: how often other models recognise metamers, and how far a model's invariances are its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ...framework.checks import MANY, whole
from ...framework.context import Context
from ...framework.errors import MetameryError, unknown
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.stimuli import Stimulus
from ..studies.batches import drawn_seed
from ..studies.metamers import metamers_of
from .labels import Labels
from .recognise import BATCH_SIZE, ask, summary

_TABLES = {path.stem: path for path in sorted((Path(__file__).parent / "label_spaces").glob("*.toml"))}


def recognition(
    *,
    plugins: Plugins,
    recognisers: Sequence[str] = (),
    labels: str = "",
    siblings: bool = True,
    resamples: int = 2000,
    batch_size: int = BATCH_SIZE,
) -> Evaluator:
    """Build the evaluator: for each model and layer, how often every recogniser recognises the study's metamers.

    The study's own models are recognisers, too. See `metamery.analysis.recognise`.

    Parameters
    ----------
    recognisers
        Further models, by name or a run's folder.
    labels
        Categories in which models answer: by default each model's own classes; ``imagenet-16`` or ``cifar-10``, into
        which ImageNet's classes are merged; or a TOML file with a table for each label space, ``category = [classes]``.
    siblings
        Whether the study's own models also count among the others, although they may be related.
    resamples
        Number of resamples of the bootstrap over stimuli.
    """
    if isinstance(recognisers, str) or not isinstance(recognisers, Sequence):
        raise MetameryError(f'recognisers is {recognisers!r}, expected a list of models: ["NAME", "runs/FOLDER"]')
    whole("resamples", resamples, 1, MANY)
    whole("batch_size", batch_size, 1)
    if not siblings and not recognisers:
        raise MetameryError("without siblings there are no other models: expected recognisers")
    categories = shared_labels(labels) if labels else None

    def passes(context: Context) -> Passes | None:
        made = metamers_of(context, "recognition")
        shown = sum(len(each.stimuli) * (1 + len(each.layers) * len(each.seeds)) for each in made)
        return None if recognisers else Passes(shown, batch_size=batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        made = metamers_of(context, "recognition")
        stimuli = stimuli_named(context, made[0].stimuli)
        models = load_recognisers(context.models, recognisers, plugins)
        found = ask(
            models,
            [each.results for each in made],
            stimuli,
            categories,
            device=context.device,
            batch_size=batch_size,
            progress=context.progress,
        )
        judges = list(models) if siblings else [name for name in models if name not in context.models]
        return summarised(found, models, np.random.default_rng(drawn_seed(context)), resamples, judges)

    return evaluate


def summarised(
    found: xr.Dataset,
    models: Mapping[str, Model],
    generator: np.random.Generator,
    resamples: int,
    judges: Sequence[str] | None = None,
) -> xr.Dataset:
    """Return what `ask` found with its `summary`, a title and the recognisers' SHA-256.

    Raises
    ------
    MetameryError
        No recogniser knows a right answer to any stimulus.
    """
    if not (found["correct"] >= 0).any():
        raise MetameryError("no recogniser knows a right answer to any of the study's stimuli")
    result = found.merge(summary(found, generator, resamples, judges))
    result.attrs |= {
        "title": "Recognition by models",
        "reading_order": ["others", "own", "idiosyncrasy", "recognised"],
        "read_first": "If other models recognise fewer and fewer metamers at later layers while the generator still "
        "recognises its own, what the layer ignores is specific to the generator.",
        "recognisers_sha256": [model.weights_sha256() for model in models.values()],
    }
    return result


def shared_labels(name: str) -> Labels:
    if name in _TABLES:
        return Labels.read(_TABLES[name])
    if not os.path.isfile(name):
        raise unknown("labels", name, [*_TABLES, "FILE.toml"])
    return Labels.read(Path(name))


def stimuli_named(context: Context, names: Sequence[str]) -> list[Stimulus]:
    by_name = {stimulus.name: stimulus for stimulus in context.stimuli}
    if gone := [name for name in names if name not in by_name]:
        raise MetameryError(f"the study's stimulus '{gone[0]}' is no longer among its stimuli")
    return [by_name[name] for name in names]


def load_recognisers(models: Mapping[str, Model], names: Sequence[str], plugins: Plugins) -> dict[str, Model]:
    found = dict(models)
    for name in names:
        qualified = plugins.find("model", name).qualified
        if qualified not in found:
            found[qualified] = plugins.load("model", name)
    return found
