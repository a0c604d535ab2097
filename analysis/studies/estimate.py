"""Estimate of the time, memory and disk that a study takes, before it is made."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ...framework.contract import examine
from ...framework.devices import check_precision
from ...framework.domains import blank_signal
from ...framework.manager import Plugins
from ...framework.running import channels_last, frozen, keeping_memory
from ...framework.study import Study, load_stimuli
from ..proof.null import MAX_SIGNALS, null_bytes
from ..synthesis.matching import match_layer
from ..synthesis.procedure import Procedure
from ..synthesis.settings import resolve_settings
from .parts import Part, load_parts

_WRITTEN = 10
"""Number of batches of signals that Zarr holds at once while it writes many, each raw and compressed."""

_PASSING = 5
"""Number of temporary copies of the largest activation in an update, with what the C library retains: measured."""


@dataclass(frozen=True)
class Estimate:
    """What running a study would take, as far as it is known beforehand."""

    metamers: int
    updates: int
    memory_bytes: int
    disk_bytes: int
    scratch_bytes: int
    seconds: float


def estimate(study: Study, plugins: Plugins, device: torch.device) -> Estimate:
    """Estimate what a study takes, by a few updates of a single signal at each layer.

    Memory is the peak of creating the study, its null or a batch of metamers, in addition to PyTorch and the networks.
    Disk is before compression; scratch is temporary disk space of the null. Time is that of synthesis, one signal after
    another: batches are usually faster.
    """
    with plugins.trust.named_in(study.source):
        return _estimate(study, plugins, device)


def _estimate(study: Study, plugins: Plugins, device: torch.device) -> Estimate:
    settings = resolve_settings(study.synthesis)
    check_precision(settings.precision, device)
    stimuli = len(load_stimuli(plugins, study.stimuli))
    procedure = Procedure.load(settings, plugins)
    metamers = most = disk = scratch = 0
    signals = len(load_stimuli(plugins, study.null_stimuli or study.stimuli))
    signals = min(signals, MAX_SIGNALS if study.null_signals is None else study.null_signals)
    seconds = 0.0
    parts = load_parts(study, plugins, device)
    fitted = {part.model.domain: 4 * math.prod(part.model.domain.shape) for part in parts}
    together = min(settings.batch_size, stimuli)
    largest_signal = max(fitted.values())
    most = stimuli * sum(fitted.values()) + 2 * min(_WRITTEN * together, stimuli) * largest_signal
    for part in parts:
        each = stimuli * settings.seeds
        metamers += len(part.layers) * each
        found = examine(part.model, part.layers).outline
        kept = {layer.name: layer.kept_bytes for layer in found}
        units = {layer.name: layer.units for layer in found}
        measured = 4 * sum(units.get(layer, 0) for layer in part.measured)
        largest = 4 * max(units.values())
        of_layer = max(kept.get(layer, max(kept.values())) for layer in part.layers)
        most = max(most, together * (of_layer + 2 * measured + _PASSING * largest + 2 * largest_signal))
        sizes = [units.get(layer, 0) for layer in part.layers]
        most = max(most, null_bytes(signals, [units["input"], *sizes], largest // 4))
        scratch = max(scratch, 4 * signals * (units["input"] + sum(sizes) + max(sizes)))
        signal = fitted[part.model.domain]
        disk += stimuli * signal + len(part.layers) * each * (signal + 4 * (settings.steps + 1))
        seconds += each * settings.steps * sum(_update_seconds(part, procedure, device))
    return Estimate(metamers, metamers * settings.steps, most, disk, scratch, seconds)


def _update_seconds(part: Part, procedure: Procedure, device: torch.device) -> Iterator[float]:
    """Time an update of one signal at each layer."""
    module, domain = part.model.module, part.model.domain
    start = blank_signal(domain, device=device)
    with frozen(module), channels_last(module, domain), keeping_memory():
        for layer in part.layers:
            with part.model.tap([layer]) as tap:
                with torch.no_grad():
                    target = tap(start + 0.1 * (domain.high - domain.low))[layer].clone()
                for steps in (1, 3):  # the first is the warm-up
                    began = time.perf_counter()
                    trial = replace(procedure, settings=replace(procedure.settings, steps=steps))
                    match_layer(tap, target, start, trial, domain)
                    taken = time.perf_counter() - began
            yield taken / steps
