"""Domains: the signals that a model takes, and the conversion of natural signals to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from .errors import MetameryError
from .resampling import centred, cover, resampled_length, resampled_middle
from .signals import picture, sample_rate, waveform

if TYPE_CHECKING:
    from .stimuli import Stimulus

SHORTEST = 0.01
"""Duration in s below which sounds are refused: one period of a low voice; anything shorter is only a click."""


@dataclass(frozen=True)
class ImageDomain:
    """Images ``(B, channels, height, width)``, floating point, in ``[low, high]``.

    `axes` are the spatial dimensions of a signal, counted from the last.
    """

    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 1.0

    kind = "image"
    dims = ("channel", "y", "x")
    axes = (-2, -1)
    quantisation = "8-bit"
    suffix = "png"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one signal, ``(channels, height, width)``."""
        return self.channels, self.height, self.width

    @property
    def middle(self) -> float:
        """The middle of the range: grey."""
        return (self.low + self.high) / 2

    @property
    def empty(self) -> float:
        """The value beyond a signal's edges: black."""
        return self.low

    @property
    def unit(self) -> float:
        """The unit in which sizes of changes are given: the range."""
        return self.high - self.low

    @property
    def starting_noise(self) -> float:
        """Standard deviation of the noise about the middle that a synthesis starts from, by default."""
        return 0.05 * self.unit

    def fit(self, stimulus: Stimulus) -> torch.Tensor:
        """Convert a picture to this domain.

        The picture is scaled, antialiased and bicubic, until it just covers the domain's size, cropped about its
        centre, and its values are mapped from [0, 1] to the domain's range. A greyscale picture is repeated over
        the channels. Values up to 0.01 beyond [0, 1] are clamped.

        Parameters
        ----------
        stimulus
            Stimulus whose signal is ``(C, H, W)`` in [0, 1], floating point; it may be an array or a list.

        Returns
        -------
        torch.Tensor
            ``(channels, height, width)``, float32.

        Raises
        ------
        MetameryError
            The signal is not a picture in [0, 1] (but, for example, 8-bit or normalised), has pixels that are
            NaN or infinite, or has a number of channels that the domain cannot take.
        """
        if stimulus.fitted is not None:
            return stimulus.fitted(self)
        signal = cover(picture(stimulus, self.channels), self.height, self.width).clamp(0, 1)
        scaled: torch.Tensor = self.low + (self.high - self.low) * signal
        return scaled.expand(self.shape).contiguous()

    def quantise(self, signals: torch.Tensor) -> torch.Tensor:
        """Round signals to the 256 levels of an 8-bit picture; the same shape and range."""
        span = self.high - self.low
        return ((signals - self.low) / span * 255).round() / 255 * span + self.low

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the domain in results, besides the signals' shape; `domain_from` reads them."""
        return {"domain": str(self), "domain_kind": self.kind, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"image, {self.channels} × {self.height} × {self.width}, values in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class WaveformDomain:
    """Mono waveforms ``(B, samples)``, floating point, in ``[low, high]``, `sample_rate` in Hz.

    `rms` is the root mean square that natural sounds are set to, in units of full scale; None leaves their level
    as it is. `axes` are the temporal dimensions of a signal, counted from the last.
    """

    samples: int
    sample_rate: int
    low: float = -1.0
    high: float = 1.0
    rms: float | None = 0.1

    kind = "waveform"
    dims = ("time",)
    axes = (-1,)
    quantisation = "16-bit"
    suffix = "wav"

    def __post_init__(self) -> None:
        if self.rms is not None and not 0 < self.rms < math.inf:
            raise MetameryError(f"a domain's rms is {self.rms}, expected a number above 0, or None")

    @property
    def shape(self) -> tuple[int]:
        """Shape of one signal, ``(samples,)``."""
        return (self.samples,)

    @property
    def middle(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    @property
    def empty(self) -> float:
        """The value beyond a signal's edges: silence, or the nearest value in the range."""
        return min(max(0.0, self.low), self.high)

    @property
    def unit(self) -> float:
        """The unit in which sizes of changes are given: full scale, 1."""
        return 1.0

    @property
    def starting_noise(self) -> float:
        """Standard deviation of the noise that a synthesis starts from, by default (Feather et al. 2023, Methods)."""
        return 1e-7

    @property
    def full_scale(self) -> float:
        """The largest magnitude that a natural sound may have: 1, or the domain's own where that is larger."""
        return max(1.0, abs(self.low), abs(self.high))

    def fit(self, stimulus: Stimulus) -> torch.Tensor:
        """Convert a sound to this domain.

        In this order, the sound is resampled and cropped about its centre, its mean is subtracted, its level is set to
        the domain's `rms` (unless that is None), and it is padded with silence on both sides and clamped to the
        domain's range. So the root mean square is that of the sound without its padding. Clamping affects only peaks
        of more than ``high / rms`` times the root mean square, 20 dB by default, and lowers the root mean square of
        such a sound slightly.

        Parameters
        ----------
        stimulus
            Stimulus whose signal is ``(T,)`` at ``stimulus.sample_rate`` Hz, floating point, within full scale.

        Returns
        -------
        torch.Tensor
            ``(samples,)``, float32.

        Raises
        ------
        MetameryError
            The signal is not a mono waveform within full scale (8 times that if the level is set; 16-bit samples are
            refused), or has samples that are NaN or infinite; its sample rate is unknown or not a whole number of Hz;
            it is silent or constant, and its level is to be set; or it is shorter than both 10 ms (`SHORTEST`) and the
            domain.
        """
        if stimulus.fitted is not None:
            return stimulus.fitted(self)
        rate = sample_rate(stimulus, self.sample_rate)
        given = waveform(stimulus, self.full_scale, level_is_set=self.rms is not None)
        length = resampled_length(len(given), rate, self.sample_rate)
        if length < min(self.samples, math.ceil(SHORTEST * self.sample_rate)):
            raise MetameryError(
                f"stimulus '{stimulus.name}' lasts {1000 * len(given) / rate:.3g} ms, "
                f"expected at least {1000 * SHORTEST:g} ms"
            )
        signal = centred(resampled_middle(given, rate, self.sample_rate, self.samples))
        if self.rms is not None:
            own = float(signal.double().square().mean().sqrt())
            if not own:
                part = " in its middle, which is what the model gets" if bool((given != given[0]).any()) else ""
                raise MetameryError(
                    f"stimulus '{stimulus.name}' is silent{part}: its RMS cannot be set to {self.rms:g}"
                )
            signal = (signal.double() * (self.rms / own)).float()
        missing = self.samples - len(signal)
        signal = torch.nn.functional.pad(signal, (missing // 2, missing - missing // 2))
        return signal.clamp(self.low, self.high)

    def quantise(self, signals: torch.Tensor) -> torch.Tensor:
        """Round signals to the 65,535 levels of 16-bit sound that are symmetric about 0; the same shape."""
        full = max(abs(self.low), abs(self.high))
        return (signals / full * 32767).round() / 32767 * full

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the domain in results, besides the signals' shape; `domain_from` reads them."""
        level = {} if self.rms is None else {"rms": self.rms}
        about = {"domain": str(self), "domain_kind": self.kind, "low": self.low, "high": self.high}
        return {**about, "sample_rate": self.sample_rate, **level}

    def __str__(self) -> str:
        seconds = self.samples / self.sample_rate
        size = f"{self.samples} samples ({seconds:g} s at {self.sample_rate} Hz)"
        level = "level as it is" if self.rms is None else f"RMS {self.rms:g}"
        return f"waveform, {size}, values in [{self.low:g}, {self.high:g}], {level}"


Domain = ImageDomain | WaveformDomain


class Bounds(Protocol):
    """What attacks and perturbations need of a domain: the range of its signals, and the value that fills gaps."""

    @property
    def low(self) -> float:
        """The lowest value."""
        ...

    @property
    def high(self) -> float:
        """The highest value."""
        ...

    @property
    def empty(self) -> float:
        """The value that fills the gap a shifted signal leaves."""
        ...


def blank_signal(
    domain: Domain, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Return a constant signal ``(1, …)`` at the middle of the domain's range, to test a network on."""
    return torch.full((1, *domain.shape), domain.middle, dtype=dtype, device=device)


def domain_from(attributes: Mapping[str, Any], sizes: Mapping[str, int]) -> Domain:
    """Return the domain of a model from its results.

    Parameters
    ----------
    attributes
        Attributes of the model's group, see `ImageDomain.attributes`.
    sizes
        Length of each dimension of its signals, by name.

    Raises
    ------
    MetameryError
        The kind of domain is neither image nor waveform, or the attributes are damaged.
    """
    kind = attributes.get("domain_kind")
    if kind not in ("image", "waveform"):
        raise MetameryError(f"a model has domain '{kind}', expected image or waveform")
    try:
        limits = {name: float(attributes[name]) for name in ("low", "high") if name in attributes}
        if kind == "image":
            return ImageDomain(sizes["channel"], sizes["y"], sizes["x"], **limits)
        rms = float(attributes["rms"]) if "rms" in attributes else None
        return WaveformDomain(sizes["time"], int(attributes["sample_rate"]), **limits, rms=rms)
    except (TypeError, ValueError, LookupError, OverflowError):
        raise MetameryError("the results are damaged: the domain of a model cannot be read") from None
