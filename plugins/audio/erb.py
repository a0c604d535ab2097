"""Half-cosine filters on the scale of equivalent rectangular bandwidths (ERB) of the cochlea.

The filters are those of McDermott & Simoncelli (2011, Neuron 71:926), as used by Feather et al. (2023); the scale is
Glasberg & Moore's (1990). Written from these descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, floor, log, pi, sqrt

import torch

from ...framework.errors import MetameryError

_WIDTH_AT_ZERO = 24.7  # Hz
_QUALITY = 9.265


def erb_number(frequency: float) -> float:
    """Return the ERB number of a frequency in Hz.

    >>> round(erb_number(1000), 3)
    15.572
    """
    return _QUALITY * log(1 + frequency / (_WIDTH_AT_ZERO * _QUALITY))


def erb_frequency(number: float) -> float:
    """Return the frequency, in Hz, of an ERB number: the inverse of `erb_number`."""
    return _WIDTH_AT_ZERO * _QUALITY * (exp(number / _QUALITY) - 1)


@dataclass(frozen=True)
class Bands:
    """Filters on the bins of a real signal's spectrum; each is 0 outside a band of neighbouring bins.

    Parameters
    ----------
    centres
        Centre frequencies in Hz; those of low-pass filters may be below 0, as the scale continues there.
    first
        First bin of each band.
    widths
        Number of bins of each band.
    responses
        ``(filters, widest band)``, float64; a filter is padded with zeros after the last bin of its band. The squares
        of all filters at one bin sum to 1.
    """

    centres: tuple[float, ...]
    first: tuple[int, ...]
    widths: tuple[int, ...]
    responses: torch.Tensor


def half_cosine_bands(
    samples: int, sample_rate: int, filters: int, low: float, high: float, oversampling: int
) -> Bands:
    """Design the filters for signals of `samples` samples.

    On the ERB scale the centres are equally spaced, and every filter is half a period of a cosine, from
    `oversampling` spacings below its centre to as many above. ``oversampling · (filters + 1) − 1`` of them have their
    centres between `low` and `high`. On either side follow `oversampling` more, which still reach into that
    range: below it they stay at their maximum from the centre down (low-pass), above it from the centre up
    (high-pass). A filter and the one `oversampling` positions further are cosine and sine where they overlap, so that
    the squares sum to `oversampling`; all filters are divided by its square root.

    Parameters
    ----------
    filters
        Number of filters that would cover the range once.
    low, high
        Range in Hz.

    Raises
    ------
    MetameryError
        A filter contains no bin, since the signals are too short.
    """
    inside = oversampling * (filters + 1) - 1
    spacing = (erb_number(high) - erb_number(low)) / (inside + 1)
    reach = oversampling * spacing
    bin_width = sample_rate / samples  # Hz
    last = samples // 2
    centres, first, bands = [], [], []
    for index in range(inside + 2 * oversampling):
        centre = erb_number(low) + (index + 1 - oversampling) * spacing
        low_pass, high_pass = index < oversampling, index >= inside + oversampling
        begin = 0 if low_pass else max(0, floor(erb_frequency(centre - reach) / bin_width) + 1)
        end = last if high_pass else min(last, ceil(erb_frequency(centre + reach) / bin_width) - 1)
        if begin > end:
            raise MetameryError(
                f"no bin of the spectrum is in the filter at {erb_frequency(centre):.0f} Hz: {samples} samples at "
                f"{sample_rate} Hz are too short for {filters} filters from {low:g} to {high:g} Hz"
            )
        frequency = torch.arange(begin, end + 1, dtype=torch.float64) * bin_width
        number = _QUALITY * torch.log1p(frequency / (_WIDTH_AT_ZERO * _QUALITY))
        away = ((number - centre) / reach).clamp(0 if low_pass else -1, 0 if high_pass else 1)
        centres.append(erb_frequency(centre))
        first.append(begin)
        bands.append(torch.cos(pi / 2 * away) / sqrt(oversampling))
    responses = torch.nn.utils.rnn.pad_sequence(bands, batch_first=True)
    return Bands(tuple(centres), tuple(first), tuple(map(len, bands)), responses)
