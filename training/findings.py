"""Errors of a trained network, for a run's report: its confusion matrix, and examples of attacked signals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from lightning_fabric import Fabric

from ..framework.folders import RESULTS
from ..framework.models import Model
from ..framework.protocols import Perturbation
from ..framework.randomness import derived_seed
from ..framework.recipes import Recipe
from ..framework.running import frozen
from ..framework.stimuli import Selection, Stimuli, spread
from ..framework.store import StudyStore
from .activations import perturbed
from .data import Loader, Order, examples, in_domain
from .runs import load_weights
from .tools import TrainingTools

COUNTED = 5000
"""Largest number of signals that are counted, evenly spread over the validation signals."""

ATTACKED = 512
"""Largest number of these that are attacked."""

SHOWN = 8
"""Number of attacked signals that are kept."""


def add_findings(
    model: Model,
    folder: Path,
    classes: Sequence[str],
    stimuli: Stimuli,
    recipe: Recipe,
    tools: TrainingTools,
    fabric: Fabric,
    seed: int,
    workers: int = 0,
) -> None:
    """Measure the best weights of a finished run, and add the findings to its results unless they are there.

    Parameters
    ----------
    model
        The run's network, which is left with its best weights.
    folder
        The run's folder.
    classes
        Names of the network's outputs, in order.
    stimuli
        Signals to measure on.
    recipe, tools, seed
        The recipe, what its names stand for, and the seed of the attack: the recipe's check, or else its perturbation.
    fabric
        Device and precision.
    workers
        Number of processes that read signals.
    """
    attack = _attack(tools)
    expected = ["confusion", *(["attacked"] if attack and not recipe.layer else [])]
    if all((folder / RESULTS / group).exists() for group in expected):
        return
    load_weights(model, folder)
    datasets = findings(model, classes, stimuli, recipe, attack, fabric, seed, workers)
    store = StudyStore.reopen(folder)
    for name, dataset in datasets.items():
        store.add(name, dataset)


def findings(
    model: Model,
    classes: Sequence[str],
    stimuli: Stimuli,
    recipe: Recipe,
    attack: Perturbation | None,
    fabric: Fabric,
    seed: int = 0,
    workers: int = 0,
) -> dict[str, xr.Dataset]:
    """Count a network's answers by category, on signals as they are and under an attack; keep some of these signals.

    Returns
    -------
    dict
        ``confusion`` with counts over ``category`` and ``answer``; and, with an attack, ``attacked`` with the signals.
    """
    draw = torch.Generator().manual_seed(derived_seed(seed, "findings", "order"))
    spread_over = spread(len(stimuli), COUNTED)  # in a random order, since data sets are often sorted by class
    order = torch.randperm(len(spread_over), generator=draw, device=draw.device).tolist()
    some = Selection(stimuli, [spread_over[index] for index in order])
    given = examples(some, classes, model.domain)
    counts = torch.zeros(2, len(classes), len(classes), dtype=torch.int64, device="cpu")
    kept: list[tuple[torch.Tensor, ...]] = []
    generator = torch.Generator().manual_seed(derived_seed(seed, "findings"))
    attacked = 0
    with frozen(model.module), torch.no_grad(), fabric.autocast():
        for batch in Loader(given, workers)(Order(len(given), recipe.batch_size, 0)):
            signals, labels = fabric.to_device(batch)
            signals = in_domain(signals, model.domain)
            answers = model.module(signals).argmax(dim=1)
            _count(counts[0], labels, answers)
            if attack is None or attacked >= ATTACKED:
                continue
            taking, shown = perturbed(model, recipe.layer, attack, signals, labels, generator)
            fooled = taking.module(shown).argmax(dim=1)
            _count(counts[1], labels, fooled)
            if not recipe.layer and attacked < SHOWN:
                kept.append(tuple(each.cpu() for each in (signals, shown, labels, answers, fooled)))
            attacked += len(signals)
    found = {"confusion": _confusion(counts, classes, attack is not None)}
    if not kept:
        return found
    first = tuple(torch.cat(each)[:SHOWN] for each in zip(*kept, strict=True))
    names = [some[index].name for index in range(len(first[0]))]
    return found | {"attacked": _attacked(model, first, classes, names)}


def _attack(tools: TrainingTools) -> Perturbation | None:
    return tools.check or (tools.perturbation(1.0) if tools.perturbation else None)


def _count(counts: torch.Tensor, labels: torch.Tensor, answers: torch.Tensor) -> None:
    pairs = (labels * len(counts) + answers).cpu()
    counts += torch.bincount(pairs, minlength=counts.numel()).reshape(counts.shape)


def _confusion(counts: torch.Tensor, classes: Sequence[str], has_attack: bool) -> xr.Dataset:
    what = {"natural": "answers to signals as they are", "attacked": "answers under attack"}
    names = list(what)[: 1 + has_attack]
    variables = {
        name: (("category", "answer"), counts[index].numpy(), {"long_name": f"number of {what[name]}", "units": "1"})
        for index, name in enumerate(names)
    }
    about = {
        "title": "Confusion",
        "reading_order": names,
        "read_first": "Each row is what signals of a class show, each column what the network takes them for, with its "
        "best weights; up to 5,000 validation signals, 512 under attack.",
    }
    return xr.Dataset(variables, {"category": list(classes), "answer": list(classes)}, about)


def _attacked(model: Model, kept: tuple[torch.Tensor, ...], classes: Sequence[str], names: Sequence[str]) -> xr.Dataset:
    signals, shown, labels, answers, fooled = kept
    dims = ("stimulus", *model.domain.dims)

    def drawn(values: torch.Tensor, long_name: str, **more: str) -> Any:
        return dims, values.float().numpy(), {"long_name": long_name, "units": "1", **more}

    def named(indices: torch.Tensor, long_name: str) -> Any:
        return "stimulus", np.array([classes[index] for index in indices.tolist()], dtype=object), {
            "long_name": long_name, "units": "1",
        }  # fmt: skip

    captions = [
        f"{name}: {classes[label]}, taken for {classes[answer]}, under attack for {classes[wrong]}"
        for name, label, answer, wrong in zip(names, labels, answers, fooled, strict=True)
    ]
    variables = {
        "natural": drawn(signals, "signal as it is"),
        "signal": drawn(shown, "signal under attack"),
        "change": drawn(shown - signals, "change of the signal, scaled", display="scaled"),
        "category": named(labels, "what it shows"),
        "answer": named(answers, "what the network takes it for"),
        "attacked_answer": named(fooled, "what it takes it for under attack"),
    }
    unique = [f"{index + 1}. {caption}" for index, caption in enumerate(captions)]
    about = {"title": "Attacked signals", **model.domain.attributes()}
    return xr.Dataset(variables, {"stimulus": np.array(unique, dtype=object)}, about)
