"""Scaling of pictures and resampling of sounds, in bounded memory, for the part that is kept.

Ordinary signals are scaled by torchvision and resampled by torchaudio, and then cropped. Where that would take too much
memory for what is cropped, the same kernels are evaluated for the kept part alone, which agrees within rounding.
"""

from __future__ import annotations

import math

import torch

MAX_SCALED = 2**24
"""Number of values of a scaled picture (64 MB) up to which it is scaled before it is cropped. In a domain of
3 × 224 × 224, only pictures that are more than 111 times as long as wide exceed it."""

MAX_KERNEL = 2**24
"""Number of weights of torchaudio's filter bank (about 300 MB while it is made) up to which a sound is resampled by it.
All pairs of the usual sample rates stay far below."""

MAX_SAMPLES = 2**24
"""Number of samples, before or after, up to which a sound is resampled and then cropped: 6 minutes at 44.1 kHz."""

_BLOCK = 2**20  # weights evaluated at once
_ROLLOFF = 0.99  # default of torchaudio's filter

ZEROS = 6
"""Number of zeros of the filter's sinc to each side, torchaudio's default."""


def cover(signal: torch.Tensor, height: int, width: int, most: int = MAX_SCALED) -> torch.Tensor:
    """Scale a picture, antialiased and bicubic, until it just covers a size, and crop it about its centre.

    Parameters
    ----------
    signal
        Picture ``(C, H, W)``, float32.
    height, width
        Size to cover.
    most
        Number of values of the scaled picture up to which it is scaled before it is cropped.

    Returns
    -------
    torch.Tensor
        ``(C, height, width)``.
    """
    from torchvision.transforms.v2 import functional as transforms

    channels, own_height, own_width = signal.shape
    scale = max(height / own_height, width / own_width)
    size = [max(height, round(own_height * scale)), max(width, round(own_width * scale))]
    if channels * size[0] * size[1] > most:
        for axis, kept in enumerate((height, width)):
            if size[axis] > kept:
                signal = _scaled_middle(signal, axis + 1, size[axis], kept)
                size[axis] = kept
    if size != list(signal.shape[1:]):
        signal = transforms.resize(signal, size, interpolation=transforms.InterpolationMode.BICUBIC, antialias=True)
    cropped: torch.Tensor = transforms.center_crop(signal, [height, width])
    return cropped


def _scaled_middle(signal: torch.Tensor, axis: int, whole: int, kept: int) -> torch.Tensor:
    """Scale one axis to a length of `whole` and keep the middle of it, with the weights of ``antialias=True``."""
    ratio = signal.shape[axis] / whole
    widening = max(ratio, 1.0)
    first = round((whole - kept) / 2)
    centres = (torch.arange(first, first + kept, dtype=torch.float64) + 0.5) * ratio  # (kept,)
    start = max(0, math.floor(float(centres[0]) - 2 * widening))
    end = min(signal.shape[axis], math.ceil(float(centres[-1]) + 2 * widening))
    distance = (torch.arange(start, end, dtype=torch.float64) + 0.5 - centres[:, None]).abs() / widening
    near = (1.5 * distance - 2.5) * distance.square() + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))  # (kept, end - start)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(signal.dtype)
    region = signal.narrow(axis, start, end - start).movedim(axis, -1)
    return (region @ weights.T).movedim(-1, axis)


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Return the number of samples that a sound has at another rate."""
    return -(-samples * new_rate // rate)


def resampled_middle(
    signal: torch.Tensor, rate: int, new_rate: int, samples: int, most: int = MAX_SAMPLES, zeros: int = ZEROS
) -> torch.Tensor:
    """Subtract the mean of a sound, resample it, and crop it about its centre.

    Parameters
    ----------
    signal
        Sound ``(T,)``, float32.
    rate, new_rate
        Sample rates in Hz.
    samples
        Largest number of samples to keep, at the new rate.
    most
        Number of samples, before or after, up to which it is resampled before it is cropped.
    zeros
        Number of zeros of the filter's sinc to each side: the more, the steeper the filter below the Nyquist frequency.

    Returns
    -------
    torch.Tensor
        ``(samples,)``, or fewer if the sound is shorter, float32.
    """
    from torchaudio.functional import resample

    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    length = resampled_length(len(signal), rate, new_rate)
    if max(len(signal), length) <= most and (old == new or old * new <= MAX_KERNEL):
        whole: torch.Tensor = resample(centred(signal), rate, new_rate, zeros)  # an offset would ring at the ends
        first = max(0, (len(whole) - samples) // 2)
        return whole[first : first + samples]
    first = max(0, (length - samples) // 2)
    return _sinc(signal, old, new, first, min(length, samples), zeros).float()


def centred(signal: torch.Tensor) -> torch.Tensor:
    """Subtract the mean of a waveform, in double precision, so that a constant becomes exactly 0."""
    exact = signal.double()
    return (exact - exact.mean()).float()


def _sinc(signal: torch.Tensor, old: int, new: int, first: int, count: int, zeros: int) -> torch.Tensor:
    """Return some samples of torchaudio's `resample` of a sound without its mean, in double precision.

    Sample j is at the time ``j / new``, and is the sum over k of ``signal[k] sinc(b t) cos²(b t π / 2 z) b / old``,
    where t is ``k / old − j / new``, b 0.99 times the lower rate and z the number of zeros; the sum goes as far as the
    last of them.
    """
    mean = math.fsum(float(part.double().sum()) for part in torch.split(signal, _BLOCK)) / len(signal)
    if old == new:
        return signal[first : first + count].double() - mean
    bandwidth = _ROLLOFF * min(old, new)
    reach = math.ceil(zeros * old / bandwidth)
    taps = torch.arange(-reach, reach + 2)
    made = torch.empty(count, dtype=torch.float64)
    for part in torch.split(torch.arange(first, first + count), max(1, _BLOCK // len(taps))):
        nearest, rest = part * old // new, part * old % new
        t = (taps * new - rest[:, None]).double() / (old * new) * bandwidth  # (part, taps)
        t.clamp_(-zeros, zeros)
        weights = torch.sinc(t) * torch.cos(t * (math.pi / 2 / zeros)).square() * (bandwidth / old)
        index = nearest[:, None] + taps
        values = signal[index.clamp(0, len(signal) - 1)].double() - mean
        values[(index < 0) | (index >= len(signal))] = 0.0
        made[int(part[0]) - first : int(part[-1]) - first + 1] = (weights * values).sum(dim=1)
    return made
