"""Metamers of a model's stimuli, at every layer: the driver over batches."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ...framework.contract import on_device
from ...framework.devices import made_on, repeatable
from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.folding import folded
from ...framework.joint import is_joint, single_layers, terms_of, with_terms
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.randomness import derived_seed
from ...framework.running import drawing, fast_on_cpu, frozen, signal_type
from ...framework.schema import SIGNAL_DIMENSIONS, STATES, match_variables, metamer_variables, success_variables
from ...framework.store import Group
from ..proof.measures import METRICS, measure
from .behind import Behind
from .matching import Record, match_layer
from .passes import Compiled
from .procedure import Procedure
from .responses import Responses, respond
from .settings import Settings
from .settling import NEEDS_NULL, Settling
from .starts import StartFile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Write = Callable[[str, Mapping[str, slice], Mapping[str, "ArrayLike"]], None]
"""``write(group, region, values)``, where group is ``stimuli``, ``metamers`` or ``match`` of one model."""


@dataclass(frozen=True)
class SynthesisBatch:
    """One unit of work: some stimuli at one layer from one seed."""

    layer: int
    stimuli: slice
    seed: int

    @property
    def region(self) -> dict[str, slice]:
        """Region of its results in the store's arrays."""
        return {
            "layer": slice(self.layer, self.layer + 1),
            "stimulus": self.stimuli,
            "seed": slice(self.seed, self.seed + 1),
        }


def partition(layers: int, stimuli: int, seeds: int, batch_size: int) -> list[list[SynthesisBatch]]:
    """Divide the work into batches; those of the same stimuli are in one list, since they share one forward pass.

    A pure function of the study: an interrupted study is resumed by whole batches.
    """
    blocks = [slice(first, min(first + batch_size, stimuli)) for first in range(0, stimuli, batch_size)]
    return [
        [SynthesisBatch(layer, block, seed) for layer in range(layers) for seed in range(seeds)] for block in blocks
    ]


