"""Accuracy in noise: how often a model is right on sounds in background noise, by signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from ...analysis.statistics.proportions import proportion
from ...analysis.studies.batches import StimulusBatch, batch_count, batches, drawn_seed, graded, running
from ...framework.checks import numbers, whole
from ...framework.context import Context
from ...framework.manager import Plugins
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from .perturbations import background


def accuracy_in_noise(
    *, plugins: Plugins, snrs: Sequence[float] = (-10, -5, 0, 5, 10, 20), noise: str = "pink", batch_size: int = 100
) -> Evaluator:
    """Build the evaluator: for each model the proportion of right answers at each signal-to-noise ratio.

    The noise added to a sound depends only on the seed and the stimulus's name, and is the same at all ratios.

    Parameters
    ----------
    snrs
        Signal-to-noise ratios in dB.
    noise
        Kind of noise: ``white``, ``pink``, or sounds by name or folder.
    batch_size
        Number of sounds in a batch.
    """
    whole("batch_size", batch_size, 1)
    ratios = sorted(set(numbers("snrs", snrs, "[-10, 0, 10]")))
    mixes = [background(plugins=plugins, noise=noise, snr_low=ratio, snr_high=ratio) for ratio in ratios]

    @with_passes(lambda context: Passes(len(graded(context).stimuli) * len(ratios), batch_size=batch_size))
    def evaluate(context: Context) -> xr.Dataset:
        seed = drawn_seed(context)
        right = {name: [0] * len(ratios) for name in context.models}
        counted = dict.fromkeys(context.models, 0)
        context.progress.start(batch_count(context, batch_size) * len(context.models), "noise")
        with running(context), torch.no_grad():
            for given in batches(context, batch_size):
                for name, batch in given.items():
                    model, some = context.models[name], batch.some(batch.known)
                    counted[name] += len(some.stimuli)
                    for column, mix in enumerate(mixes):
                        noisy = [mix(model, signal[None], some.right, own) for signal, own in _each(some, seed)]
                        if noisy:
                            right[name][column] += int(some.correct(model.module(torch.cat(noisy))).sum())
                    context.progress.advance()
        trials = np.array([[counted[name]] for name in context.models])
        what = "proportion of right answers in noise"
        variables = proportion("accuracy", ["model", "strength"], list(right.values()), trials, what)
        variables["counted"] = ("model", trials[:, 0], {"long_name": "signals that count", "units": "1"})
        dataset = xr.Dataset(variables, {"model": list(right), "strength": ratios})
        dataset["strength"].attrs = {"long_name": "signal-to-noise ratio", "units": "dB"}
        dataset.attrs = {
            "title": "Accuracy in noise",
            "reading_order": ["accuracy"],
            "read_first": "The further to the left a curve stays high, the more noise the model tolerates.",
            "noise": noise,
        }
        return dataset

    return evaluate


def _each(batch: StimulusBatch, seed: int) -> list[tuple[torch.Tensor, torch.Generator]]:
    """Return each signal with a generator of its own."""
    own = [torch.Generator().manual_seed(derived_seed(seed, "noise", stimulus.name)) for stimulus in batch.stimuli]
    return list(zip(batch.signals, own, strict=True))
