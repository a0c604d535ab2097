"""Estimate of the time, memory and disk that a study takes, before it is made."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...framework.contract import examine
from ...framework.devices import check_precision
from ...framework.joint import terms_of, with_terms
from ...framework.manager import Plugins
from ...framework.study import Study, load_stimuli
from ..proof.null import MAX_SIGNALS, null_bytes
from ..synthesis.driver import NaturalSignals, make_metamers
from ..synthesis.procedure import Procedure
from ..synthesis.settings import Settings, resolve_settings
from .batch_size import batch_bytes, signal_bytes, with_batch_size
from .parts import Part, check_fit, load_parts

_KEPT = 0.4
"""Share of the null's memory that the C library keeps when it is freed, and that a batch hardly uses: measured."""

_ALWAYS = 16_000_000
"""Memory that every study takes, whatever its signals and activations are: measured."""

_TRIAL_SECONDS = 1.0
"""Time that a trial of a model takes about; it is made a few times, of at least two stimuli and three updates."""


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
    """Estimate what a study takes, by a few updates of a batch of noise at each layer.

    Memory is the peak of creating the study, or of its null and a batch of metamers, in addition to PyTorch and the
    networks; it does not depend on the number of stimuli beyond those of the null.
    Disk is before compression; scratch is temporary disk space of the null. Time is that of making and measuring
    metamers and of the passes of the null's signals, without the comparison of their pairs.
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
        update, other = _seconds(part, procedure, together, device)
        seconds += each * (settings.steps * update + other) + signals * other / len(part.layers)
    return Estimate(metamers, metamers * settings.steps, most + _ALWAYS, disk, scratch, seconds)


def _seconds(part: Part, procedure: Procedure, together: int, device: torch.device) -> tuple[float, float]:
    """Measure what metamers take: an update of one stimulus at all layers, and all else that is done for it.

    Batches of noise are made: of one stimulus and of several, with one update and with several.
    """
    domain, names = part.model.domain, [str(number) for number in range(together)]

    def noise(some: slice) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        drawn = torch.rand((len(names[some]), *domain.shape), generator=generator, dtype=torch.float32, device="cpu")
        return domain.low + (domain.high - domain.low) * drawn

    def taken(stimuli: int, steps: int) -> float:
        settings = replace(procedure.settings, steps=steps, seeds=1, batch_size=stimuli, stop=Settings.stop)
        began = time.perf_counter()
        make_metamers(
            part.model,
            NaturalSignals(names[:stimuli], noise),
            part.layers,
            part.measured,
            replace(procedure, settings=settings),
            seed=0,
            write=lambda _group, _region, _values: None,
            done=np.zeros((len(part.layers), stimuli, 1), dtype=bool),
            device=device,
        )
        return time.perf_counter() - began

    taken(1, 1)  # the first of each size is slower, and not counted
    alone = taken(1, 1)
    stimuli = min(together, max(2, int(_TRIAL_SECONDS / alone)))
    taken(stimuli, 1)
    once = taken(stimuli, 1)
    more = max(3, min(30, int(_TRIAL_SECONDS / once)))
    update = max(0.0, taken(stimuli, 1 + more) - once) / more / stimuli
    each = once if stimuli == 1 else (once - alone) / (stimuli - 1)  # without what is done once, such as folding
    return update, max(0.0, each - update)
