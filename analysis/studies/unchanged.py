"""Whether the networks and the stimuli that a study was made from are unchanged."""

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
from ...framework.remote import Folder
from ...framework.stimuli import Stimulus
from ...framework.study import Reference, load_stimuli
from .damage import listed
from .fingerprint import PROBED, fingerprint, first_difference, tolerance

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from ...framework.manager import Plugins
    from .parts import Part

KEPT = "activations"
"""The attribute of a model's group that holds its fingerprint, as JSON."""

RELATIVE, PEAK = 2e-3, 0.02
"""Largest difference of a signal that is read again from the stored one, in norm and at a single sample, relative to
the stored one's norm and largest value. Versions of decoders differ by less."""


def kept_activations(model: Model, signals: torch.Tensor, layers: Sequence[str]) -> dict[str, str]:
    """Return the attribute by which a study recognises its network, or nothing if the network is random."""
    signals = signals[:PROBED]
    once, again = (fingerprint(model, signals, layers) for _ in range(2))
    if first_difference(once, again, tolerance(model.module)) is not None:
        return {}
    return {KEPT: json.dumps({name: [[float(f"{n:.9g}") for n in row] for row in own] for name, own in once.items()})}


def check_models(folder: Folder, parts: Sequence[Part], tree: xr.DataTree) -> None:
    """Compare models with what a study stores of them: weights, domain, labels and activations.

    Raises
    ------
    MetameryError
        A model differs from the one that the study was made with; the message says how.
    """
    for part in parts:
        group = tree[f"models/{part.key}"]
        if reason := _other_model(part, dict(group.attrs), group["stimuli"].dataset["signal"]):
            raise MetameryError(
                f"'{folder}' was made with {reason} of model '{part.name}'. Choose another folder, or restore the model"
            )


def check_layers(folder: Folder, parts: Sequence[Part], tree: xr.DataTree) -> None:
    """Raise `MetameryError` if the layers at which a study makes or measures metamers have changed."""
    for part in parts:
        group = tree[f"models/{part.key}"]
        for name, dim, now in (("metamers", "layer", part.layers), ("match", "measured_layer", part.measured)):
            stored = [str(layer) for layer in group[name].dataset[dim].values]
            if stored != list(now):
                raise MetameryError(
                    f"'{folder}' was made with other layers of model '{part.name}': {', '.join(stored)}; "
                    f"now they are {', '.join(now)}. Choose another folder"
                )


def check_stimuli(
    folder: Folder, use: Reference, plugins: Plugins, models: Mapping[str, Model], tree: xr.DataTree, progress: Progress
) -> None:
    """Compare the stimuli that a study names with those that it stored, by name, right answers and signal.

    If they can no longer be read, the study continues with the stored signals, with a warning.

    Parameters
    ----------
    use
        Reference to the stimuli.
    models
        Models by the key of their groups.

    Raises
    ------
    MetameryError
        Stimuli were added, removed or replaced, or their right answers have changed.
    """
    try:
        stimuli = load_stimuli(plugins, use)
        count = len(stimuli)
    except MetameryError as error:
        if _has_files(use):
            raise MetameryError(
                f"the stimuli of '{folder}' have changed: {error}. Choose another folder for them, "
                "or restore the old ones"
            ) from error
        warnings.warn(
            f"the stimuli of '{folder}' can no longer be read ({error}); the stored signals are used",
            stacklevel=2,
        )
        return
    names = [str(name) for name in tree["stimuli"].dataset["stimulus"].values]
    indices = {name: index for index, name in enumerate(names)}
    answers = right_answers(tree)
    changes: dict[str, list[str]] = {"added": [], "removed": [], "replaced": [], "with other right answers": []}
    unreadable: list[str] = []
    seen: set[str] = set()
    progress.start(count, "comparing the stimuli with the stored ones")
    for index in range(count):
        try:
            stimulus = stimuli[index]
        except MetameryError as error:
            unreadable.append(str(error))
            continue
        finally:
            progress.advance()
        seen.add(stimulus.name)
        if stimulus.name not in indices:
            changes["added"].append(stimulus.name)
        elif is_replaced(stimulus, indices[stimulus.name], models, tree):
            changes["replaced"].append(stimulus.name)
        elif stimulus.name in answers and _differ(answers[stimulus.name], stimulus.answers):
            changes["with other right answers"].append(stimulus.name)
    gone = [name for name in names if name not in seen]
    if len(gone) > len(unreadable):  # the name of an unreadable stimulus is not known
        changes["removed"] = gone
    if any(changes.values()):
        what = "; ".join(f"{how} {listed(those)}" for how, those in changes.items() if those)
        raise MetameryError(
            f"the stimuli of '{folder}' have changed: {what}. Choose another folder for them, or restore the old ones"
        )
    if unreadable:
        warnings.warn(
            f"{len(unreadable)} of the stimuli of '{folder}' can no longer be read ({unreadable[0]}); "
            "the stored signals are used",
            stacklevel=2,
        )


