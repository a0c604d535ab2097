"""Accuracy: how often a model is right about natural signals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
import xarray as xr

from ...framework.checks import whole
from ...framework.context import Context
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ..statistics.proportions import proportion
from ..studies.batches import batch_count, batches, graded, running


def accuracy(batch_size: int = 100) -> Evaluator:
    """Build the evaluator: for each model the proportion of right answers, in total and by category.

    Stimuli to which a model knows no right answer do not count for it.
    """
    whole("batch_size", batch_size, 1)

    @with_passes(lambda context: Passes(len(graded(context).stimuli), batch_size=batch_size))
    def evaluate(context: Context) -> xr.Dataset:
        models = list(context.models)
        counted: dict[str, Counter[str]] = {name: Counter() for name in models}
        right: dict[str, Counter[str]] = {name: Counter() for name in models}
        context.progress.start(batch_count(context, batch_size), "accuracy")
        with running(context), torch.no_grad():
            for given in batches(context, batch_size):
                for name, batch in given.items():
                    correct = batch.correct(context.models[name].module(batch.signals)).tolist()
                    for stimulus, known, is_right in zip(batch.stimuli, batch.known.tolist(), correct, strict=True):
                        counted[name][stimulus.category] += known
                        right[name][stimulus.category] += known and is_right
                context.progress.advance()
        categories = sorted({category for each in counted.values() for category in each if category})
        total = [counted[name].total() for name in models]
        what = "proportion of right answers"
        variables = proportion("accuracy", ["model"], [right[name].total() for name in models], total, what)
        variables["counted"] = ("model", total, {"long_name": "signals that count", "units": "1"})
        coordinates = {"model": models}
        if len(categories) > 1:
            passed, tried = (
                np.array([[part[name][category] for category in categories] for name in models])
                for part in (right, counted)
            )
            what = f"{what}, by what the signal shows"
            variables |= proportion("category_accuracy", ["model", "category"], passed, tried, what)
            coordinates["category"] = categories
        about = {
            "title": "Accuracy on natural signals",
            "reading_order": ["accuracy", *(["category_accuracy"] if "category" in coordinates else [])],
            "read_first": "A model is a reference for metamers as far as it recognises natural signals.",
        }
        return xr.Dataset(variables, coordinates, about)

    return evaluate
