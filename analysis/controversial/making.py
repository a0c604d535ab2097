"""Making controversial signals: one signal, two networks, a target in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ...framework.contract import examine
from ...framework.domains import Domain
from ...framework.layers import LayerName
from ...framework.running import drawing, fast_on_cpu, frozen, signal_type
from ...framework.schema import STATES
from ..proof.measures import NULL_METRICS, measure
from ..studies.metamers import ModelMetamers
from ..synthesis.driver import starting_noise
from ..synthesis.matching import match_layer
from ..synthesis.procedure import Procedure
from ..synthesis.responses import Responses, respond
from ..synthesis.together import conversion, in_member, join_models
from .pairs import Contest


@dataclass(frozen=True, eq=False)
class Controversial:
    """Controversial signals of one contest, for n pairs of stimuli.

    Parameters
    ----------
    signals
        ``(n, …)``, rounded to what is shown; NaN where the synthesis failed.
    match
        Measures `NULL_METRICS` at the layer of each of the two networks, ``(2, n, metric)``.
    agrees
        Whether each network gives the signal the class of its own stimulus of the pair, ``(2, n)``; −1 without classes.
    probability
        Softmax probability of that class, ``(2, n)``.
    answer
        Class that each network gives the signal, ``(2, n)``; −1 without classes.
    """

    signals: NDArray[np.float32]
    match: NDArray[np.float32]
    agrees: NDArray[np.int8]
    probability: NDArray[np.float64]
    answer: NDArray[np.int64]


def cross_entropy(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits ``(B, classes)`` with one-hot classes: −log of the class's probability, ``(B,)``."""
    return -(logits.log_softmax(dim=1) * classes).sum(dim=1)


def make_controversial(
    contest: Contest,
    pairs: Mapping[int, int],
    common: Domain,
    procedure: Procedure,
    *,
    objective: str,
    seed: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> Controversial:
    """Make signals that match one stimulus of each pair in the first network, and the other in the second.

    It is the synthesis of a joint layer of both networks (`join_models`, `match_layer`), with targets of two stimuli.
    With the objective ``classes`` what is lowered is the sum of both cross-entropies, in which the smaller of the two
    probabilities counts more.

    Parameters
    ----------
    pairs
        For the index of a stimulus that of the other.
    common
        Domain of the signals.
    procedure
        How they are made; distance and modified ReLU are those of ``match`` alone.
    """
    models = {"a": contest.one.model, "b": contest.other.model}
    both = join_models(models)
    layers = [contest.layer, contest.other_layer]
    rows = [[*pairs], [*pairs.values()]]
    names = [f"{contest.one.stimuli[index]} / {contest.one.stimuli[other]}" for index, other in pairs.items()]
    originals = [
        _respond(made, layer, which, device)
        for made, layer, which in zip((contest.one, contest.other), layers, rows, strict=True)
    ]
    terms = [
        in_member(member, LayerName.parse(layer).within(model.module))
        for (member, model), layer in zip(models.items(), layers, strict=True)
    ]
    targets = [found.activations[layer] for found, layer in zip(originals, layers, strict=True)]
    if objective == "classes":
        procedure = replace(procedure, distance=cross_entropy)
        targets = [_one_hot(target) for target in targets]
    settings, dtype = procedure.settings, signal_type(both.module)
    signals = np.full((len(pairs), *common.shape), np.nan, dtype=np.float32)
    with frozen(both.module), fast_on_cpu(both.module, common), both.tap(terms) as tap:
        for first in range(0, len(pairs), settings.batch_size):
            part = slice(first, first + settings.batch_size)
            starts = [starting_noise(common, settings.noise, seed, 0, name) for name in names[part]]
            with drawing(both, 0):
                record = match_layer(
                    tap,
                    [target[part] for target in targets],
                    torch.stack(starts).to(device, dtype),
                    procedure,
                    common,
                    advance,
                    capture=not both.stochastic,
                    weights=(1.0, 1.0),
                )
            rounded = common.quantise(record.signals).float().cpu().numpy()
            finished: NDArray[np.bool_] = (record.states == STATES["done"]).numpy()
            signals[part] = np.where(_wide(finished, rounded), rounded, np.nan)
    done = np.asarray(np.isfinite(signals).reshape(len(signals), -1).all(axis=1))
    shown = torch.from_numpy(np.where(_wide(done, signals), signals, common.middle)).to(device, dtype)
    match = np.full((2, len(pairs), len(NULL_METRICS)), np.nan, dtype=np.float32)
    agrees, answer = np.full((2, len(pairs)), -1, dtype=np.int8), np.full((2, len(pairs)), -1)
    probability = np.full((2, len(pairs)), np.nan)
    for side, (model, layer, original) in enumerate(zip(models.values(), layers, originals, strict=True)):
        given = conversion(common, model.domain)(shown).to(signal_type(model.module))
        found = respond(model, given, [layer, "output"])
        match[side] = measure(found.activations[layer], original.activations[layer], NULL_METRICS)
        if examine(model).classes is not None:
            answer[side] = found.predicted
            agrees[side] = found.predicted == original.predicted
            chances = found.activations["output"].float().softmax(dim=1).cpu().numpy()
            probability[side] = np.take_along_axis(chances, original.predicted[:, None], axis=1)[:, 0]
    match[:, ~done], agrees[:, ~done], probability[:, ~done], answer[:, ~done] = np.nan, -1, np.nan, -1
    return Controversial(signals, match, agrees, probability, answer)


def _respond(made: ModelMetamers, layer: str, rows: list[int], device: torch.device) -> Responses:
    natural = made.natural.isel(stimulus=rows).transpose("stimulus", *made.domain.dims).values
    model = made.model
    return respond(model, torch.from_numpy(np.asarray(natural)).to(device, signal_type(model.module)), [layer])


def _one_hot(logits: torch.Tensor) -> torch.Tensor:
    """The class with the highest logit, ``(B, classes)``."""
    return torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


def _wide(flags: NDArray[np.bool_], signals: NDArray[np.float32]) -> NDArray[np.bool_]:
    return flags.reshape(-1, *[1] * (signals.ndim - 1))
