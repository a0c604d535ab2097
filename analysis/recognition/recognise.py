"""Recognition: answers of models to signals that were made for others, and their statistics over stimuli.

The signals are rounded to 8-bit pictures or 16-bit sound, then fitted to each recogniser's own domain; proportions have
bootstrap intervals over stimuli (Feather et al. 2023: "one number for a network and layer").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ...framework.contract import on_device
from ...framework.domains import Domain, WaveformDomain
from ...framework.errors import MetameryError
from ...framework.model_results import ModelResults
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.running import drawing, fast_on_cpu, frozen, ordinary
from ...framework.schema import STATES, site_coordinates
from ...framework.stimuli import Stimulus
from ..statistics.intervals import draws, means, percentiles, with_ends
from .labels import Labels, OwnLabels, answered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Numbered = tuple[int, NDArray[np.float32]]

BATCH_SIZE = 100

_MISSING = {
    "recognised": "the recogniser knows no right answer to these signals",
    "own": "the model was not asked itself, or knows no right answer to these signals",
    "others": "no other model was asked that knows a right answer to these signals",
    "idiosyncrasy": "the model itself and another one have to know right answers to these signals",
}
"""Why a value may be missing."""

NATURAL = "natural"
"""Name, in place of a layer, of the natural signals as fitted to the generator."""


def shown(signals: torch.Tensor, domain: Domain, other: Domain) -> tuple[torch.Tensor, torch.Tensor]:
    """Convert signals of one domain for a model of another.

    They are rounded to 8-bit pictures or 16-bit sound. In the same domain they are then left as they are; to another
    domain they are fitted as natural signals are (`Domain.fit`). Sounds of a domain whose full scale is larger than the
    other's are divided by it first.

    Parameters
    ----------
    signals
        Signals ``(B, …)`` of `domain`.

    Returns
    -------
    (torch.Tensor, torch.Tensor)
        Signals ``(B, …)`` of `other`, and whether each could be converted ``(B,)``: a silent sound cannot be, and is 0
        throughout.

    Raises
    ------
    MetameryError
        One domain is of pictures, the other of sounds; or their channels differ.
    """
    rounded = domain.quantise(signals)
    if other == domain:
        return rounded, torch.ones(len(signals), dtype=torch.bool, device="cpu")
    if other.kind != domain.kind:
        raise MetameryError(f"a model of {other.kind}s cannot recognise {domain.kind}s")
    fitted = torch.zeros(len(signals), *other.shape, dtype=torch.float32, device="cpu")
    converted = torch.ones(len(signals), dtype=torch.bool, device="cpu")
    rate = domain.sample_rate if isinstance(domain, WaveformDomain) else None
    if isinstance(domain, WaveformDomain) and isinstance(other, WaveformDomain):
        unit = rounded if domain.full_scale <= other.full_scale else rounded / domain.full_scale
    else:
        unit = (rounded - domain.low) / (domain.high - domain.low)
    for index, signal in enumerate(unit):
        if rate and not bool(signal.any()):
            converted[index] = False
        else:
            fitted[index] = other.fit(Stimulus(signal, sample_rate=rate, name=str(index)))
    return fitted, converted


@ordinary()
def ask(
    recognisers: Mapping[str, Model],
    generated: Sequence[ModelResults],
    stimuli: Sequence[Stimulus],
    labels: Labels | OwnLabels | None = None,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Ask models what metamers show.

    Held in memory are the signals of one chunk of the store, and a batch in the recogniser.

    Parameters
    ----------
    recognisers
        Models by name; those that are also generators have the same name.
    generated
        Results of each generator.
    stimuli
        Stimuli in the order of the signals, with the right answers.
    labels
        Categories in which models answer; by default each model's own classes.
    device, batch_size, progress
        Device to compute on, number of signals at once, and display of the progress.

    Returns
    -------
    xr.Dataset
        ``correct (site, recogniser, stimulus, seed)``: 1 right, 0 wrong, −1 if there is no signal, or the right answer
        is not known or not among the recogniser's; ``predicted``, indices into ``attrs["answers"]``. A site is a
        generator's layer; its first is ``natural``, the natural signals as fitted to it.

    Raises
    ------
    MetameryError
        A recogniser has no labels, none of its classes has a category, or its domain is of another kind.
    """
    labels = labels or OwnLabels()
    progress = progress or Progress()
    answers = {name: labels.answers(name, model) for name, model in recognisers.items()}
    words = sorted({word for own in answers.values() for word in own if word})
    index_of = {word: index for index, word in enumerate(words)}
    sites = [(made, layer) for made in generated for layer in (NATURAL, *made.layers)]
    seeds = generated[0].seeds
    predicted = np.full((len(sites), len(recognisers), len(stimuli), len(seeds)), -1, np.int32)
    progress.start(len(recognisers) * len(sites), "recognition")
    for column, (name, model) in enumerate(recognisers.items()):
        meaning = np.array([index_of.get(word, -1) for word in answers[name]])
        module = on_device(model, device)
        with frozen(module), fast_on_cpu(module, model.domain), drawing(model, 0):
            for row, (made, layer) in enumerate(sites):
                found = np.full((len(stimuli), 1 if layer == NATURAL else len(seeds)), -1)
                for batch in _batched(_signals(made, layer), batch_size):
                    at = [position for position, _ in batch]
                    signals = torch.from_numpy(np.stack([signal for _, signal in batch]))
                    found.flat[at] = _answers(model, answers[name], signals, made.domain, device)
                predicted[row, column] = np.where(found >= 0, meaning[found], -1)
                progress.advance()
    right = _right_answers(recognisers, stimuli, labels, answers, words)
    dims = ("site", "recogniser", "stimulus", "seed")
    correct = {
        "long_name": "whether the recogniser's answer is right",
        "units": "1",
        "flag_values": [-1, 0, 1],
        "flag_meanings": "missing wrong right",
    }
    answer = {"long_name": "the recogniser's answer, an index into the attribute `answers`", "units": "1"}
    return xr.Dataset(
        {
            "correct": (dims, _judged(predicted, right[None, :, :, None]), correct),
            "predicted": (dims, predicted, answer),
        },
        {
            **site_coordinates([(made.name, layer) for made, layer in sites]),
            "recogniser": list(recognisers),
            "stimulus": [stimulus.name for stimulus in stimuli],
            "seed": seeds,
        },
        {"answers": words},
    )


