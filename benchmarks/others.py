"""What other networks make of metamers: how many they recognise, and by how much more than of other metamers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from metamery.analysis.recognition.recognise import shown
from metamery.framework import Model, Plugins
from metamery.framework.domains import Domain
from metamery.framework.running import channels_last, frozen
from metamery.framework.stimuli import Stimuli, Stimulus

RESAMPLES = 10_000


def networks(names: Sequence[str], plugins: Plugins) -> dict[str, Model]:
    """Networks by registered name or run folder, named by the last part."""
    return {Path(name).name: plugins.load("model", name) for name in names}


def stimuli_of(name: str, limit: int, plugins: Plugins) -> Stimuli | Sequence[Stimulus]:
    """Stimuli of a folder, or by registered name."""
    if Path(name).is_dir():
        return plugins.load("stimuli", "folder", path=name, limit=limit)
    return plugins.load("stimuli", name, limit=limit)


@torch.no_grad()
def classes(model: Model, domain: Domain, signals: torch.Tensor, device: torch.device) -> np.ndarray:
    """The class that a model gives to signals of a domain, rounded to 8-bit pictures or 16-bit sound; ``(N,)``."""
    fitted, _ = shown(signals.cpu(), domain, model.domain)
    model.module.to(device)
    with frozen(model.module), channels_last(model.module, model.domain):
        return torch.cat([model.module(part.to(device)).argmax(dim=1).cpu() for part in fitted.split(64)]).numpy()


def recognised(
    asked: Mapping[str, Model], domain: Domain, signals: torch.Tensor, natural: torch.Tensor, device: torch.device
) -> np.ndarray:
    """How many of the asked networks give each signal the class that they give its natural signal; ``(N,)``."""
    same = [classes(m, domain, signals, device) == classes(m, domain, natural, device) for m in asked.values()]
    return np.mean(same, axis=0)


def interval(values: np.ndarray, seed: int = 0) -> str:
    """Mean over stimuli, with its 95 % bootstrap interval."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"
