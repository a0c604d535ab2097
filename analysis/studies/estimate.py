"""Estimate of the time, memory and disk that a study takes, before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ...framework.contract import examine
from ...framework.devices import check_precision
from ...framework.domains import blank_signal
from ...framework.joint import terms_of, with_terms
from ...framework.manager import Plugins
from ...framework.running import channels_last, frozen, keeping_memory
from ...framework.study import Study, load_stimuli
from ..proof.null import MAX_SIGNALS, null_bytes
from ..synthesis.matching import match_layer
from ..synthesis.procedure import Procedure
from ..synthesis.settings import resolve_settings
from .batch_size import batch_bytes, signal_bytes, with_batch_size
from .parts import Part, check_fit, load_parts

_KEPT = 0.4
"""Share of the null's memory that the C library keeps when it is freed, and that a batch hardly uses: measured."""


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

    Memory is the peak of creating the study, or of its null and a batch of metamers, in addition to PyTorch and the
    networks; it does not depend on the number of stimuli beyond those of the null.
    Disk is before compression; scratch is temporary disk space of the null. Time is that of synthesis, one signal after
    another: batches are usually faster.
    """
    with plugins.trust.named_in(study.source):
        return _estimate(study, plugins, device)


def _estimate(study: Study, plugins: Plugins, device: torch.device) -> Estimate:
    study = with_batch_size(study, plugins, device)
    settings = resolve_settings(study.synthesis)
    check_precision(settings.precision, device)
    stimuli = len(load_stimuli(plugins, study.stimuli))
    procedure = Procedure.load(settings, plugins)
    metamers = most = disk = scratch = 0
    signals = len(load_stimuli(plugins, study.null_stimuli or study.stimuli))
    signals = min(signals, MAX_SIGNALS if study.null_signals is None else study.null_signals)
    seconds = 0.0
    parts = load_parts(study, plugins, device)
    check_fit(procedure, parts)
    fitted = {part.model.domain: signal_bytes(part) for part in parts}
    together = min(settings.batch_size, stimuli)
    most = together * (sum(fitted.values()) + 2 * max(fitted.values()))  # a block is fitted, written and compressed
    for part in parts:
        each = stimuli * settings.seeds
        metamers += len(part.layers) * each
        units = {layer.name: layer.units for layer in examine(part.model, part.layers).outline}
        largest = max(units.values())
        sizes = [sum(units.get(term.layer, 0) for term in terms_of(layer)) for layer in with_terms(part.layers)]
        null = null_bytes(signals, [units["input"], *sizes], largest)
        most = max(most, null, int(_KEPT * null) + together * batch_bytes(part))
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
            terms = terms_of(layer)
            with part.model.tap([term.layer for term in terms]) as tap:
                with torch.no_grad():
                    read = tap(start + 0.1 * (domain.high - domain.low))
                targets, weights = [each.clone() for each in read.values()], [term.weight for term in terms]
                for steps in (1, 3):  # the first is the warm-up
                    began = time.perf_counter()
                    trial = replace(procedure, settings=replace(procedure.settings, steps=steps))
                    match_layer(tap, targets, start, trial, domain, weights=weights)
                    taken = time.perf_counter() - began
            yield taken / steps
