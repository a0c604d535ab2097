"""The mel spectrogram, an alternative to the cochleagram: that of torchaudio, with a logarithm."""

from __future__ import annotations

import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram

from ...framework.errors import MetameryError


class LogMel(nn.Module):
    """``log(power + offset)`` of mel spectrograms ``(B, 1, bands, frames)`` of waveforms ``(B, samples)``.

    Windows are centred on equally spaced samples, the first and the last on the ends, where the signal is reflected.

    Parameters
    ----------
    samples
        Length of the signals.
    sample_rate
        Sample rate in Hz.
    bands
        Number of triangular filters, equally spaced on the mel scale.
    low, high
        Frequencies in Hz at which the first filter begins and the last one ends; `high` up to half the sample rate.
    frame_rate
        Frames per second; a divisor of the sample rate.
    window
        Length of the Hann window in seconds.
    offset
        Number added to the power before the logarithm, which bounds its slope; noise of RMS 0.1 has powers around 1.

    Raises
    ------
    MetameryError
        A setting is out of its range.
    """

    def __init__(
        self,
        samples: int,
        sample_rate: int,
        *,
        bands: int = 40,
        low: float = 50.0,
        high: float | None = None,
        frame_rate: int = 100,
        window: float = 0.032,
        offset: float = 1e-4,
    ) -> None:
        super().__init__()
        high = sample_rate / 2 if high is None else high
        size = round(window * sample_rate)
        if not 0 <= low < high <= sample_rate / 2:
            raise MetameryError(f"a range of {low:g} to {high:g} Hz, expected one within 0 to {sample_rate / 2:g} Hz")
        if sample_rate % frame_rate:
            raise MetameryError(f"frame_rate = {frame_rate} Hz, expected a divisor of {sample_rate} Hz")
        if not 2 <= size <= samples or offset <= 0:
            raise MetameryError(
                f"a window of {size} samples and an offset of {offset}, "
                f"expected 2 to {samples} samples and an offset above 0"
            )
        self.samples = samples
        self.offset = offset
        self.shape = (1, bands, samples // (sample_rate // frame_rate) + 1)
        self.spectrogram = MelSpectrogram(
            sample_rate, size, hop_length=sample_rate // frame_rate, f_min=low, f_max=high, n_mels=bands
        )

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if signals.ndim != 2 or signals.shape[1] != self.samples:
            raise MetameryError(f"signals of shape {tuple(signals.shape)}, the spectrogram takes (B, {self.samples})")
        with torch.autocast(signals.device.type, enabled=False):
            power: torch.Tensor = self.spectrogram(signals)
        return (power + self.offset).log()[:, None]  # (B, 1, bands, frames)
