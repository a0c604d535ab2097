"""Transformations: families of changes of a signal, each from no change to a strong one.

They are deterministic; those that add noise take it as an argument, so that all strengths can share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ...framework.checks import number
from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ...framework.errors import MetameryError, unknown
from .levels import amplified, at_level_of, with_noise
from .moves import Move, check_edges, inside, moved, smoothed, sources
from .pitch import pitch_shifted

NOUNS = {"image": "pictures", "waveform": "sounds"}


@dataclass(frozen=True)
class Transformation:
    """A family of changes.

    Parameters
    ----------
    kind
        Kind of signal: ``image`` or ``waveform``.
    unit
        Unit of the strength.
    strengths
        Default strengths, further and further from `identity`.
    identity
        The strength that changes nothing.
    limits
        Lowest and highest strength.
    move
        For one that moves points: the `Move` of a strength. Maps of the signal can be moved alike.
    change
        For any other: a function from signals, strength, domain and noise to signals.
    noisy
        Whether `change` takes noise.
    """

    kind: str
    unit: str
    strengths: tuple[float, ...]
    identity: float = 0.0
    limits: tuple[float, float] = (-math.inf, math.inf)
    move: Callable[[float, Domain], Move] | None = None
    change: Callable[[torch.Tensor, float, Domain, torch.Tensor | None], torch.Tensor] | None = None
    noisy: bool = False


def transform(
    name: str,
    signals: torch.Tensor,
    strength: float,
    domain: Domain,
    *,
    edges: str = "reflect",
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Change signals.

    Parameters
    ----------
    name
        One of `TRANSFORMATIONS`.
    signals
        ``(B, …)`` of the domain.
    strength
        Strength in the transformation's unit.
    edges
        What enters over the edges when a signal moves, one of `EDGES`; ``zero`` is black or silence.
    noise
        Standard normal noise in the signals' shape, for ``noise`` and ``white-noise``.

    Returns
    -------
    torch.Tensor
        ``(B, …)``, inside the domain's range.

    Raises
    ------
    MetameryError
        A name is unknown, the strength is not within the limits, the transformation is for another kind of signal,
        or the noise is missing.
    """
    family = named(name)
    check_edges(edges)
    if family.kind != domain.kind:
        raise MetameryError(f"transformation '{name}' is for {NOUNS[family.kind]}, not for {NOUNS[domain.kind]}")
    if strength == family.identity:
        return signals
    _check_strength(name, family, strength)
    if family.noisy and (noise is None or noise.shape != signals.shape):
        raise MetameryError(f"transformation '{name}' needs noise in the signals' shape, {tuple(signals.shape)}")
    if family.move is not None:
        rows = signals if len(domain.axes) == 2 else signals.unsqueeze(-2)
        changed = moved(rows, family.move(strength, domain), edges=edges, empty=domain.empty).reshape(signals.shape)
    else:
        assert family.change is not None
        changed = family.change(signals, strength, domain, noise)
    return changed.clamp(domain.low, domain.high)


def named(name: str) -> Transformation:
    """Return one of `TRANSFORMATIONS`; raises `MetameryError` for any other name."""
    if name not in TRANSFORMATIONS:
        raise unknown("transformation", name, TRANSFORMATIONS)
    return TRANSFORMATIONS[name]


def check_strengths(name: str, strengths: Sequence[float]) -> None:
    """Raise `MetameryError` unless strengths are within the limits and lead further and further from no change."""
    family = named(name)
    if not isinstance(strengths, Sequence) or isinstance(strengths, str) or not strengths:
        example = list(family.strengths)
        raise MetameryError(f"strengths of '{name}' are {strengths!r}, expected a list of numbers, such as {example}")
    for strength in strengths:
        _check_strength(name, family, strength)
    way = [family.identity, *strengths]
    rises = [after > before for before, after in pairwise(way)]
    falls = [after < before for before, after in pairwise(way)]
    if not all(rises) and not all(falls):
        raise MetameryError(
            f"strengths of '{name}' are {list(strengths)}, expected numbers further and further from "
            f"{family.identity:g}, which changes nothing, to one side"
        )


def through_aperture(signals: torch.Tensor, domain: ImageDomain) -> torch.Tensor:
    """Show pictures ``(B, C, H, W)`` through the largest disc that fits, on the grey of the range's middle."""
    return domain.middle + (signals - domain.middle) * aperture(domain).to(signals)


