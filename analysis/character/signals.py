"""What signals are like, compared with the natural ones and with each other: distances, levels, spectra, diversity.

Signals are ``(B, …)`` of a domain; every measure returns ``(B,)`` in float64, a number for each signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.nn import functional as F

from ...framework.domains import Domain, WaveformDomain
from .spectra import energy_above, exact, spectral_slope

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
"""Samples and standard deviation of the Gaussian window of SSIM (Wang et al. 2004, section III.C)."""

LOWEST_HZ = 20.0
"""Lowest frequency of the slope of a sound's spectrum: lower ones are not heard."""

_ROUNDING = 1e-12
"""Share of the mean squared activation below which a mean squared distance between stimuli is treated as 0."""

ABOUT: Mapping[str, tuple[str, str]] = {
    "psnr_db": ("peak signal-to-noise ratio to the natural signal", "dB"),
    "ssim": ("structural similarity to the natural picture", "1"),
    "slope": ("slope of log power over log frequency", "1"),
    "energy_above": ("share of the energy above the cut-off", "1"),
    "peak_db": ("level of the peak, relative to full scale", "dB"),
    "rms_db": ("root mean square level, relative to full scale, as of a square wave", "dB"),
}
"""Each measure's meaning and units, by the names that `describe` and `compare_with_natural` return."""


def measures_of(domain: Domain) -> tuple[str, ...]:
    """Names of the measures that `describe` and `compare_with_natural` return for signals of a domain."""
    other = {"ssim"} if isinstance(domain, WaveformDomain) else {"peak_db", "rms_db"}
    return tuple(name for name in ABOUT if name not in other)


def describe(signals: torch.Tensor, domain: Domain, cutoff: float) -> dict[str, torch.Tensor]:
    """Measure each signal: ``slope`` and ``energy_above``, and for sounds the levels ``peak_db`` and ``rms_db``.

    Parameters
    ----------
    signals
        Signals ``(B, …)`` of the domain.
    domain
        Domain of the signals. Levels of sounds are in dB relative to the larger end of its range; silence has −∞.
    cutoff
        Cut-off as a fraction of the Nyquist frequency, between 0 and 1.
    """
    if not isinstance(domain, WaveformDomain):
        return {"slope": spectral_slope(signals), "energy_above": energy_above(signals, cutoff)}
    full = exact(signals) / max(abs(domain.low), abs(domain.high))
    return {
        "slope": spectral_slope(signals, LOWEST_HZ / domain.sample_rate),
        "energy_above": energy_above(signals, cutoff),
        "peak_db": 20 * full.abs().amax(dim=1).log10(),
        "rms_db": 10 * full.square().mean(dim=1).log10(),
    }


def compare_with_natural(signals: torch.Tensor, natural: torch.Tensor, domain: Domain) -> dict[str, torch.Tensor]:
    """Compare each signal with its natural one: ``psnr_db``, over the domain's range, and for pictures ``ssim``."""
    span = domain.high - domain.low
    ratio = {"psnr_db": psnr(signals, natural, span)}
    return ratio if isinstance(domain, WaveformDomain) else ratio | {"ssim": ssim(signals, natural, span)}


def psnr(signals: torch.Tensor, natural: torch.Tensor, span: float) -> torch.Tensor:
    """Peak signal-to-noise ratio 10·log₁₀(span² / mean squared difference) in dB; infinite for equal signals."""
    error = (exact(signals) - exact(natural)).square().flatten(1).mean(dim=1)
    return 10 * (span**2 / error).log10()


def ssim(pictures: torch.Tensor, natural: torch.Tensor, span: float) -> torch.Tensor:
    """Structural similarity of pictures ``(B, C, H, W)``, in [−1, 1], 1 for equal ones (Wang et al. 2004, eq. 13).

    The mean over the channels, and over all positions at which the window of 11 × 11 is inside the picture; NaN for a
    smaller picture.
    """
    if min(pictures.shape[2:]) < SSIM_WINDOW:
        return exact(pictures).new_full((len(pictures),), math.nan)
    x, y = exact(pictures), exact(natural)
    offset = torch.arange(SSIM_WINDOW, dtype=torch.float64, device=x.device) - SSIM_WINDOW // 2
    taps = (-(offset**2) / (2 * SSIM_SIGMA**2)).exp()
    taps /= taps.sum()

    def local(values: torch.Tensor) -> torch.Tensor:
        planes = values.flatten(0, 1)[:, None]
        blurred = F.conv2d(F.conv2d(planes, taps[None, None, :, None]), taps[None, None, None])
        return blurred.reshape(*values.shape[:2], *blurred.shape[2:])

    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) + local(y * y) - mean_x**2 - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).flatten(1).mean(dim=1)


