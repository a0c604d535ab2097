"""A small study with known results, to test evaluators, commands and pages with; public in `testing`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .domains import ImageDomain
from .models import Model
from .running import frozen
from .schema import (
    STATES,
    VERDICTS,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    null_variables,
    stimuli_variables,
    success_variables,
)
from .stimuli import Stimulus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .context import Context

_MODEL = "testing:example_model"
_STIMULI = ("one", "two", "three")


def example_model(seed: int = 0) -> Model:
    """A small convolutional network of 4 classes on 3 × 12 × 12 images, for tests; its weights depend on the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 3),
            torch.nn.ReLU(),
            torch.nn.AvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(150, 4),
        )
    return Model(network.eval(), ImageDomain(3, 12, 12), ["1", "2", "output"], ["a", "b", "c", "d"])


def example_signals(model: Model, count: int = 3, seed: int = 0) -> torch.Tensor:
    """Random signals ``(count, …)`` inside the domain's range, away from its ends."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(count, *model.domain.shape, generator=generator, dtype=torch.float32, device="cpu")
    low, high = model.domain.low, model.domain.high
    return low + (high - low) * (0.25 + 0.5 * drawn)


def example_stimuli(model: Model | None = None, count: int = 3, seed: int = 0) -> list[Stimulus]:
    """`example_signals` as pictures ``s0``, ``s1``, … whose categories are the model's labels in turn.

    The model takes pictures in [0, 1]; it is `example_model` by default.
    """
    model = model or example_model()
    labels = model.labels or ("",)
    return [
        Stimulus(signal, category=labels[index % len(labels)], name=f"s{index}")
        for index, signal in enumerate(example_signals(model, count, seed))
    ]


_MATCH = {"pearson": 0.99, "spearman": 0.98, "snr_db": 20.0, "relative_l2": 0.1}
_NULL = {"pearson": 0.5, "spearman": 0.4, "snr_db": 3.0}


def example_study(folder: Path, model: Model | None = None) -> Path:
    """Write the results of a small study with known results, to test an evaluator or a command with.

    Three natural signals, two seeds and every layer of the model. A metamer is its natural signal plus 0.01 at the
    first layer, plus 0.02 at the second, and so on; its loss is 1, ½ and ¼. At the last layer, the last stimulus's
    first metamer has failed (its signal is the domain's lowest value) and its second is missing. The others have the
    natural signal's class, and a match at every layer (Pearson's r of 0.99) that is above the null's maximum (0.5), so
    that they succeed.

    Parameters
    ----------
    folder
        Folder to write to; created if it is missing.
    model
        Model of the study; `example_model` by default. In the study it is called ``testing:example_model``.

    Returns
    -------
    Path
        The folder, as `open_study` takes it.
    """
    from .store import Group, StudyStore
    from .study import ModelReference, Reference, Study

    model = model or example_model()
    domain, names, layers = model.domain, list(_STIMULI), list(model.layers)
    natural = example_signals(model, len(names))
    with frozen(model.module), torch.no_grad():
        confidence, predicted = (part.numpy() for part in model.module(natural).softmax(dim=1).max(dim=1))

    moved = 0.01 * torch.arange(1, len(layers) + 1).reshape(-1, 1, 1, *[1] * len(domain.shape))
    signal = (natural[:, None] + moved).repeat_interleave(2, dim=2).numpy()  # (layer, stimulus, seed, …)
    state = np.full(signal.shape[:3], STATES["done"], dtype=np.int8)
    state[-1, -1] = STATES["failed"], STATES["missing"]
    signal[state == STATES["failed"]] = domain.low
    signal[state == STATES["missing"]] = np.nan
    done = state == STATES["done"]
    loss = np.where(done[..., None], [1, 0.5, 0.25], np.nan)

    path = f"models/{model_key(_MODEL)}"
    sizes = dict(zip(domain.dims, domain.shape, strict=True))
    each: dict[str, list[Any]] = {"layer": layers, "stimulus": names, "seed": [0, 1]}
    at = {**each, "measured_layer": layers, "metric": list(_MATCH)}
    null: dict[str, list[Any]] = {"layer": layers, "metric": list(_NULL), "quantile": [0.0, 1.0], "bin": [0]}
    attributes = {
        "model": _MODEL,
        "labels": list(model.labels or ()),
        "label_space": model.label_space,
        "weights_sha256": model.weights_sha256(),
        **domain.attributes(),
    }
    chance = {"signals": 3, "pairs": 3, "stimuli": "the study's own"}
    groups = {
        "stimuli": Group(stimuli_variables(), {"stimulus": names}),
        path: Group(attributes=attributes),
        f"{path}/stimuli": Group(fitted_variables(domain.dims), {"stimulus": names}, sizes),
        f"{path}/metamers": Group(metamer_variables(domain.dims), {**each, "step": [0, 1, 2]}, sizes),
        f"{path}/match": Group({**match_variables(), **success_variables()}, at),
        f"{path}/null": Group(null_variables(), null, attributes=chance),
    }
    contents = {
        f"{path}/stimuli": {"signal": natural.numpy(), "predicted": predicted, "confidence": confidence},
        f"{path}/metamers": {"signal": signal, "state": state, "loss": loss, "steps": np.where(done, 2, -1)},
        f"{path}/match": _matching(done, predicted, confidence),
        f"{path}/null": _chance(len(layers)),
    }
    study = Study(models=(ModelReference(_MODEL),), stimuli=Reference("testing:example_stimuli"))
    StudyStore.create(folder, groups, {"study": study.to_toml()}, contents)
    return folder


def _matching(
    done: NDArray[np.bool_], predicted: NDArray[np.int64], confidence: NDArray[np.float32]
) -> Mapping[str, NDArray[Any]]:
    """Return the match of metamers that succeed, before and after quantisation; missing where they are not done."""
    fit = np.where(done[..., None], [*_MATCH.values()], np.nan)  # (layer, stimulus, seed, metric)
    chance = np.array([_NULL.get(name, np.nan) for name in _MATCH])
    variables: dict[str, NDArray[Any]] = {
        "match": np.repeat(fit[:, None], len(done), axis=1),
        "quantised_match": fit,
    }
    for way in ("", "quantised_"):
        verdict = np.where(done, VERDICTS["yes"], VERDICTS["missing"])
        variables |= {
            f"{way}predicted": np.where(done, predicted[:, None], -1),
            f"{way}confidence": np.where(done, confidence[:, None], np.nan),
            f"{way}agrees": np.where(done, 1, -1),
            f"{way}margin": fit - chance,
            f"{way}percentile": np.where(np.isfinite(fit - chance), 100.0, np.nan),
            f"{way}matches": verdict,
            f"{way}success": verdict,
        }
    return variables


def _chance(layers: int) -> Mapping[str, NDArray[Any]]:
    """Return a null of three pairs in one bin, whose maximum is `_NULL` at every layer."""
    most = np.tile([*_NULL.values()], (layers, 1))  # (layer, metric)
    return {
        "maximum": most,
        "first": np.full(most.shape, _STIMULI[0], dtype=object),
        "second": np.full(most.shape, _STIMULI[1], dtype=object),
        "quantiles": np.stack([most - 1, most], axis=-1),
        "histogram": np.full((*most.shape, 1), 3),
        "bin_low": np.full((len(_NULL), 1), -np.inf),
        "bin_high": np.full((len(_NULL), 1), np.inf),
    }


def example_context(study: Path, model: Model | None = None) -> Context:
    """Return an evaluator's context of the study that `example_study` wrote to a folder."""
    from .context import Context
    from .results import open_study

    model = model or example_model()
    signals = example_signals(model, len(_STIMULI))
    stimuli = [Stimulus(signal, name=name) for signal, name in zip(signals, _STIMULI, strict=True)]
    return Context({_MODEL: model}, stimuli, open_study(study))
