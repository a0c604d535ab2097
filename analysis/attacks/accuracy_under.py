"""Accuracy under a perturbation: how often a model is right about signals that any registered perturbation changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import whole
from ...framework.context import Context
from ...framework.errors import MetameryError
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.passes import with_passes
from ...framework.protocols import Evaluator, Perturbation
from ...framework.randomness import derived_seed
from ..statistics.proportions import proportion
from ..studies.batches import StimulusBatch, batch_count, batches, drawn_seed, graded, running


def accuracy_under(
    *, plugins: Plugins, perturbation: str, options: Mapping[str, Any] | None = None, batch_size: int = 100
) -> Evaluator:
    """Build the evaluator: for each model the proportion of right answers on natural and on perturbed signals.

    Each signal is perturbed alone, with a generator seeded from the seed and the stimulus's name, so that its result
    does not depend on the other signals.

    Parameters
    ----------
    perturbation
        Registered name of the perturbation, such as ``pgd_l2``.
    options
        Options of the perturbation, such as ``{epsilon = 0.5}``, in the units that it states.
    batch_size
        Number of signals in a forward pass.

    Raises
    ------
    MetameryError
        The perturbation or an option of it is unknown; or, when it is run, it changes the signals' shape.
    """
    whole("batch_size", batch_size, 1)
    if not isinstance(options or {}, Mapping):
        raise MetameryError(f"options is {options!r}, expected a table, such as {{epsilon = 0.5}}")
    perturb: Perturbation = plugins.load("perturbation", perturbation, **(options or {}))

    def passes(context: Context) -> None:  # how many, the perturbation alone knows
        graded(context)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        seed = drawn_seed(context)
        right = {name: [0, 0] for name in context.models}
        counted = dict.fromkeys(context.models, 0)
        context.progress.start(batch_count(context, batch_size) * len(context.models), perturbation)
        with running(context):
            for given in batches(context, batch_size):
                for name, batch in given.items():
                    model, some = context.models[name], batch.some(batch.known)
                    counted[name] += len(some.stimuli)
                    if len(some.stimuli):
                        with torch.no_grad():
                            logits = model.module(some.signals)
                        moved = torch.cat([*_moved(perturb, model, some, some.best(logits), seed)])
                        with torch.no_grad():
                            right[name][0] += int(some.correct(logits).sum())
                            right[name][1] += int(some.correct(model.module(moved)).sum())
                    context.progress.advance()
        trials = np.array(list(counted.values()))
        natural, perturbed = np.array(list(right.values())).T
        variables = proportion("accuracy", ["model"], perturbed, trials, f"proportion of right answers, {perturbation}")
        variables |= proportion("natural", ["model"], natural, trials, "proportion of right answers on natural signals")
        variables["counted"] = ("model", trials, {"long_name": "signals that count", "units": "1"})
        dataset = xr.Dataset(variables, {"model": list(right)})
        return dataset.assign_attrs(
            title=f"Accuracy under {perturbation}",
            perturbation=perturbation,
            reading_order=["accuracy", "natural", "counted"],
            read_first="Compare accuracy with natural, the same signals unperturbed.",
        )

    return evaluate


def _moved(
    perturb: Perturbation, model: Model, batch: StimulusBatch, labels: torch.Tensor, seed: int
) -> Iterator[torch.Tensor]:
    """Yield each signal of a batch, perturbed, ``(1, …)``."""
    for signal, label, stimulus in zip(batch.signals, labels, batch.stimuli, strict=True):
        own = torch.Generator().manual_seed(derived_seed(seed, "perturbation", stimulus.name))
        moved = perturb(model, signal[None], label[None], own)
        if moved.shape != signal[None].shape:
            shapes = f"{tuple(signal[None].shape)} to {tuple(moved.shape)}"
            raise MetameryError(f"the perturbation changes the signals' shape from {shapes}: expected the same")
        yield moved.detach()
