"""Contrast: metamers against adversarial examples of the same size.

A metamer and an adversarial example are opposites: both change the signal as much, but one preserves a layer's
activation and the other changes the answer (Feather et al. 2023, who show that metamers are not adversarial).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ...framework.checks import whole
from ...framework.context import Context
from ...framework.contract import require_logits
from ...framework.domains import Domain
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.randomness import derived_seed
from ..attacks.balls import draw
from ..attacks.gradient import check_settings, pgd
from ..proof.distances import relative_l2
from ..proof.measures import measured_layers
from ..statistics.proportions import proportion
from ..studies.batches import drawn_seed, running
from ..studies.metamers import MetamerBatch, ModelMetamers, join, metamers_of
from .evaluator import Floats
from .signals import ABOUT, compare_with_natural, describe, measures_of, stretched
from .spectra import check_cutoff, exact

KINDS = ("metamer", "adversarial", "noise")
"""Changes that are compared, along the dimension ``transformation``."""

_DIMS = ("site", "transformation", "stimulus", "seed")
_ABOUT = {
    "confidence": ("softmax probability of the natural signal's class", "1"),
    "size": ("Euclidean length of the change", "1"),
    "largest": ("largest change of a sample", "1"),
}
_FLAGS = {"flag_values": [-1, 0, 1], "flag_meanings": "missing other same"}


def contrast(steps: int = 20, limit: int | None = 50, cutoff: float = 0.5, batch_size: int = 16) -> Evaluator:
    """Build the evaluator: each metamer of a study, with an adversarial example and noise of the same size.

    The size is the Euclidean length of the metamer minus its natural signal. The example is found by PGD in that L2
    ball (Madry et al. 2018), from a random start, with steps of 2.5 size / `steps`, away from the generating model's
    answer to the natural signal; it is then moved along the direction of its change to the size itself, inside the
    domain's range. Noise is Gaussian, moved to the size in the same way. Random numbers depend on the seed and on the
    model, layer, stimulus and seed of the metamer.

    The dimension ``transformation`` is ``metamer``, ``adversarial``, ``noise``. Measured of each change, over ``site,
    …, stimulus, seed``:

    - ``agrees (…, recogniser, …)``: whether a model gives the changed signal the same answer as the natural one, for
      the generator itself and, as transfer, for every other model of the study with the same domain;
    - ``confidence``: the softmax probability that the generator gives its answer to the natural signal;
    - ``distance (…, measured_layer)``: relative L2 of the activations; ``own_distance``: at the metamer's own layer;
    - ``size``, ``largest`` (of any sample), ``psnr_db``, ``ssim`` (pictures), ``slope``, ``energy_above``,
      ``peak_db`` and ``rms_db`` (sounds): as in `character`.

    ``kept (site, transformation)`` is the proportion for which the generator agrees, ``kept_elsewhere`` that of all
    other models' answers, if there are others. The weights of the priors, and the preset, that the study's metamers
    were made with are in the attributes, so that studies with and without them can be compared.

    Cost: about ``steps + 4`` forward and ``steps`` backward passes for each metamer. Activations of `batch_size`
    signals, or of as many as there are seeds, are in memory at once.

    Parameters
    ----------
    steps
        Number of steps of PGD.
    limit
        Number of stimuli, the first ones; None takes all.
    cutoff
        Cut-off of ``energy_above``, as a fraction of the Nyquist frequency.
    batch_size
        Number of signals that are processed at once.

    Raises
    ------
    MetameryError
        An option is out of range; there is no study, or one of its models was not loaded.
    """
    check_settings(steps=steps)
    check_cutoff(cutoff)
    whole("batch_size", batch_size, 1)
    if limit is not None:
        whole("limit", limit, 1)

    def metamers(context: Context) -> list[ModelMetamers]:
        made = metamers_of(context, "contrast", limit)
        for name, model in context.models.items():
            require_logits(name, model)
        return made

    def passes(context: Context) -> Passes:
        made = metamers(context)
        sets = [len(each.stimuli) * len(each.layers) for each in made]  # of the metamers of one stimulus and layer
        changed = [count * len(each.seeds) for count, each in zip(sets, made, strict=True)]
        return Passes(sum(sets) + len(KINDS) * sum(changed), steps * max(changed), batch_size)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        made = metamers(context)
        seed = drawn_seed(context)
        context.progress.start(sum(len(each.layers) for each in made), "contrast")
        with running(context):
            dataset = join([_contrast(each, context, seed, steps, cutoff, batch_size) for each in made], {"agrees": -1})
        dataset = dataset.assign(_kept(dataset))
        dataset.attrs = {
            "title": "Metamers against adversarial examples of the same size",
            "description": "A metamer keeps what its layer makes of a signal; an adversarial example flips the answer.",
            "reading_order": [name for name in ("kept", "kept_elsewhere", "own_distance", "size") if name in dataset],
            "read_first": "The generator keeps its answer to a metamer and changes it for an adversarial example of "
            "the same size; noise of that size is the control.",
            "norm": "l2",
            "steps": steps,
            "cutoff": cutoff,
            **made[0].priors,
        }
        return dataset

    return evaluate


def _contrast(
    made: ModelMetamers, context: Context, seed: int, steps: int, cutoff: float, batch_size: int
) -> xr.Dataset:
    domain = made.domain
    names = list(measured_layers(made.model, made.layers))
    others = {n: m.module for n, m in context.models.items() if n != made.name and m.domain == domain}
    models = list(context.models)
    each = (len(made.layers), len(KINDS), len(made.stimuli), len(made.seeds))
    agrees = np.full((each[0], len(models), *each[1:]), -1, dtype=np.int8)
    distance = np.full((*each, len(names)), np.nan)
    found = {name: np.full(each, np.nan) for name in (*measures_of(domain), *_ABOUT)}

    def run(signals: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Activations by layer, and logits by model."""
        with torch.no_grad(), made.model.tap(names) as tap:
            activations = tap(signals)
            theirs = {name: other(signals) for name, other in others.items()}
        return activations, {made.name: activations["output"], **theirs}

    for layer, layer_name in enumerate(made.layers):
        for batch in made.batches(layer, batch_size):
            if not len(batch.metamers):
                continue
            targets, outputs = run(batch.natural)
            answers = {name: logits.argmax(dim=1)[batch.row] for name, logits in outputs.items()}
            changed = _changed(made, batch, layer_name, answers[made.name], seed, steps)
            for kind, signals in enumerate(changed):
                activations, outputs = run(signals)
                for name, logits in outputs.items():
                    where = (layer, models.index(name), kind, batch.stimulus, batch.seed)
                    agrees[where] = (logits.argmax(dim=1) == answers[name]).cpu().numpy()
                at = (layer, kind, batch.stimulus, batch.seed)
                for column, name in enumerate(names):
                    change = relative_l2(exact(activations[name]), exact(targets[name][batch.row]))
                    distance[(*at, column)] = change.cpu().numpy()
                taken = _measures(batch, signals, domain, cutoff)
                chances = outputs[made.name].softmax(dim=1)
                taken["confidence"] = chances.gather(1, answers[made.name][:, None]).squeeze(1)
                for name, values in taken.items():
                    found[name][at] = values.cpu().numpy()
        context.progress.advance()
    own = np.stack([distance[row, ..., names.index(layer)] for row, layer in enumerate(made.layers)])
    coordinates = {"recogniser": models, "transformation": list(KINDS), "measured_layer": names}
    return xr.Dataset(_variables(found, own, distance, agrees), {**made.coordinates, **coordinates})


