"""Robust accuracy: how often a model is right about signals that were changed to make it err.

Each attack knows the network and its weights. An attack can only show that a network is not robust, so the accuracy
that is left is an upper bound; where gradients are masked (Athalye et al. 2018), a loose one, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...framework.checks import MANY, numbers, whole
from ...framework.context import Context
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from ..statistics.proportions import proportion
from ..studies.batches import StimulusBatch, batch_count, batches, drawn_seed, graded, running
from .balls import ball, check_norm, draw, length
from .gradient import apgd, check_settings, pgd
from .masked import Still, masked_gradients

EPSILONS = {
    ("image", "linf"): (2 / 255, 4 / 255, 8 / 255, 16 / 255),
    ("image", "l2"): (0.25, 0.5, 1.0, 2.0),
    ("waveform", "linf"): (0.0005, 0.001, 0.002, 0.004),
    ("waveform", "l2"): (0.25, 0.5, 1.0, 2.0),
}
"""Sizes by kind of domain and norm, in the signals' units."""

_MEANING = {
    "accuracy": "accuracy under all attacks up to this size",
    "pgd": "accuracy under PGD alone",
    "one_step": "accuracy under one step along the gradient",
    "noise": "accuracy under random noise of this size",
    "transfer": "accuracy under the examples that PGD made for the other models",
}


