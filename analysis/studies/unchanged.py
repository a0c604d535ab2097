"""Whether what a study was made of is still what it was: its networks, and its stimuli."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.stimuli import Stimulus
from ...framework.study import Reference, load_stimuli
from .damage import listed
from .fingerprint import PROBED, fingerprint, first_difference, tolerance

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from ...framework.manager import Plugins
    from .run_study import Part

KEPT = "activations"
"""The attribute of a model's group that holds its fingerprint, as JSON."""

RELATIVE, PEAK = 2e-3, 0.02
"""How far a signal that was read again may lie from what is stored, as a whole and at one sample, relative to the
stored one's norm and largest value: what decoders of other versions differ by is less."""


def kept_activations(model: Model, signals: torch.Tensor, layers: Sequence[str]) -> dict[str, str]:
    """What a study keeps to know its network by: the attribute, or nothing where the network is random."""
    signals = signals[:PROBED]
    once, again = (fingerprint(model, signals, layers) for _ in range(2))
    if first_difference(once, again, tolerance(model.module)) is not None:
        return {}
    return {KEPT: json.dumps({name: [[float(f"{n:.9g}") for n in row] for row in own] for name, own in once.items()})}


def check_models(folder: Path, parts: Sequence[Part], tree: xr.DataTree) -> None:
    """Hold models against what a study keeps of them: weights, domain, labels and activations.

    Raises
    ------
    MetameryError
        One is not the model that the study was made with; the line says in what.
    """
    for part in parts:
        group = tree[f"models/{part.key}"]
        if reason := _other_model(part, dict(group.attrs), group["stimuli"].dataset["signal"]):
            raise MetameryError(
                f"'{folder}' was made with {reason} of model '{part.name}'. "
                "Choose another folder for the model as it is, or bring back what it was"
            )


def check_layers(folder: Path, parts: Sequence[Part], tree: xr.DataTree) -> None:
    """Raise `MetameryError` where a model's own layers, at which a study makes or measures, are others now."""
    for part in parts:
        group = tree[f"models/{part.key}"]
        for name, dim, now in (("metamers", "layer", part.layers), ("match", "measured_layer", part.measured)):
            there = [str(layer) for layer in group[name].dataset[dim].values]
            if there != list(now):
                raise MetameryError(
                    f"'{folder}' was made with other layers of model '{part.name}': {', '.join(there)}; "
                    f"now they are {', '.join(now)}. Choose another folder for the model as it is"
                )


def check_stimuli(
    folder: Path, use: Reference, plugins: Plugins, models: Mapping[str, Model], tree: xr.DataTree, progress: Progress
) -> None:
    """Hold the stimuli that a study names against those that it stored, by name, right answers and signal.

    Where they cannot be read any more the study goes on with what it stored, with a warning.

    Parameters
    ----------
    use
        The stimuli.
    models
        By the key of their groups.

    Raises
    ------
    MetameryError
        Some were added, removed, replaced, or have other right answers now.
    """
    try:
        stimuli = load_stimuli(plugins, use)
        count = len(stimuli)
    except MetameryError as error:
        if _is_there(use):
            raise MetameryError(
                f"the stimuli of '{folder}' are others now: {error}. Choose another folder for them, "
                "or put back what was there"
            ) from error
        warnings.warn(
            f"the stimuli of '{folder}' cannot be read any more ({error}); it goes on with the signals that it stored",
            stacklevel=2,
        )
        return
    names = [str(name) for name in tree["stimuli"].dataset["stimulus"].values]
    places = {name: place for place, name in enumerate(names)}
    answers = right_answers(tree)
    told: dict[str, list[str]] = {"added": [], "removed": [], "replaced": [], "with other right answers": []}
    unreadable: list[str] = []
    seen: set[str] = set()
    progress.start(count, "holding the stimuli against what is stored")
    for index in range(count):
        try:
            stimulus = stimuli[index]
        except MetameryError as error:
            unreadable.append(str(error))
            continue
        finally:
            progress.advance()
        seen.add(stimulus.name)
        if stimulus.name not in places:
            told["added"].append(stimulus.name)
        elif is_replaced(stimulus, places[stimulus.name], models, tree):
            told["replaced"].append(stimulus.name)
        elif stimulus.name in answers and answers[stimulus.name] != stimulus.answers:
            told["with other right answers"].append(stimulus.name)
    gone = [name for name in names if name not in seen]
    if len(gone) > len(unreadable):  # what cannot be read does not say its name
        told["removed"] = gone
    if any(told.values()):
        what = "; ".join(f"{how} {listed(those)}" for how, those in told.items() if those)
        raise MetameryError(
            f"the stimuli of '{folder}' are others now: {what}. Choose another folder for them, "
            "or put back what was there"
        )
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} of the stimuli of '{folder}' cannot be read any more ({unreadable[0]}); "
            "it goes on with the signals that it stored",
            stacklevel=2,
        )