def aperture(domain: ImageDomain) -> torch.Tensor:
    """How much of each pixel shows through the disc, ``(H, W)`` in [0, 1]; its rim is a cosine, a tenth of the radius.

    A rotation about the middle brings nothing new into the disc.
    """
    y, x = (torch.arange(n, dtype=torch.float64, device="cpu") - (n - 1) / 2 for n in (domain.height, domain.width))
    radius = (min(domain.height, domain.width) - 1) / 2
    within = (1 - torch.sqrt(y[:, None] ** 2 + x**2) / radius) / 0.1
    return (1 - torch.cos(math.pi * within.clamp(0, 1))) / 2


def outside(name: str, strength: float, domain: Domain, *, edges: str, shown: bool = False) -> float:
    """The share of a changed signal, or of what an aperture shows of it, that comes from beyond the edges."""
    family = named(name)
    if family.move is None:
        return 0.0
    size = (1, *domain.shape)[-2:]
    beyond = ~inside(sources(family.move(strength, domain), size), edges)
    weights = (
        aperture(domain)
        if shown and isinstance(domain, ImageDomain)
        else torch.ones(size, dtype=torch.float32, device="cpu")
    )
    return float((beyond * weights).sum() / weights.sum())


def _check_strength(name: str, family: Transformation, strength: float) -> None:
    low, high = family.limits
    number(f"a strength of '{name}'", strength, low, high, unit=f" ({family.unit})")


def _right(strength: float, domain: Domain) -> Move:
    return Move(shift=strength * domain.shape[-1])


def _turn(strength: float, domain: Domain) -> Move:
    return Move(degrees=strength)


def _zoom(strength: float, domain: Domain) -> Move:
    return Move(factor=strength)


def _later(strength: float, domain: Domain) -> Move:
    assert isinstance(domain, WaveformDomain)
    return Move(shift=strength / 1000 * domain.sample_rate)


def _brightness(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    return domain.low + (signals - domain.low) * strength


def _contrast(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    mean = signals.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (signals - mean) * strength


def _blur(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    return smoothed(signals, [strength * min(signals.shape[-2:])] * 2, "reflect")


def _noise(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    assert noise is not None
    return signals + strength * (domain.high - domain.low) * noise


def _gain(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    return amplified(signals, strength)


def _white_noise(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    assert noise is not None
    return with_noise(signals, noise, strength)


def _pitch(signals: torch.Tensor, strength: float, domain: Domain, noise: torch.Tensor | None) -> torch.Tensor:
    assert isinstance(domain, WaveformDomain)
    return at_level_of(pitch_shifted(signals, strength, domain.sample_rate), signals)


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "translation": Transformation(
        "image", "fraction of the width, to the right", (1 / 32, 1 / 16, 1 / 8, 1 / 4), limits=(-1, 1), move=_right
    ),
    "rotation": Transformation(
        "image", "degrees counter-clockwise", (5, 15, 45, 90), limits=(-180, 180), move=_turn
    ),
    "scale": Transformation("image", "factor", (1.1, 1.25, 1.5, 2), 1, (0.05, 20), move=_zoom),
    "brightness": Transformation("image", "factor", (0.8, 0.6, 0.4, 0.2), 1, (0, 100), change=_brightness),
    "contrast": Transformation("image", "factor", (0.8, 0.6, 0.4, 0.2), 1, (0, 100), change=_contrast),
    "blur": Transformation(
        "image",
        "standard deviation, fraction of the shorter side",
        (1 / 128, 1 / 64, 1 / 32, 1 / 16),
        limits=(0, 1),
        change=_blur,
    ),
    "noise": Transformation(
        "image",
        "standard deviation, fraction of the range",
        (0.02, 0.05, 0.1, 0.2),
        limits=(0, 10),
        change=_noise,
        noisy=True,
    ),
    "time-shift": Transformation("waveform", "ms later", (2, 8, 32, 128), move=_later),
    "gain": Transformation("waveform", "dB", (-3, -6, -12, -24), limits=(-120, 120), change=_gain),
    "pitch-shift": Transformation("waveform", "semitones up", (1, 2, 4, 8), limits=(-24, 24), change=_pitch),
    "white-noise": Transformation(
        "waveform",
        "signal-to-noise ratio in dB",
        (30, 20, 10, 0),
        math.inf,
        (-120, 120),
        change=_white_noise,
        noisy=True,
    ),
}  # fmt: skip
"""Every transformation by name.

Brightness multiplies what is above the range's lower end, contrast what deviates from the picture's own mean: below 1
nothing is clipped. ``white-noise`` scales its noise to each sound. With noise, or at another pitch, a sound keeps its
level.
"""