def robustness(
    norm: str = "linf",
    epsilons: Sequence[float] | None = None,
    steps: int = 20,
    restarts: int = 1,
    apgd_steps: int = 100,
    batch_size: int = 100,
) -> Evaluator:
    """Build the evaluator: accuracy over the size of the perturbation, 0 being the signals as they are.

    The attacks at each size are noise, one step along the gradient, PGD, and, on signals that have withstood these and
    all smaller sizes, APGD with cross-entropy and with the difference of logits ratio (with the margin, where there are
    two classes): the first two attacks of AutoAttack (Croce & Hein 2020). Only signals that a model is right about are
    attacked. Randomness is seeded from the seed and the stimulus's name, so a signal's result does not depend on the
    other signals.

    For sounds, ``snr`` gives each size in dB: the median signal-to-noise ratio of the signals that count, under a
    perturbation of the full size, which changes every sample by epsilon (Linf) or has length epsilon (L2). No
    perturbation within that size is louder.

    Parameters
    ----------
    norm
        ``linf`` or ``l2``.
    epsilons
        Sizes in the signals' units; by default four, from 2/255 for pictures, 0.0005 for sounds and 0.25 in L2, each
        twice the one before.
    steps
        Number of steps of PGD, each of 2.5 epsilon / `steps`.
    restarts
        Number of restarts of PGD and of APGD.
    apgd_steps
        Number of steps of each of the two APGD attacks.
    batch_size
        Number of signals that are attacked at once.
    """
    check_norm(norm)
    check_settings(steps=steps, restarts=restarts)
    for name, count in (("apgd_steps", apgd_steps), ("batch_size", batch_size)):
        whole(name, count, 1, MANY)
    if epsilons is not None:
        numbers("epsilons", epsilons, "[0.01, 0.02]", least=0)

    def passes(context: Context) -> Passes:
        attacked = len(graded(context).stimuli) * len(_sizes(context, norm, epsilons))
        descents = 1 + restarts * (steps + 2 * apgd_steps)  # one step, PGD, and APGD with two losses
        return Passes(len(context.stimuli) + attacked * (3 + 3 * restarts), attacked * descents, batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        sizes = _sizes(context, norm, epsilons)
        attack = _Attacks(norm, steps, restarts, apgd_steps, drawn_seed(context))
        outcomes_of: dict[str, list[dict[str, Still]]] = {name: [] for name in context.models}
        counted = dict.fromkeys(context.models, 0)
        levels: dict[str, list[torch.Tensor]] = {name: [] for name in context.models}  # of sounds
        context.progress.start(batch_count(context, batch_size) * len(context.models) * len(sizes), "attacks")
        with running(context):
            for given in batches(context, batch_size):
                made: dict[str, list[torch.Tensor]] = {}  # by model, for each size, the batch as PGD left it
                right: dict[str, torch.Tensor] = {}
                for name, batch in given.items():
                    counted[name] += int(batch.known.sum())
                    model = context.models[name]
                    if model.domain.kind == "waveform":
                        levels[name].append(_decibels(batch.signals[batch.known]).cpu())
                    with torch.no_grad():
                        right[name] = batch.correct(model.module(batch.signals))
                    examples: list[torch.Tensor] = []
                    rows = []
                    for row, moved in attack.at_sizes(model, batch.some(right[name]), sizes):
                        examples.append(batch.signals.index_put((right[name],), moved))
                        rows.append(row)
                        context.progress.advance()
                    made[name] = examples
                    outcomes_of[name].append({what: np.stack([row[what] for row in rows], axis=1) for what in rows[0]})
                for name in given:
                    others = [made[other] for other in given if _same_domain(context, name, other)]
                    if others:
                        outcomes_of[name][-1]["transfer"] = _transferred(
                            context.models[name], given[name].some(right[name]), right[name], others
                        )
        still = {name: _joined(parts) for name, parts in outcomes_of.items()}
        dataset = _dataset(still, counted, sizes)
        if any(levels.values()):
            dataset["snr"] = _snr(levels, context, norm, sizes)
        dataset.attrs = {
            "title": "Robust accuracy",
            "reading_order": [name for name in ("accuracy", "transfer") if name in dataset],
            "read_first": "Size 0 is the accuracy without attack; the later a curve falls, the more robust the model.",
            "norm": norm,
            "warnings": [line for name in still for line in masked_gradients(name, still[name], sizes)],
        }
        return dataset

    return evaluate


@dataclass(frozen=True)
class _Attacks:
    """Settings of the attacks, and the seed of their randomness."""

    norm: str
    steps: int
    restarts: int
    apgd_steps: int
    seed: int

    def at_sizes(
        self, model: Model, batch: StimulusBatch, sizes: Sequence[float]
    ) -> Iterator[tuple[dict[str, Still], torch.Tensor]]:
        """Yield for each size, ascending, which signals ``(B,)`` withstood each attack, and the signals after PGD.

        `batch` holds signals that the model is right about.
        """
        with torch.no_grad():
            labels = batch.best(model.module(batch.signals)) if len(batch.signals) else torch.zeros(0, dtype=torch.long)
        alive = torch.ones(len(batch.signals), dtype=torch.bool, device=batch.signals.device)
        for size in sizes:
            if not len(batch.signals):
                nothing = np.zeros(0, dtype=bool)
                yield dict.fromkeys(("accuracy", "pgd", "one_step", "noise", "stuck"), nothing), batch.signals
                continue
            step = pgd(
                model, batch.signals, labels, epsilon=size, norm=self.norm, steps=1, step_size=size, random_start=False
            )
            moved = self._pgd(model, batch, labels, size)
            left = {
                "noise": _right(model, batch, self._noise(model, batch, size)),
                "one_step": _right(model, batch, step),
                "pgd": _right(model, batch, moved),
            }
            for withstood in left.values():
                alive = alive & withstood
            alive = self._apgd(model, batch, labels, size, alive)
            stuck = (step == batch.signals).flatten(1).all(dim=1)
            results = {**left, "accuracy": alive, "stuck": stuck}
            yield {what: values.cpu().numpy() for what, values in results.items()}, moved

    def _noise(self, model: Model, batch: StimulusBatch, size: float) -> torch.Tensor:
        around = ball(batch.signals, size, self.norm, model.domain)
        return around.step(batch.signals, draw(torch.randn, batch.signals, self._own(batch, "noise", 0)), size)

    def _pgd(self, model: Model, batch: StimulusBatch, labels: torch.Tensor, size: float) -> torch.Tensor:
        """Each signal's first example that fools the model, or its last one."""
        result = batch.signals.clone()
        left = torch.ones(len(result), dtype=torch.bool, device=result.device)
        for restart in range(self.restarts):
            some = batch.some(left)
            own = self._own(some, "pgd", restart)
            result[left] = pgd(model, some.signals, labels[left], own, epsilon=size, norm=self.norm, steps=self.steps)
            if not (left := _right(model, batch, result)).any():
                break
        return result

    def _apgd(
        self, model: Model, batch: StimulusBatch, labels: torch.Tensor, size: float, alive: torch.Tensor
    ) -> torch.Tensor:
        for loss in ("cross_entropy", "dlr" if batch.right.shape[1] > 2 else "margin"):
            for restart in range(self.restarts):
                if not alive.any():
                    return alive
                some = batch.some(alive)
                moved = apgd(
                    model,
                    some.signals,
                    labels[alive],
                    self._own(some, f"apgd {loss}", restart),
                    epsilon=size,
                    norm=self.norm,
                    steps=self.apgd_steps,
                    loss=loss,
                )
                alive = alive.index_put((alive,), _right(model, some, moved))
        return alive

    def _own(self, batch: StimulusBatch, what: str, restart: int) -> list[torch.Generator]:
        """A generator for each signal."""
        seeds = [derived_seed(self.seed, what, restart, stimulus.name) for stimulus in batch.stimuli]
        return [torch.Generator().manual_seed(seed) for seed in seeds]


def _right(model: Model, batch: StimulusBatch, signals: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return batch.correct(model.module(signals))


def _transferred(model: Model, batch: StimulusBatch, right: torch.Tensor, others: list[list[torch.Tensor]]) -> Still:
    """Which signals are still right under all the examples that were made for others, ``(B, epsilon)``."""
    columns = []
    for examples in zip(*others, strict=True):  # of one size
        still = torch.ones(len(batch.signals), dtype=torch.bool, device=right.device)
        for moved in examples:
            if len(batch.signals):
                still &= _right(model, batch, moved[right])
        columns.append(still.cpu().numpy())
    return np.stack(columns, axis=1)


def _same_domain(context: Context, name: str, other: str) -> bool:
    return name != other and context.models[name].domain == context.models[other].domain


def _sizes(context: Context, norm: str, epsilons: Sequence[float] | None) -> list[float]:
    kinds = {model.domain.kind for model in context.models.values()}
    if epsilons is None and len(kinds) > 1:
        raise MetameryError("the models take images and sounds, which have different sizes: expected epsilons")
    return sorted({float(size) for size in epsilons or EPSILONS[kinds.pop(), norm]} - {0.0})


def _decibels(sounds: torch.Tensor) -> torch.Tensor:
    """The Euclidean length of each sound ``(B, T)`` in dB, ``(B,)``; minus infinity for silence."""
    return 20 * length(sounds).squeeze(1).log10()


def _snr(
    levels: Mapping[str, Sequence[torch.Tensor]], context: Context, norm: str, sizes: Sequence[float]
) -> xr.Variable:
    """The median level of the sounds relative to that of each size, ``(model, epsilon)``; NaN at 0."""
    ratios = np.full((len(levels), 1 + len(sizes)), np.nan)
    for row, (name, parts) in zip(ratios, levels.items(), strict=True):
        samples = context.models[name].domain.shape[0] if norm == "linf" else 1
        row[1:] = np.median(torch.cat(list(parts))) - 20 * np.log10(np.array(sizes) * samples**0.5)
    meaning = "signal-to-noise ratio under the loudest perturbation of this size, median of the signals that count"
    return xr.Variable(("model", "epsilon"), ratios, {"long_name": meaning, "units": "dB"})


def _joined(parts: list[dict[str, Still]]) -> dict[str, Still]:
    return {what: np.concatenate([part[what] for part in parts]) for what in parts[0]}


def _dataset(
    still: Mapping[str, Mapping[str, Still]], counted: Mapping[str, int], sizes: Sequence[float]
) -> xr.Dataset:
    trials = np.array([counted[name] for name in still])
    variables: dict[str, Any] = {}
    for what, meaning in _MEANING.items():
        if all(what in outcomes for outcomes in still.values()):
            clean = [len(outcomes[what]) for outcomes in still.values()]
            attacked = [outcomes[what].sum(axis=0) for outcomes in still.values()]
            variables |= proportion(
                what, ["model", "epsilon"], np.column_stack([clean, attacked]), trials[:, None], meaning
            )
    variables["counted"] = ("model", trials, {"long_name": "signals that count", "units": "1"})
    dataset = xr.Dataset(variables, {"model": list(still), "epsilon": [0.0, *sizes]})
    dataset["epsilon"].attrs = {"long_name": "size of the perturbation, in the signals' units", "units": "1"}
    return dataset