def _is_there(use: Reference) -> bool:
    """Whether stimuli are those of a folder that still holds something."""
    path = use.options.get("path")
    try:
        return isinstance(path, str) and any(Path(path).iterdir())
    except OSError:
        return False


def is_replaced(stimulus: Stimulus, place: int, models: Mapping[str, Model], tree: xr.DataTree) -> bool:
    """Whether a stimulus, read again, is not the one at some place of a study, as any of its models gets it."""
    fitted: dict[Domain, NDArray[np.float32]] = {}
    for key, model in models.items():
        try:
            now = fitted.setdefault(model.domain, model.domain.fit(stimulus).numpy())
        except MetameryError:
            return True
        if not alike(now, tree[f"models/{key}/stimuli"].dataset["signal"][place].values):
            return True
    return False


def alike(one: NDArray[np.float32], stored: NDArray[np.float32]) -> bool:
    """Whether two signals are the same one, decoded perhaps by other versions."""
    if one.shape != stored.shape:
        return False
    apart, size = (values.astype(np.float64) for values in (one - stored, stored))
    small = np.linalg.norm(apart) <= RELATIVE * np.linalg.norm(size)
    return bool(small and np.abs(apart).max() <= PEAK * np.abs(size).max())


def right_answers(tree: xr.DataTree) -> dict[str, dict[str, frozenset[str | int]]]:
    """The right answers to each stimulus of a study, by label space; empty where the study keeps none."""
    stored = json.loads(tree.attrs.get("answers", "{}"))
    return {name: {space: frozenset(right) for space, right in own.items()} for name, own in stored.items()}


def _other_model(part: Part, attributes: Mapping[Any, Any], natural: xr.DataArray) -> str:
    """Say what a study was made with that a model is not; empty where it is the same."""
    model = part.model
    if attributes["weights_sha256"] != part.weights_sha256:
        return "other weights"
    shape = tuple(natural.sizes[dim] for dim in natural.dims if dim != "stimulus")
    now = {name: value for name, value in model.domain.attributes().items() if name != "domain"}
    there = {
        name: attributes[name] for name in ("domain_kind", "low", "high", "sample_rate", "rms") if name in attributes
    }
    if shape != model.domain.shape or now != there:
        return f"another domain ({attributes['domain']}; now {model.domain})"
    for name, own in (("labels", list(model.labels or ())), ("label_space", model.label_space)):
        if name in attributes and (attributes[name] if name == "label_space" else list(attributes[name])) != own:
            return f"other {'labels' if name == 'labels' else 'label space'}"
    if (found := _other_activations(model, attributes, natural)) is not None:
        layer, apart = found
        far = "are not finite" if np.isinf(apart) else f"are {100 * apart:.2g} % of their norm away from these"
        return f"other code (the weights are the same; activations at '{layer}' {far})"
    return ""


def _other_activations(model: Model, attributes: Mapping[str, Any], natural: xr.DataArray) -> tuple[str, float] | None:
    """The first layer at which a network is not the one that a study was made with, and how far it is off."""
    if KEPT not in attributes:
        return None  # an earlier version's study, or a random network
    kept = {name: np.array(rows) for name, rows in json.loads(attributes[KEPT]).items()}
    signals = torch.from_numpy(natural[:PROBED].transpose("stimulus", *model.domain.dims).values)
    return first_difference(kept, fingerprint(model, signals, list(kept)), tolerance(model.module))