def summary(
    found: xr.Dataset,
    generator: np.random.Generator,
    resamples: int = 2000,
    judges: Sequence[str] | None = None,
) -> xr.Dataset:
    """Summarise the results of `ask` as proportions, with 95 % percentile intervals of a bootstrap over stimuli.

    All intervals share their resamples; the seeds of a stimulus stay together. A model's *own* recognition is that of
    its metamers by itself; *others* is the mean of all other recognisers; their difference is its *idiosyncrasy*.
    Each is also computed *given right*: on the stimuli whose natural signal the generator gets right, so that networks
    of different accuracy are comparable; NaN without answers of the generator itself.

    Parameters
    ----------
    found
        Results of `ask`.
    generator, resamples
        Random generator and number of resamples of the bootstrap.
    judges
        Recognisers that count as others; by default all.

    Returns
    -------
    xr.Dataset
        ``recognised`` and ``recognised_given_right (site, recogniser)``; ``own``, ``others``, ``idiosyncrasy`` and
        the same ``_given_right (site)``; each with ``_low`` and ``_high``, which are NaN if a single
        stimulus counts; ``counted`` and ``counted_given_right (site)``, the number of stimuli that count.
    """
    recognisers = [str(name) for name in found["recogniser"].values]
    generators = [str(name) for name in found["model"].values]
    columns = np.array([recognisers.index(name) if name in recognisers else -1 for name in generators])
    natural = {name: row for row, name in enumerate(generators) if found["layer"].values[row] == NATURAL}
    rows = np.array([natural[name] for name in generators])
    by_stimulus = _proportions(found["correct"].values)  # (site, recogniser, stimulus)
    stimuli = by_stimulus.shape[-1]
    counts = np.concatenate([np.ones((1, stimuli)), draws(stimuli, resamples, generator)])
    is_right = (by_stimulus[rows, columns] == 1) & (columns >= 0)[:, None]  # (site, stimulus)
    given = np.where(is_right[:, None], by_stimulus, np.nan)
    is_judge = np.isin(recognisers, recognisers if judges is None else list(judges))
    is_other = is_judge & (columns[:, None] != np.arange(len(recognisers)))
    variables: dict[str, Any] = {}

    def put(
        name: str, dims: tuple[str, ...], samples: NDArray[np.float64], counted: NDArray[np.int64], what: str
    ) -> None:
        ends = np.where(counted > 1, percentiles(samples[1:]), np.nan)
        variables.update(with_ends(name, dims, samples[0], ends, what))
        variables[name][2]["missing"] = _MISSING[name.removesuffix("_given_right")]

    for ending, values, whose in (
        ("", by_stimulus, ""),
        ("_given_right", given, ", on stimuli whose natural signal the generator gets right"),
    ):
        shares = means(values, counts)  # (1 + resamples, site, recogniser)
        known = np.isfinite(values)
        by_recogniser = known.sum(axis=-1)
        own, by_itself = (
            np.where(columns >= 0, each[..., np.arange(len(columns)), columns], none)
            for each, none in ((shares, np.nan), (by_recogniser, 0))
        )
        by_others = (known & is_other[..., None]).any(axis=1).sum(axis=-1)
        others = np.where(is_other, shares, np.nan)
        finite = np.isfinite(others)
        mean = np.where(finite, others, 0).sum(axis=-1) / np.where(finite.any(axis=-1), finite.sum(axis=-1), np.nan)
        what, both = "proportion of signals that", np.minimum(by_itself, by_others)
        cells = ("site", "recogniser")
        put(f"recognised{ending}", cells, shares, by_recogniser, f"{what} the recogniser gets right{whose}")
        put(f"own{ending}", ("site",), own, by_itself, f"{what} the generator itself gets right{whose}")
        put(f"others{ending}", ("site",), mean, by_others, f"{what} other models get right{whose}")
        put(f"idiosyncrasy{ending}", ("site",), own - mean, both, f"own less other models' recognition{whose}")
        and_right = ", and whose natural signal the generator gets right" if ending else ""
        about = {"long_name": f"stimuli of which a recogniser knows the right answer{and_right}", "units": "1"}
        variables[f"counted{ending}"] = ("site", known.any(axis=1).sum(axis=-1), about)
    return xr.Dataset(variables, {name: found[name] for name in ("site", "model", "layer", "recogniser")})


