"""Accuracy under AutoAttack (Croce & Hein 2020), as implemented in torchattacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import xarray as xr

from ...analysis.attacks.balls import check_norm
from ...analysis.statistics.proportions import proportion
from ...analysis.studies.batches import batch_count, batches, drawn_seed, graded, running
from ...framework.checks import numbers, whole
from ...framework.context import Context
from ...framework.errors import MetameryError
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from .adapter import torchattack

NORMS = {"linf": "Linf", "l2": "L2"}

QUERIES, TARGETS, FAB = 5000, 9, 2
"""Queries of Square, targets of APGD and FAB, and backward passes of a step of FAB, for two logits."""

MIN_CLASSES = 4
"""Number of classes below which the targeted loss (DLR of the four highest logits) is not defined."""


def autoattack(
    norm: str = "linf", epsilons: Sequence[float] = (8 / 255,), steps: int = 100, batch_size: int = 100
) -> Evaluator:
    """Build the evaluator: accuracy by size of the perturbation; size 0 is the natural signals.

    AutoAttack runs four attacks in turn, each on the signals that the earlier ones left: APGD with cross-entropy,
    targeted APGD and targeted FAB (nine targets), and Square with 5,000 queries. torchattacks gives the first three 10
    steps; here they get the authors' 100. Only signals that a model classifies correctly are attacked. Square and FAB
    draw random numbers for an entire batch, so their draws depend on `batch_size` and on the signals in the batch.

    Parameters
    ----------
    norm
        Norm of the perturbation, ``linf`` or ``l2``.
    epsilons
        Sizes of the perturbation, in the signals' units.
    steps
        Number of steps of APGD, targeted APGD and FAB.
    batch_size
        Number of signals in a batch.

    Raises
    ------
    MetameryError
        An option is out of range; or, when it is run, a model has fewer than four classes.
    """
    check_norm(norm)
    whole("steps", steps, 1)
    whole("batch_size", batch_size, 1)
    sizes = sorted(set(numbers("epsilons", epsilons, "[0.01, 0.02]", least=0)) - {0.0})
    attacks = [torchattack("AutoAttack", norm=NORMS[norm], eps=size, steps=steps) for size in sizes]

    def passes(context: Context) -> Passes:
        attacked = len(graded(context).stimuli) * len(sizes)
        _check_classes(context)
        return Passes(attacked * QUERIES, attacked * (1 + TARGETS + FAB * TARGETS) * steps, batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        _check_classes(context)
        seed = drawn_seed(context)
        counted = dict.fromkeys(context.models, 0)
        right = {name: [0] * (1 + len(sizes)) for name in context.models}
        total = batch_count(context, batch_size) * len(context.models) * len(sizes)
        context.progress.start(total, "AutoAttack")
        with running(context):
            for given in batches(context, batch_size):
                for name, batch in given.items():
                    model = context.models[name]
                    with torch.no_grad():
                        logits = model.module(batch.signals)
                    correct = batch.correct(logits)
                    counted[name] += int(batch.known.sum())
                    right[name][0] += int(correct.sum())
                    some, labels = batch.some(correct), batch.best(logits)[correct]
                    for column, attack in enumerate(attacks):
                        if len(labels):
                            generator = torch.Generator().manual_seed(derived_seed(seed, batch.stimuli[0].name))
                            moved = attack(model, some.signals, labels, generator)
                            with torch.no_grad():
                                right[name][1 + column] += int(some.correct(model.module(moved)).sum())
                        context.progress.advance()
        trials = [[counted[name]] for name in context.models]
        what = "accuracy under AutoAttack"
        variables = proportion("accuracy", ["model", "epsilon"], list(right.values()), trials, what)
        variables["counted"] = ("model", list(counted.values()), {"long_name": "signals that count", "units": "1"})
        dataset = xr.Dataset(variables, {"model": list(right), "epsilon": [0.0, *sizes]})
        dataset["epsilon"].attrs = {"long_name": "size of the perturbation, in the signals' units", "units": "1"}
        dataset.attrs = {
            "title": "AutoAttack",
            "reading_order": ["accuracy"],
            "read_first": "Size 0 is the accuracy without attack; the later a curve falls, the more robust the model.",
            "norm": norm,
        }
        return dataset

    return evaluate


def _check_classes(context: Context) -> None:
    for name, model in context.models.items():
        if model.labels is not None and len(model.labels) < MIN_CLASSES:
            raise MetameryError(
                f"model '{name}' has {len(model.labels)} classes: AutoAttack's loss needs at least {MIN_CLASSES}; "
                "use evaluator 'robustness', which takes any number"
            )
