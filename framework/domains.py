"""Domains: what signals a model takes, and the one place where a natural signal is brought into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .errors import MetameryError

if TYPE_CHECKING:
    from .stimuli import Stimulus


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

        signal = torch.as_tensor(stimulus.signal, dtype=torch.float32)
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
    """Mono waveforms ``(B, samples)``, floating point, in ``[low, high]``, `sample_rate` in Hz."""

    samples: int
    sample_rate: int
    low: float = -1.0
    high: float = 1.0

    kind = "waveform"
    dims = ("time",)
    quantisation = "16-bit"

    @property
    def shape(self) -> tuple[int]:
        """Shape of one signal, ``(samples,)``."""
        return (self.samples,)

    def fit(self, stimulus: Stimulus, rms: float | None = 0.1) -> torch.Tensor:
        """Bring a sound into this domain.

        The sound is resampled, cropped about its centre, freed of its mean, set to `rms` (unless it is None or the
        sound is silent), padded with silence on both sides, and clamped to the domain's range: in this order, so
        that the root mean square is that of the sound without its padding.

        Parameters
        ----------
        stimulus
            Its signal is ``(T,)`` at ``stimulus.sample_rate`` Hz.
        rms
            Root mean square to set, in units of full scale.

        Returns
        -------
        torch.Tensor
            ``(samples,)``, float32.

        Raises
        ------
        MetameryError
            The signal is no mono waveform, or its sample rate is unknown.
        """
        from torchaudio.functional import resample

        signal = torch.as_tensor(stimulus.signal, dtype=torch.float32)
        if signal.ndim != 1:
            raise MetameryError(
                f"stimulus '{stimulus.name}' has shape {tuple(signal.shape)}, expected a mono waveform (samples,)"
            )
        if not signal.numel():
            raise MetameryError(f"stimulus '{stimulus.name}' is empty")
        if stimulus.sample_rate is None:
            raise MetameryError(f"stimulus '{stimulus.name}' has no sample rate, the model takes {self.sample_rate} Hz")
        signal = resample(signal, stimulus.sample_rate, self.sample_rate)
        first = max(0, (len(signal) - self.samples) // 2)
        signal = signal[first : first + self.samples]
        signal = signal - signal.mean()
        if rms is not None and (own := signal.square().mean().sqrt()) > 0:
            signal = signal * (rms / own)
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
        return f"waveform, {size}, values in [{self.low:g}, {self.high:g}]"


Domain = ImageDomain | WaveformDomain
