"""The cochleagram: a model of the cochlea's response to a sound, as a differentiable front end for networks.

Feather et al. (2023, Methods), with the filters of McDermott & Simoncelli (2011); `Cochleagram()` has their settings by
default.
"""

from __future__ import annotations

import torch
from torch import nn

from ...framework.errors import MetameryError
from .compression import Compress
from .envelopes import Envelopes
from .erb import half_cosine_bands


class Cochleagram(nn.Module):
    """Cochleagrams ``(B, 1, filters, frames)`` of waveforms ``(B, samples)``; it has no weights.

    1. Half-cosine filters, equally spaced on the ERB scale, multiply the signal's spectrum: see `half_cosine_bands`.
    2. An envelope is the magnitude of the inverse FFT of the half spectrum, *without* the factor 2 of an analytic
       signal: a sine of amplitude A in the middle of a filter of response r gives A · r / 2.
    3. A Kaiser-windowed sinc low-passes it at half the envelope rate, computed only at the frames and without padding.
       It stays within the signal: the first frame is ``5 / envelope_rate`` seconds after the start.
    4. Compression by a power, with a bounded slope: see `Compress`. The lowest value is ``offset ** exponent``.

    With the defaults, 40,000 samples (2 s at 20 kHz) give 211 × 390 values. For white noise of RMS 0.1 their mean is
    0.180 and they are between 0.004 (the lowest value) and about 0.29; a sine of 1 kHz and amplitude √2 · 0.1 has an
    envelope of 0.0354 in the filter nearest to it. The released code centres the sinc half a sample away from the
    middle of its window; here both have the same centre, which changes the values by a thousandth.

    Cost, with the defaults, for each signal on one core: 42 ms forward, 119 ms with the gradient of the signal; 11 and
    30 ms with ``density=8`` (`benchmarks/cochleagram.py`). For the gradient it stores the signals, their spectra and
    the envelopes. It works in pieces of 2 MB on each core, or on one filter of the whole batch where that is more: a
    batch of 4 with gradient takes 24 MB, where full matrices take 1.2 GB.

    At digital silence the gradient is finite: where an envelope is 0, its gradient is 0.

    Parameters
    ----------
    samples
        Length of the signals.
    sample_rate
        Sample rate in Hz.
    filters
        Number of filters that would cover the range once. With `oversampling`, the range has
        ``oversampling · (filters + 1) − 1`` filters, with `oversampling` low-pass filters below and as many high-pass
        filters above.
    low, high
        The range in Hz; `high` up to half the sample rate.
    oversampling
        Factor by which the filters are spaced more closely than to cover the range once.
    envelope_rate
        Frames per second; a divisor of the sample rate.
    exponent, offset, slope_limit
        See `Compress`.
    density
        Number of samples of an envelope that are computed and low-passed for each bin of its band, rounded up to one
        that divides well; fewer are faster. None computes all, as defined. On noise, speech, harmonics and clicks the
        root mean square and the largest differences were, relative to those of the envelopes,

        ======= ========== =========
        density RMS        maximum
        ======= ========== =========
        64      7e-7       3e-5
        32      4e-6       1e-4
        16      2e-5       4e-4
        8       1e-4       1e-3
        4       1e-3       7e-3
        ======= ========== =========

    Raises
    ------
    MetameryError
        A setting is out of its range, or the signals are too short for the filters.
    """

    def __init__(
        self,
        samples: int = 40_000,
        sample_rate: int = 20_000,
        *,
        filters: int = 50,
        low: float = 50.0,
        high: float = 10_000.0,
        oversampling: int = 4,
        envelope_rate: int = 200,
        exponent: float = 0.3,
        offset: float = 1e-8,
        slope_limit: float = 5.0,
        density: int | None = None,
    ) -> None:
        super().__init__()
        if min(samples, sample_rate, filters, oversampling, envelope_rate) < 1:
            raise MetameryError("samples, sample_rate, filters, oversampling and envelope_rate must be at least 1")
        if not 0 <= low < high <= sample_rate / 2:
            raise MetameryError(f"a range of {low:g} to {high:g} Hz, expected one within 0 to {sample_rate / 2:g} Hz")
        if sample_rate % envelope_rate:
            raise MetameryError(f"envelope_rate = {envelope_rate} Hz, expected a divisor of {sample_rate} Hz")
        if exponent <= 0 or offset <= 0 or slope_limit <= 0:
            raise MetameryError(
                f"exponent, offset, slope_limit = {exponent}, {offset}, {slope_limit}, expected numbers above 0"
            )
        if density is not None and density < 2:
            raise MetameryError(f"density = {density!r}, expected None or a whole number from 2")
        bands = half_cosine_bands(samples, sample_rate, filters, low, high, oversampling)
        self.centres = bands.centres
        self.envelopes = Envelopes(bands, samples, sample_rate // envelope_rate, density)
        self.compress = Compress(exponent, offset, slope_limit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one cochleagram, ``(1, filters, frames)``."""
        return 1, len(self.centres), self.envelopes.frames

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if signals.ndim != 2 or signals.shape[1] != self.envelopes.samples:
            raise MetameryError(
                f"signals of shape {tuple(signals.shape)}, the cochleagram takes (B, {self.envelopes.samples})"
            )
        with torch.autocast(signals.device.type, enabled=False):  # half precision cannot hold the spectrum's range
            precise = signals.to(torch.promote_types(signals.dtype, torch.float32))
            compressed: torch.Tensor = self.compress(self.envelopes(precise))
        return compressed[:, None].to(signals.dtype)  # (B, 1, F, frames)

    def extra_repr(self) -> str:
        return f"{self.shape[1]} filters, {self.centres[0]:.0f} to {self.centres[-1]:.0f} Hz, {self.shape[2]} frames"