def starting_noise(
    domain: Domain, noise: float | None, seed: int, repetition: int, name: str, around: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw the signal that a synthesis starts from; its noise depends on the seeds and the stimulus's name alone.

    Images: the middle of the range plus normal noise of 0.05 of the range, clamped to it. Waveforms: normal noise
    of 1e-7 (Feather et al. 2023, Methods). The same for every layer. Given `around`, a signal of the domain's shape,
    the noise is added to that.

    Returns
    -------
    torch.Tensor
        Of the domain's shape, float32, on the CPU.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, repetition, name))
    drawn = torch.randn(domain.shape, generator=generator, dtype=torch.float32, device="cpu")
    scale = domain.starting_noise if noise is None else noise * domain.unit
    return ((domain.middle if around is None else around) + scale * drawn).clamp(domain.low, domain.high)


@dataclass(frozen=True)
class NaturalSignals:
    """The natural signals that metamers are made of.

    Parameters
    ----------
    names
        Names of the stimuli; the starting noise is seeded from them.
    signals
        Returns the signals ``(B, …)`` of some stimuli, fitted to the model's domain.
    grade
        Returns for a stimulus's index and a predicted class 1 if it is a right answer, 0 if not, −1 where that is not
        known.
    """

    names: Sequence[str]
    signals: Callable[[slice], torch.Tensor]
    grade: Callable[[int, int], int] = lambda _stimulus, _predicted: -1


def make_metamers(
    model: Model,
    natural: NaturalSignals,
    layers: Sequence[str],
    measured: Sequence[str],
    procedure: Procedure,
    *,
    seed: int,
    write: Write,
    done: NDArray[np.bool_],
    metrics: Sequence[str] = METRICS,
    null: xr.Dataset | None = None,
    device: torch.device = torch.device("cpu"),
    progress: Progress | None = None,
) -> None:
    """Make the metamers of one model that are not yet done, batch by batch, and write each batch when it is ready.

    Batches are written, and the next stimuli read, in a thread beside the updates of the next batch.

    Parameters
    ----------
    measured
        The layers at which the match is measured, `layers` among them: the activations of a batch at all of these
        are in memory at once, twice.
    done
        Which metamers exist already or are not asked for, ``(layer, stimulus, seed)``; batches are made entirely.
    write
        Called with the results, in a thread of its own; the metamers' ``state`` comes last.
    metrics
        Measures of the match, by name.
    null
        The null, for settings with ``stop = "verdict"``.

    Raises
    ------
    MetameryError
        The settings have ``stop = "verdict"``, and there is no null; the network cannot be compiled, and they ask for
        it; or the file to start from does not fit the model's domain.
    """
    if procedure.settings.stop != "verdict":
        null = None
    elif null is None:
        raise MetameryError(NEEDS_NULL)
    start = None if procedure.start is None else procedure.start.fit(model.domain)
    if procedure.settings.compiled and model.stochastic:
        raise MetameryError("the network is stochastic and cannot be compiled: expected compiled = false")
    progress = progress or Progress()
    names, settings = natural.names, procedure.settings
    has_joint = any(map(is_joint, layers))
    module = on_device(model, device)
    dtype = signal_type(module)
    with (
        frozen(module),
        folded(model, measured) as merged,
        fast_on_cpu(module, model.domain),
        repeatable("float32"),
        Behind() as behind,
    ):
        machine = f"{made_on(device)}{f', batch normalisations folded: {merged}' if merged else ''}"
        compiled: dict[str, Compiled] = defaultdict(Compiled)

        def advance(updates: int) -> None:
            behind.check()
            progress.advance(updates)

        def store(batch: SynthesisBatch, answers: Mapping[str, ArrayLike], values: Mapping[str, ArrayLike]) -> None:
            write("match", batch.region, answers)
            write("metamers", batch.region, values)

        every = partition(len(layers), len(names), settings.seeds, settings.batch_size)
        blocks = [
            waiting
            for batches in every
            if (waiting := [batch for batch in batches if not done[batch.layer, batch.stimuli, batch.seed].all()])
        ]
        reading = behind.ahead(natural.signals, [waiting[0].stimuli for waiting in blocks])
        for waiting, signals in zip(blocks, reading, strict=True):
            block = waiting[0].stimuli
            with drawing(model, derived_seed(seed, "natural", block.start)):
                originals = respond(model, signals.to(device, dtype), measured)
            targets = originals.activations
            around = [start] * len(signals) if start is not None else _around(settings.start, natural, block, signals)
            correct = [natural.grade(block.start + i, int(best)) for i, best in enumerate(originals.predicted)]
            behind.do(
                write,
                "stimuli",
                {"stimulus": block},
                {"predicted": originals.predicted, "confidence": originals.confidence, "correct": correct},
            )
            for batch in waiting:
                layer = layers[batch.layer]
                progress.describe(f"{layer}, stimuli {block.start + 1} to {block.stop}")
                starts = [
                    starting_noise(model.domain, settings.noise, seed, batch.seed, name, each)
                    for name, each in zip(names[block], around, strict=True)
                ]
                settled = None if null is None else _settling(model, originals, null, layer)
                terms = terms_of(layer)
                drawn = derived_seed(seed, layer, batch.seed, block.start)
                with drawing(model, drawn), model.tap([term.layer for term in terms]) as tap:
                    with repeatable(settings.precision):
                        record = match_layer(
                            tap,
                            [targets[term.layer] for term in terms],
                            torch.stack(starts).to(device, dtype),
                            procedure,
                            model.domain,
                            advance,
                            capture=not model.stochastic,
                            settled=settled,
                            compiled=compiled[layer] if settings.compiled else None,
                            weights=[term.weight for term in terms],
                        )
                    answers = _match(model, record, originals, layer, metrics, joint=has_joint)
                behind.do(store, batch, answers, _in_region(_metamer_values(record, machine)))


def _around(start: str, natural: NaturalSignals, block: slice, signals: torch.Tensor) -> Sequence[torch.Tensor | None]:
    """Return for each signal of a block what its starting noise is added to; None where that is the middle."""
    if start == "noise":
        return [None] * len(signals)
    if start == "natural":
        return [*signals]
    following = block.stop % len(natural.names)
    return [*signals[1:], *natural.signals(slice(following, following + 1))]


def metamer_group(
    model: Model, layers: Sequence[str], names: Sequence[str], settings: Settings, start: StartFile | None = None
) -> Group:
    """The group that holds a model's metamers: its chunks are the batches."""
    domain = model.domain
    return Group(
        variables=metamer_variables(domain.dims),
        coordinates={
            "layer": list(layers),
            "stimulus": list(names),
            "seed": list(range(settings.seeds)),
            "step": list(range(settings.steps + 1)),
        },
        sizes={dim: size for dim, size in zip(domain.dims, domain.shape, strict=True) if dim in SIGNAL_DIMENSIONS},
        chunks={"layer": 1, "stimulus": min(settings.batch_size, max(1, len(names))), "seed": 1},
        attributes={"settings": json.dumps(settings.table()), **({} if start is None else start.attributes())},
    )


def match_group(layers: Sequence[str], measured: Sequence[str], names: Sequence[str], settings: Settings) -> Group:
    """The group that holds the match of a model's metamers; its chunks are the batches."""
    has_joint = any(map(is_joint, layers))
    return Group(
        variables={**match_variables(joint=has_joint), **success_variables(joint=has_joint)},
        coordinates={
            "layer": list(layers),
            "measured_layer": list(measured),
            "stimulus": list(names),
            "seed": list(range(settings.seeds)),
            "metric": list(METRICS),
        },
        chunks={"layer": 1, "stimulus": min(settings.batch_size, max(1, len(names))), "seed": 1},
    )


def updates(layers: int, stimuli: int, settings: Settings) -> int:
    """Largest number of updates of single signals that a synthesis makes."""
    return layers * stimuli * settings.seeds * settings.steps


def _metamer_values(record: Record, machine: str) -> dict[str, NDArray[Any]]:
    """Values of a batch for the group ``metamers``."""
    return {
        "signal": record.signals.cpu().numpy(),
        "loss": record.losses.numpy(),
        "steps": record.steps.numpy(),
        "reason": np.array(record.reasons, dtype=object),
        "made_on": np.full(len(record.reasons), machine, dtype=object),
        "state": record.states.numpy(),  # last: it marks the others as written
    }


def _match(
    model: Model, record: Record, originals: Responses, layer: str, metrics: Sequence[str], *, joint: bool
) -> dict[str, NDArray[Any]]:
    """Values of a batch for the group ``match``; those of failed metamers are missing.

    With `joint`, some layers of the study are joint layers.
    """
    targets, failed = originals.activations, record.states.numpy() == STATES["failed"]
    exact = respond(model, record.signals, list(targets))
    everywhere = np.stack([measure(exact.activations[name], target, metrics) for name, target in targets.items()])
    everywhere[:, failed] = np.nan
    own = with_terms([layer])
    rounded = respond(model, model.domain.quantise(record.signals), own)
    fits = {name: measure(rounded.activations[name], targets[name], metrics) for name in own}
    for values in fits.values():
        values[failed] = np.nan
    at_terms = {}
    if joint:
        missing = np.full_like(fits[layer], np.nan)
        each = np.stack([fits.get(name, missing) if name != layer else missing for name in targets])
        at_terms = {"quantised_term_match": each[None, :, :, None]}
    answers = {
        prefix + name: values
        for prefix, responses in (("", exact), ("quantised_", rounded))
        for name, values in _in_region(responses.variables(originals, failed)).items()
    }
    return {
        "match": everywhere[None, :, :, None],
        "quantised_match": fits[layer][None, :, None],
        **at_terms,
        **answers,
    }


def _settling(model: Model, originals: Responses, null: xr.Dataset, layer: str) -> Settling:
    def read(signals: torch.Tensor) -> Responses:
        return respond(model, model.domain.quantise(signals), single_layers([layer]))

    return Settling(read, originals, null, layer)


def _in_region(values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Reshape values of a batch ``(B, …)`` to those of its region, ``(1, B, 1, …)``."""
    return {name: value[None, :, None] for name, value in values.items()}