class Diversity:
    """How far metamers of one stimulus are from each other, relative to metamers of unrelated stimuli.

    Both are root mean squares of Euclidean distances over pairs: of two seeds of one stimulus, and of two stimuli
    whatever their seeds. 0 means that every seed gave the same, 1 that two seeds are as far from each other as
    two stimuli. Mean squares over all pairs are computed from sums, so the memory is that of one activation.
    """

    def __init__(self) -> None:
        self._within: list[torch.Tensor] = []
        self._count = self._pairs = 0  # metamers, and ordered pairs of different stimuli
        self._sum = self._squares = self._own = torch.zeros((), dtype=torch.float64, device="cpu")

    def add(self, activations: torch.Tensor) -> None:
        """Add one stimulus: the activations ``(seeds, …)`` of its metamers; there may be none."""
        rows = exact(activations.flatten(1))
        count = len(rows)
        within = torch.zeros((), dtype=torch.float64, device=rows.device)
        for index in range(count - 1):
            within = within + (rows[index + 1 :] - rows[index]).square().sum()
        self._within.append(within / (count * (count - 1) / 2) if count > 1 else torch.full_like(within, math.nan))
        if count:
            self._pairs += 2 * count * self._count
            self._count += count
            self._sum = self._sum.to(rows) + rows.sum(dim=0)
            self._squares = self._squares.to(rows) + rows.square().sum()
            self._own = self._own.to(rows) + within

    def result(self) -> torch.Tensor:
        """Diversity of each stimulus, in the order in which they were added, ``(stimuli,)``.

        NaN with one seed, and where there is no other stimulus or all metamers are the same.
        """
        within = torch.stack(self._within)
        if not self._pairs:
            return torch.full_like(within, math.nan)
        between = 2 * (self._count * self._squares - self._sum.square().sum() - self._own) / self._pairs
        return torch.where(between > _ROUNDING * self._squares / self._count, (within / between).sqrt(), math.nan)


def stretched(points: torch.Tensor, centre: torch.Tensor, size: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Move points along the line from their centre until they are `size` away from it, inside the range.

    A sample that reaches an end of the range stays there while the others continue. With ``d`` the change, ``r`` the
    room that a sample has in its direction and ``q = r / d`` sorted, ``|min(t d, r)|² = size²`` has a closed solution
    between two of the ``q``.

    Parameters
    ----------
    points, centre
        Points and their centres ``(B, …)``; a centre is inside the range.
    size
        Euclidean distance from the centre, ``(B,)``.

    Returns
    -------
    torch.Tensor
        Moved points ``(B, …)``, of the same dtype; nearer than `size` if the range ends before it, or if a point
        equals its centre.
    """
    middle = exact(centre.flatten(1))
    change = exact(points.flatten(1)) - middle
    way = change.abs()
    room = torch.where(change > 0, high - middle, torch.where(change < 0, middle - low, 0.0))
    ends, order = torch.where(way > 0, room / way, math.inf).sort(dim=1)
    nothing = way.new_zeros(len(way), 1)
    used = torch.cat([nothing, room.gather(1, order).square().cumsum(dim=1)], dim=1)  # (B, n + 1)
    free = torch.cat([way.gather(1, order).square().flip(1).cumsum(dim=1).flip(1), nothing], dim=1)
    reached = torch.where(ends < math.inf, used[:, :-1] + ends.square() * free[:, :-1], math.inf)
    wanted = exact(size)[:, None].square()
    stopped = (reached < wanted).sum(dim=1, keepdim=True)
    share = ((wanted - used.gather(1, stopped)).clamp_min(0) / free.gather(1, stopped).clamp_min(1e-300)).sqrt()
    moved = middle + change.sign() * torch.minimum(share.clamp_max(1e30) * way, room)
    return moved.to(points).clamp(low, high).reshape(points.shape)