def _signals(made: ModelResults, layer: str) -> Iterator[_Numbered]:
    """Read the natural signals, or the metamers of a layer that are done, each with its number, stimulus by stimulus.

    Those that are not finite are left out. Natural signals count as if there were one seed.
    """
    if layer == NATURAL:
        return ((at, signal) for at, signal in enumerate(made.natural_signals()) if signal is not None)
    states = made.metamers["state"].sel(layer=layer).transpose("stimulus", "seed").values.ravel()
    signals = chain.from_iterable(made.metamer_signals(made.layers.index(layer)))
    done = zip(states == STATES["done"], signals, strict=True)
    return ((at, signal) for at, (is_done, signal) in enumerate(done) if is_done and signal is not None)


def _batched(signals: Iterator[_Numbered], batch_size: int) -> Iterator[list[_Numbered]]:
    while batch := list(islice(signals, batch_size)):
        yield batch


def _answers(
    model: Model, answers: Sequence[str], signals: torch.Tensor, domain: Domain, device: str | torch.device
) -> NDArray[np.int64]:
    """The class that a recogniser gives each signal ``(B, …)``; −1 where it cannot be converted."""
    fitted, converted = shown(signals, domain, model.domain)
    with torch.no_grad():
        classes = answered(model.module(fitted.to(device)), answers).cpu()
    return np.where(converted.numpy(), classes.numpy(), -1)


def _right_answers(
    recognisers: Mapping[str, Model],
    stimuli: Sequence[Stimulus],
    labels: Labels | OwnLabels,
    answers: Mapping[str, Sequence[str]],
    words: Sequence[str],
) -> NDArray[np.object_]:
    """Indices of the right answers for each recogniser and stimulus; none where they are not known."""
    index_of = {word: index for index, word in enumerate(words)}
    right = np.empty((len(recognisers), len(stimuli)), dtype=object)
    for row, (name, model) in enumerate(recognisers.items()):
        own = {*answers[name]}
        for column, stimulus in enumerate(stimuli):
            right[row, column] = frozenset(index_of[word] for word in labels.right(stimulus, model) & own)
    return right


def _judged(predicted: NDArray[np.int32], right: NDArray[np.object_]) -> NDArray[np.int8]:
    found = np.full(predicted.shape, -1, np.int8)
    wide = np.broadcast_to(right, predicted.shape)
    for index in zip(*np.nonzero(predicted >= 0), strict=True):
        if answers := wide[index]:
            found[index] = predicted[index] in answers
    return found


def _proportions(correct: NDArray[np.int8]) -> NDArray[np.float64]:
    """Proportion of right answers among the known ones, over the last axis; NaN if there are none."""
    known = correct >= 0
    count = known.sum(axis=-1)
    shares = np.full(count.shape, np.nan)
    np.divide((correct == 1).sum(axis=-1), count, out=shares, where=count > 0)
    return shares
