"""Shift consistency: how often a model gives a signal the same label at two positions."""

from __future__ import annotations

from dataclasses import replace

import torch
import xarray as xr

from ...framework.checks import one_of, whole
from ...framework.context import Context
from ...framework.contract import require_logits
from ...framework.domains import Domain, ImageDomain
from ...framework.errors import MetameryError
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from ..statistics.proportions import proportion
from ..studies.batches import batch_count, drawn_seed, fit, running
from .distortions import PADDINGS, shifted

EDGES = (*PADDINGS, "crop")


def shift_consistency(maximum: int | None = None, edges: str = "reflect", batch_size: int = 100) -> Evaluator:
    """Build the evaluator: for each model, the proportion of signals with the same label twice (Zhang 2019, section 4).

    Each signal is moved twice, by whole pixels or samples drawn evenly from −`maximum` to `maximum`, and the model's
    highest class is compared. The draws are seeded from the seed and the stimulus's name alone.

    Parameters
    ----------
    maximum
        Largest shift; by default an eighth of a picture's shorter side, or a tenth of a sound.
    edges
        What enters at the edge: the signal mirrored there (``reflect``), or black or silence (``zero``). ``crop``
        takes two crops, up to twice `maximum` apart, from a picture that is larger than the model's by as much: with
        a `maximum` of 16, about the published procedure on ImageNet.
    """
    one_of("edges", edges, EDGES)
    if maximum is not None:
        whole("maximum", maximum, 1)
    whole("batch_size", batch_size, 1)

    @with_passes(lambda context: Passes(2 * len(context.stimuli), batch_size=batch_size))
    def evaluate(context: Context) -> xr.Dataset:
        seed = drawn_seed(context)
        agreed = dict.fromkeys(context.models, 0)
        domains = {model.domain for model in context.models.values()}
        most = {domain: _most(domain, maximum) for domain in domains}
        shown = {domain: _wider(domain, most[domain]) if edges == "crop" else domain for domain in domains}
        context.progress.start(batch_count(context, batch_size), "shifts")
        for name, model in context.models.items():
            require_logits(name, model)
        with running(context), torch.no_grad():
            for first in range(0, len(context.stimuli), batch_size):
                last = min(first + batch_size, len(context.stimuli))
                stimuli = [context.stimuli[index] for index in range(first, last)]
                fitted = fit(stimuli, set(shown.values()), context.device)
                names = [stimulus.name for stimulus in stimuli]
                for domain in domains:
                    pair = [_moved(fitted[shown[domain]], domain, edges, most[domain], seed, names, n) for n in (0, 1)]
                    for name, model in context.models.items():
                        if model.domain == domain:
                            one, other = (model.module(signals).argmax(dim=1) for signals in pair)
                            agreed[name] += int((one == other).sum())
                context.progress.advance()
        count = len(context.stimuli)
        what = "proportion of signals that get one label at two places"
        variables = proportion("consistency", ["model"], list(agreed.values()), count, what)
        dataset = xr.Dataset(variables, {"model": list(agreed)})
        dataset["counted"] = ("model", [count] * len(agreed), {"long_name": "signals that count", "units": "1"})
        dataset.attrs = {
            "title": "Shift consistency",
            "reading_order": ["consistency"],
            "read_first": "At 1 the label never depends on the position of the signal.",
            "edges": edges,
            "maximum": sorted(most.values()),
        }
        return dataset

    return evaluate


def _most(domain: Domain, maximum: int | None) -> int:
    image = isinstance(domain, ImageDomain)
    shortest = min(domain.shape[1:] if image else domain.shape)
    most = shortest // (8 if image else 10) if maximum is None else maximum
    if most >= shortest:
        raise MetameryError(f"maximum is {most}, expected less than the signals' length, {shortest}")
    return most


def _wider(domain: Domain, most: int) -> Domain:
    if not isinstance(domain, ImageDomain):
        raise MetameryError("edges is 'crop', which is for pictures; the model takes sounds: expected reflect or zero")
    return replace(domain, height=domain.height + 2 * most, width=domain.width + 2 * most)


def _moved(
    signals: torch.Tensor, domain: Domain, edges: str, most: int, seed: int, names: list[str], number: int
) -> torch.Tensor:
    """Signals, each moved by its own draw, ``(B, …)`` of the domain."""
    draws = []
    for name in names:
        own = torch.Generator().manual_seed(derived_seed(seed, "shift", number, name))
        draws.append(torch.randint(-most, most + 1, (len(domain.axes),), generator=own, device="cpu"))
    by = torch.stack(draws, dim=1)  # (axes, B)
    if edges != "crop" or not isinstance(domain, ImageDomain):
        return shifted(signals, by, domain, edges)
    height, width = domain.height, domain.width
    tops, lefts = (by + most).tolist()
    cropped = [s[:, y : y + height, x : x + width] for s, y, x in zip(signals, tops, lefts, strict=True)]
    return torch.stack(cropped)
