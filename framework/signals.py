"""Checks of a stimulus's signal as it is given: its numbers, their shape and their range.

Signals on another scale are refused, not converted: 8-bit values, 16-bit samples or normalised pictures are recognised
by their range or type, but only their owner knows how they were scaled.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .errors import MetameryError

if TYPE_CHECKING:
    from .stimuli import Stimulus

MAX_OVERSHOOT = 0.01
"""Distance beyond the range up to which values are clamped: rounding, resampling and lossy coding produce them. 0.01 is
less than three of 255 levels and 0.1 dB. A picture in [−1, 1] or a normalised one exceeds it."""

MAX_LEVEL = 8.0
"""Largest peak, in units of full scale, of sounds whose level is set anyway, such as those of unit variance; samples of
8, 16 or 32 bits exceed it."""

_CHANNELS = (1, 2, 3, 4)  # in files


def picture(stimulus: Stimulus, channels: int) -> torch.Tensor:
    """Return a picture's values, ``(C, H, W)`` float32, where C is 1 or `channels`.

    Raises
    ------
    MetameryError
        The signal is not a picture in [0, 1] with such channels; the message states what was given.
    """
    expected = "a floating-point picture (channels, height, width) with values from 0 to 1"
    signal = _numbers(stimulus, expected, whole=_divide_picture)
    if signal.ndim != 3:
        hint = {
            2: ": add a dimension, signal[None]",
            4: ": make each picture of a batch a stimulus of its own",
        }.get(signal.ndim, "")
        raise MetameryError(
            f"{_named(stimulus)} has shape {tuple(signal.shape)}, expected a picture (channels, height, width){hint}"
        )
    if not signal.numel():
        raise MetameryError(f"{_named(stimulus)} is empty")
    if (given := signal.shape[0]) not in (1, channels):
        hint = ""
        if signal.shape[-1] in (1, 3, channels):
            hint = f": its shape {tuple(signal.shape)} looks like (height, width, channels); permute it"
        elif given in (2, 4):
            hint = ": the last may be transparency; --background white lays pictures of a folder on white"
        raise MetameryError(f"{_named(stimulus)} has {given} channels, the model takes {channels}{hint}")
    low, high = _range(stimulus, signal, "pixels")
    if low < -MAX_OVERSHOOT or high > 1 + MAX_OVERSHOOT:
        values = f"values from {low:.4g} to {high:.4g}"
        raise MetameryError(f"{_named(stimulus)} has {values}, expected 0 to 1: {_rescale_picture(low, high)}")
    return signal


def waveform(stimulus: Stimulus, full: float = 1.0, level_is_set: bool = False) -> torch.Tensor:
    """Return a mono sound's samples, ``(T,)`` float32, within ±`full`, or ± `MAX_LEVEL` times that if its level is set.

    Raises
    ------
    MetameryError
        The signal is not a mono waveform in that range; the message states what was given.
    """
    expected = f"a floating-point waveform (samples,) with values from −{full:g} to {full:g}"
    signal = _numbers(stimulus, expected, whole=_divide_sound)
    if signal.ndim != 1:
        hint = ""
        if signal.ndim == 2 and 1 in signal.shape:
            hint = f": take its only channel, signal{'[0]' if signal.shape[0] == 1 else '[:, 0]'}"
        elif signal.ndim == 2 and min(signal.shape) in _CHANNELS:
            hint = f": take one of its {min(signal.shape)} channels, or their mean"
        raise MetameryError(
            f"{_named(stimulus)} has shape {tuple(signal.shape)}, expected a mono waveform (samples,){hint}"
        )
    if not signal.numel():
        raise MetameryError(f"{_named(stimulus)} is empty")
    low, high = _range(stimulus, signal, "samples")
    if max(-low, high) > full * (MAX_LEVEL if level_is_set else 1 + MAX_OVERSHOOT):
        raise MetameryError(
            f"{_named(stimulus)} has values from {low:.4g} to {high:.4g}, expected −{full:g} to {full:g}: "
            f"{_rescale_sound(low, high, full)}"
        )
    return signal


def sample_rate(stimulus: Stimulus, wanted: int) -> int:
    """Return a sound's sample rate in Hz.

    Raises
    ------
    MetameryError
        It is missing, or not a whole number above 0.
    """
    rate = stimulus.sample_rate
    if rate is None:
        what = " is a picture: it" if getattr(stimulus.signal, "ndim", None) == 3 else ""
        raise MetameryError(f"{_named(stimulus)}{what} has no sample rate, the model takes {wanted} Hz")
    is_number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not is_number or not math.isfinite(rate) or rate != int(rate) or rate < 1:
        raise MetameryError(f"{_named(stimulus)} has sample rate {rate!r}, expected a whole number of Hz above 0")
    return int(rate)


def _named(stimulus: Stimulus) -> str:
    return f"stimulus '{stimulus.name}'"


def _numbers(stimulus: Stimulus, expected: str, whole: Any) -> torch.Tensor:
    """Return the signal as float32 on the CPU; `whole` returns the advice on a signal of integers."""
    given: Any = stimulus.signal
    if type(given).__module__.partition(".")[0] == "PIL":
        raise MetameryError(
            f"{_named(stimulus)} is a PIL image, expected {expected}: "
            "torchvision.transforms.functional.to_tensor(image) makes one"
        )
    if np.ma.is_masked(given):
        raise MetameryError(f"{_named(stimulus)} has masked values, expected {expected}: fill them")
    try:
        values = _plain(given) if isinstance(given, torch.Tensor) else np.asarray(given)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        raise MetameryError(f"{_named(stimulus)} is {_article(given)}, expected {expected}") from None
    kind = str(values.dtype).removeprefix("torch.")
    is_floating = values.is_floating_point() if isinstance(values, torch.Tensor) else values.dtype.kind == "f"
    if is_floating or (kind == "bool" and whole is _divide_picture):
        if isinstance(values, torch.Tensor):
            return values.to(torch.float32)
        with np.errstate(over="ignore"):  # too large numbers become infinite, and are refused as such
            return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
    if not values.shape or 0 in values.shape or not kind.startswith(("int", "uint")):
        raise MetameryError(f"{_named(stimulus)} is {_article(given)} of type {kind}, expected {expected}")
    low, high = int(values.min()), int(values.max())
    raise MetameryError(
        f"{_named(stimulus)} is of type {kind} with values from {low} to {high}, expected {expected}: "
        f"{whole(kind, low, high)}"
    )


def _plain(given: torch.Tensor) -> torch.Tensor:
    return given.detach().cpu().to_dense().as_subclass(torch.Tensor)


def _article(given: object) -> str:
    name = type(given).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _range(stimulus: Stimulus, signal: torch.Tensor, what: str) -> tuple[float, float]:
    low, high = (float(value) for value in signal.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):  # aminmax returns NaN if any value is NaN
        raise MetameryError(f"{_named(stimulus)} has {what} that are NaN or infinite")
    return low, high


def _divide_picture(kind: str, low: int, high: int) -> str:
    if kind == "uint8" or (low >= 0 and 1 < high <= 255):
        return "divide by 255"
    return "divide by 65535" if low >= 0 and high > 255 else "convert it"


def _rescale_picture(low: float, high: float) -> str:
    if low >= 0 and high > 2:
        return f"divide by {255 if high <= 255 else 65535 if high <= 65535 else f'{high:.4g}'}"
    if low >= -1 - MAX_OVERSHOOT and high <= 1 + MAX_OVERSHOOT:
        return "if their range is −1 to 1, use (signal + 1) / 2"
    if low < -0.5 or high > 1.5:
        return "undo the normalisation (signal * std + mean); the model has its own"
    return "clamp it"


def _divide_sound(kind: str, low: int, high: int) -> str:
    if kind == "uint8":
        return "subtract 128 and divide by 128"
    return f"divide by {2 ** (31 if kind == 'int32' or max(-low, high) > 2**15 else 15)}"


def _rescale_sound(low: float, high: float, full: float) -> str:
    peak = max(-low, high)
    if peak <= MAX_LEVEL * full:
        return f"divide by its peak, {peak:.4g}, or clamp it"
    if low >= 0 and high <= 255:
        return "if these are 8-bit samples, subtract 128 and divide by 128"
    return f"if these are {16 if peak <= 2**15 else 32}-bit samples, divide by {2 ** (15 if peak <= 2**15 else 31)}"