def _variables(found: Mapping[str, Floats], own: Floats, distance: Floats, agrees: NDArray[np.int8]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, values in found.items():
        what, units = {**ABOUT, **_ABOUT}[name]
        variables[name] = (_DIMS, values, {"long_name": what, "units": units})
    what = "distance of the activation from the natural signal's, relative to its length"
    variables["own_distance"] = (_DIMS, own, {"long_name": f"{what}, at the metamer's layer", "units": "1"})
    variables["distance"] = ((*_DIMS, "measured_layer"), distance, {"long_name": what, "units": "1"})
    flags = {"long_name": "whether the model's answer is the one it gives the natural signal", "units": "1"} | _FLAGS
    variables["agrees"] = (("site", "recogniser", *_DIMS[1:]), agrees, flags)
    return variables


def _changed(
    made: ModelMetamers, batch: MetamerBatch, layer: str, answers: torch.Tensor, seed: int, steps: int
) -> tuple[torch.Tensor, ...]:
    """The metamers, and an adversarial example and noise of the size of each, as in `KINDS`."""
    natural, domain = batch.paired, made.domain
    size = torch.linalg.vector_norm((batch.metamers - natural).flatten(1), dim=1)

    def own(what: str) -> list[torch.Generator]:
        each = zip(batch.stimulus, batch.seed, strict=True)
        keys = [derived_seed(seed, what, made.name, layer, made.stimuli[at], made.seeds[number]) for at, number in each]
        return [torch.Generator().manual_seed(value) for value in keys]

    example = pgd(made.model, natural, answers, own("pgd"), epsilon=size, norm="l2", steps=steps)
    noise = natural + draw(torch.randn, natural, own("noise"))
    example, noise = (stretched(points, natural, size, domain.low, domain.high) for points in (example, noise))
    return batch.metamers, example, noise


def _measures(batch: MetamerBatch, signals: torch.Tensor, domain: Domain, cutoff: float) -> dict[str, torch.Tensor]:
    change = (signals - batch.paired).flatten(1)
    taken = describe(signals, domain, cutoff) | compare_with_natural(signals, batch.paired, domain)
    return taken | {"size": torch.linalg.vector_norm(change, dim=1), "largest": change.abs().amax(dim=1)}


def _kept(dataset: xr.Dataset) -> dict[str, Any]:
    """How often the generator, and the other models, keep their answers, ``(site, transformation)``."""
    agrees, itself = dataset["agrees"], dataset["model"] == dataset["recogniser"]  # (site, recogniser)
    variables: dict[str, Any] = {}
    for name, which, whose in (
        ("kept", itself, "the generator's answers"),
        ("kept_elsewhere", ~itself, "other models' answers"),
    ):
        if not which.any():
            continue
        taken = agrees.where(which, -1)
        passed, tried = (each.sum(["recogniser", "stimulus", "seed"]).values for each in (taken == 1, taken >= 0))
        what = f"proportion of {whose} that are those to the natural signal"
        variables |= proportion(name, ["site", "transformation"], passed, tried, what)
    return variables
