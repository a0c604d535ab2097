"""Is a metamer still one as its file holds it? Sounds brought back to the model's rate and level, and judged again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ...framework.contract import examine
from ...framework.domains import WaveformDomain
from ...framework.randomness import derived_seed
from ...framework.running import drawing, frozen, ordinary, signal_type
from ...framework.schema import STATES
from ..proof.measures import METRICS, measure
from ..proof.success import judge
from .conditions import Condition, verdicts_on
from .key import NATURAL
from .sounds import SoundFiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...framework.context import Context
    from ...framework.models import Model
    from ...framework.progress import Progress

BATCH = 16
"""Number of sounds that pass through a model together."""

Returned = tuple[str, torch.Tensor, torch.Tensor]
"""Name of a stimulus, its natural signal and its metamer brought back."""


def verdicts(
    context: Context,
    conditions: Sequence[Condition],
    stimuli: Collection[str],
    files: SoundFiles,
    seed: int,
    progress: Progress,
) -> dict[tuple[str, str, str], int]:
    """Judge the metamers that are done as their files hold them.

    Parameters
    ----------
    context
        Models of the study.
    conditions
        Conditions; those of natural signals, and of models without a null, are passed over.
    stimuli
        Stimuli that are shown.
    files
        How files are written.
    seed
        Which of several metamers of a stimulus.
    progress
        Display; it is advanced for each condition.

    Returns
    -------
    dict
        Whether a metamer is successful, one of `VERDICTS`, by model, layer and stimulus.
    """
    found: dict[tuple[str, str, str], int] = {}
    for condition in conditions:
        null = condition.results.null
        if condition.layer != NATURAL and null is not None:
            model = context.models[condition.results.name]
            measured = _measured(model, condition, stimuli, files, seed, context.device)
            if measured.sizes["stimulus"]:
                success = judge(measured, null)["success"].values[0, :, 0]
                names = [str(name) for name in measured["stimulus"].values]
                found |= {
                    (condition.model, condition.layer, name): int(verdict)
                    for name, verdict in zip(names, success, strict=True)
                }
        progress.advance()
    return found


@ordinary()
@torch.no_grad()
def _measured(
    model: Model,
    condition: Condition,
    stimuli: Collection[str],
    files: SoundFiles,
    seed: int,
    device: torch.device,
) -> xr.Dataset:
    """Return match and agreement of the metamers of a condition brought back, as `judge` takes them."""
    layer, dtype = condition.layer, signal_type(model.module)
    names: list[str] = []
    fits: list[NDArray[np.float32]] = []
    agrees: list[NDArray[np.int8]] = []
    with (
        frozen(model.module),
        drawing(model, derived_seed(seed, layer, "files")),
        model.tap(list(dict.fromkeys([layer, "output"]))) as tap,
    ):
        for batch in _batches(_returned(condition, stimuli, files, seed)):
            natural, metamers = (
                {name: activation.clone() for name, activation in tap(signals.to(device, dtype)).items()}
                for signals in (torch.stack([each[1] for each in batch]), torch.stack([each[2] for each in batch]))
            )
            names += [each[0] for each in batch]
            fits.append(measure(metamers[layer], natural[layer]))
            agrees.append(_agreement(model, metamers["output"], natural["output"]))
    fit = np.concatenate(fits) if fits else np.empty((0, len(METRICS)), np.float32)
    same = np.concatenate(agrees) if agrees else np.empty(0, np.int8)
    at: dict[str, Any] = {"layer": [layer], "stimulus": names, "seed": [seed], "metric": list(METRICS)}
    dims = ("layer", "stimulus", "seed")
    return xr.Dataset(
        {
            "match": (("layer", "measured_layer", *dims[1:], "metric"), fit[None, None, :, None]),
            "quantised_match": ((*dims, "metric"), fit[None, :, None]),
            "agrees": (dims, same[None, :, None]),
            "quantised_agrees": (dims, same[None, :, None]),
        },
        {**at, "measured_layer": [layer]},
    )


def _returned(condition: Condition, stimuli: Collection[str], files: SoundFiles, seed: int) -> Iterator[Returned]:
    domain, states = condition.results.domain, verdicts_on(condition, seed)
    assert isinstance(domain, WaveformDomain)
    for (name, natural), (_, signal) in zip(condition.natural(), condition.signals(seed), strict=True):
        if name in stimuli and states[name][0] == STATES["done"] and signal is not None:
            samples, gain = files.samples(signal, domain.sample_rate)
            yield name, torch.from_numpy(natural.copy()), files.returned(samples, gain, domain)


def _batches(returned: Iterator[Returned]) -> Iterator[list[Returned]]:
    batch: list[Returned] = []
    for each in returned:
        batch.append(each)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _agreement(model: Model, metamers: torch.Tensor, natural: torch.Tensor) -> NDArray[np.int8]:
    """Whether metamers have their stimulus's class: 1, 0, or −1 where a model has no classes."""
    if examine(model).classes is None:
        return np.full(len(natural), -1, dtype=np.int8)
    same: NDArray[np.int8] = (metamers.argmax(dim=1) == natural.argmax(dim=1)).cpu().numpy().astype(np.int8)
    return same
