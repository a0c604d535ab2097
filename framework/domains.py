"""Domains: what signals a model takes, and the one place where a natural signal is brought into one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .errors import MetameryError

if TYPE_CHECKING:
    from .stimuli import Stimulus

SHORTEST = 0.01
"""Sounds shorter than this, in s, are refused: one period of a low voice, below which there is nothing but a click."""


@dataclass(frozen=True)
class ImageDomain:
    """Images ``(B, channels, height, width)``, floating point, in ``[low, high]``."""

    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 1.0

    kind = "image"
    dims = ("channel", "y", "x")
    quantisation = "8-bit"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one signal, ``(channels, height, width)``."""
        return self.channels, self.height, self.width

    def fit(self, stimulus: Stimulus) -> torch.Tensor:
        """Bring a picture into this domain.

        The picture is scaled, antialiased and bicubic, until it just covers the domain's size, cropped about its
        centre, and its values are mapped from [0, 1] to the domain's range. A greyscale picture is repeated over
        the channels.

        Parameters
        ----------
        stimulus
            Its signal is ``(C, H, W)`` in [0, 1].

        Returns
        -------
        torch.Tensor
            ``(channels, height, width)``, float32.

        Raises
        ------
        MetameryError
            The signal is no picture, or has a number of channels that the domain cannot take.
        """
        from torchvision.transforms.v2 import functional as transforms

        signal = torch.as_tensor(stimulus.signal, dtype=torch.float32, device="cpu")
        if signal.ndim != 3:
            raise MetameryError(
                f"stimulus '{stimulus.name}' has shape {tuple(signal.shape)}, "
                "expected a picture (channels, height, width)"
            )
        if not signal.numel():
            raise MetameryError(f"stimulus '{stimulus.name}' is empty")
        if signal.shape[0] not in (1, self.channels):
            raise MetameryError(
                f"stimulus '{stimulus.name}' has {signal.shape[0]} channels, the model takes {self.channels}"
            )
        height, width = signal.shape[1:]
        scale = max(self.height / height, self.width / width)
        size = [max(self.height, round(height * scale)), max(self.width, round(width * scale))]
        if size != [height, width]:
            signal = transforms.resize(signal, size, interpolation=transforms.InterpolationMode.BICUBIC, antialias=True)
        signal = transforms.center_crop(signal, [self.height, self.width]).clamp(0, 1)
        scaled: torch.Tensor = self.low + (self.high - self.low) * signal
        return scaled.expand(self.shape).contiguous()

    def quantise(self, signals: torch.Tensor) -> torch.Tensor:
        """Round signals to the 256 levels of an 8-bit picture; the same shape and range."""
        span = self.high - self.low
        return ((signals - self.low) / span * 255).round() / 255 * span + self.low

    def __str__(self) -> str:
        return f"image, {self.channels} × {self.height} × {self.width}, values in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class WaveformDomain:
    """Mono waveforms ``(B, samples)``, floating point, in ``[low, high]``, `sample_rate` in Hz.

    `rms` is the root mean square that natural sounds are set to, in units of full scale; None leaves their level.
    """

    samples: int
    sample_rate: int
    low: float = -1.0
    high: float = 1.0
    rms: float | None = 0.1

    kind = "waveform"
    dims = ("time",)
    quantisation = "16-bit"

    def __post_init__(self) -> None:
        if self.rms is not None and not 0 < self.rms < math.inf:
            raise MetameryError(f"a domain's rms is {self.rms}, expected a number above 0, or None")

    @property
    def shape(self) -> tuple[int]:
        """Shape of one signal, ``(samples,)``."""
        return (self.samples,)

    def fit(self, stimulus: Stimulus) -> torch.Tensor:
        """Bring a sound into this domain.

        The sound is resampled, cropped about its centre, freed of its mean, set to the domain's `rms` (unless that is
        None), padded with silence on both sides, and clamped to the domain's range: in this order, so that the root
        mean square is that of the sound without its padding. Clamping only meets peaks of more than ``high / rms``
        times the root mean square, 20 dB by default; of such a sound the root mean square then is a little less.

        Parameters
        ----------
        stimulus
            Its signal is ``(T,)`` at ``stimulus.sample_rate`` Hz.

        Returns
        -------
        torch.Tensor
            ``(samples,)``, float32.

        Raises
        ------
        MetameryError
            The signal is no mono waveform, has samples that are NaN or infinite, or its sample rate is unknown; it is
            silent where its level is to be set, which takes in a constant; or it is shorter than 10 ms (`SHORTEST`)
            and than the domain.
        """
        from torchaudio.functional import resample

        if stimulus.sample_rate is None:
            what = " is a picture: it" if stimulus.signal.ndim == 3 else ""
            raise MetameryError(
                f"stimulus '{stimulus.name}'{what} has no sample rate, the model takes {self.sample_rate} Hz"
            )
        signal = _waveform(stimulus)
        seconds = len(signal) / stimulus.sample_rate
        whole = resample(_centred(signal), stimulus.sample_rate, self.sample_rate)  # an offset would ring at the ends
        if len(whole) < min(self.samples, math.ceil(SHORTEST * self.sample_rate)):
            raise MetameryError(
                f"stimulus '{stimulus.name}' lasts {1000 * seconds:.3g} ms, expected {1000 * SHORTEST:g} ms at least"
            )
        first = max(0, (len(whole) - self.samples) // 2)
        signal = _centred(whole[first : first + self.samples])
        if self.rms is not None:
            own = float(signal.double().square().mean().sqrt())
            if not own:
                part = " in its middle, which is what the model gets" if bool(whole.any()) else ""
                raise MetameryError(
                    f"stimulus '{stimulus.name}' is silent{part}: its RMS cannot be set to {self.rms:g}"
                )
            signal = (signal.double() * (self.rms / own)).float()
        missing = self.samples - len(signal)
        signal = torch.nn.functional.pad(signal, (missing // 2, missing - missing // 2))
        return signal.clamp(self.low, self.high)

    def quantise(self, signals: torch.Tensor) -> torch.Tensor:
        """Round signals to the 65,535 levels of 16-bit sound that lie symmetrically about 0; the same shape."""
        full = max(abs(self.low), abs(self.high))
        return (signals / full * 32767).round() / 32767 * full

    def __str__(self) -> str:
        seconds = self.samples / self.sample_rate
        size = f"{self.samples} samples ({seconds:g} s at {self.sample_rate} Hz)"
        level = "level as it is" if self.rms is None else f"RMS {self.rms:g}"
        return f"waveform, {size}, values in [{self.low:g}, {self.high:g}], {level}"


Domain = ImageDomain | WaveformDomain


def _waveform(stimulus: Stimulus) -> torch.Tensor:
    signal = torch.as_tensor(stimulus.signal, dtype=torch.float32, device="cpu")
    if signal.ndim != 1:
        raise MetameryError(
            f"stimulus '{stimulus.name}' has shape {tuple(signal.shape)}, expected a mono waveform (samples,)"
        )
    if not signal.numel():
        raise MetameryError(f"stimulus '{stimulus.name}' is empty")
    if not bool(signal.isfinite().all()):
        raise MetameryError(f"stimulus '{stimulus.name}' has samples that are NaN or infinite")
    return signal


def _centred(signal: torch.Tensor) -> torch.Tensor:
    """Take the mean from a waveform; in double precision, so that a constant becomes exactly 0."""
    exact = signal.double()
    return (exact - exact.mean()).float()