def _has_files(use: Reference) -> bool:
    """Whether stimuli are those of a folder that is not empty."""
    path = use.options.get("path")
    try:
        return isinstance(path, str) and any(Path(path).iterdir())
    except OSError:
        return False


def is_replaced(stimulus: Stimulus, index: int, models: Mapping[str, Model], tree: xr.DataTree) -> bool:
    """Whether a stimulus, read again, differs from the stored one at an index, as fitted to any of the models."""
    fitted: dict[Domain, NDArray[np.float32]] = {}
    for key, model in models.items():
        try:
            now = fitted.setdefault(model.domain, model.domain.fit(stimulus).numpy())
        except MetameryError:
            return True
        if not alike(now, tree[f"models/{key}/stimuli"].dataset["signal"][index].values):
            return True
    return False


def alike(one: NDArray[np.float32], stored: NDArray[np.float32]) -> bool:
    """Whether two signals are the same up to differences between decoders."""
    if one.shape != stored.shape:
        return False
    apart, size = (values.astype(np.float64) for values in (one - stored, stored))
    small = np.linalg.norm(apart) <= RELATIVE * np.linalg.norm(size)
    return bool(small and np.abs(apart).max() <= PEAK * np.abs(size).max())


def _differ(stored: Mapping[str, frozenset[str | int]], found: Mapping[str, frozenset[str | int]]) -> bool:
    """Whether right answers differ from the stored ones; a label space that was not known before is no difference."""
    return any(found.get(space) != right for space, right in stored.items())


def right_answers(tree: xr.DataTree) -> dict[str, dict[str, frozenset[str | int]]]:
    """The right answers to each stimulus of a study, by label space; empty if the study stores none."""
    stored = json.loads(tree.attrs.get("answers", "{}"))
    return {name: {space: frozenset(right) for space, right in own.items()} for name, own in stored.items()}


def _other_model(part: Part, attributes: Mapping[Any, Any], natural: xr.DataArray) -> str:
    """Describe what a study was made with in which its model differs from this one; empty if nothing."""
    model = part.model
    if attributes["weights_sha256"] != part.weights_sha256:
        return "other weights"
    shape = tuple(natural.sizes[dim] for dim in natural.dims if dim != "stimulus")
    now = {name: value for name, value in model.domain.attributes().items() if name != "domain"}
    stored = {
        name: attributes[name] for name in ("domain_kind", "low", "high", "sample_rate", "rms") if name in attributes
    }
    if shape != model.domain.shape or now != stored:
        return f"another domain ({attributes['domain']}; now {model.domain})"
    for name, own in (("labels", list(model.labels or ())), ("label_space", model.label_space)):
        if name in attributes and (attributes[name] if name == "label_space" else list(attributes[name])) != own:
            return f"other {'labels' if name == 'labels' else 'label space'}"
    if (found := _other_activations(model, attributes, natural)) is not None:
        layer, apart = found
        far = "are not finite" if np.isinf(apart) else f"differ from these by {100 * apart:.2g} % of their norm"
        return f"other code (the weights are the same; activations at '{layer}' {far})"
    return ""


def _other_activations(model: Model, attributes: Mapping[str, Any], natural: xr.DataArray) -> tuple[str, float] | None:
    """Return the first layer at which a network differs from the study's, and by how much; None if there is none."""
    if KEPT not in attributes:
        return None  # an earlier version's study, or a random network
    kept = {name: np.array(rows) for name, rows in json.loads(attributes[KEPT]).items()}
    signals = torch.from_numpy(natural[:PROBED].transpose("stimulus", *model.domain.dims).values)
    return first_difference(kept, fingerprint(model, signals, list(kept)), tolerance(model.module))
