"""Spectra: how a signal's power falls with frequency, its share above a cut-off, and what folds in a network.

Frequencies are in cycles per sample, so that 0.5 is the Nyquist frequency; a picture's is radial, whatever its
direction. Signals are multiplied by a Hann window after their mean, weighted by it, is removed: otherwise the step from
the end to the beginning would appear as high frequencies. Activations are small and mostly end in zero padding: they
are transformed without a window.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ...framework.checks import number

NYQUIST = 0.5
BANDS = 4
"""Number of bands per octave over which power is averaged before a slope is fitted, so that octaves count equally."""

_FLAT = 1e-10
"""An activation whose variation has less than this share of its energy is constant up to rounding."""

_POOL = ("input", "kernel_size", "stride", "padding")
_ARGUMENTS: Mapping[str, Sequence[str]] = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "max_pool": (*_POOL, "dilation", "ceil_mode", "return_indices"),
    "avg_pool": (*_POOL, "ceil_mode", "count_include_pad", "divisor_override"),
}


def spectral_slope(signals: torch.Tensor, lowest: float = 0.0) -> torch.Tensor:
    """Slope of log power against log frequency: about 0 for white noise, −2 for natural pictures.

    Power (squared amplitude, averaged over channels) is averaged over bands of a quarter of an octave, of a picture
    over all directions, and a line is fitted by least squares (Field 1987). It ranges from two cycles in the
    shorter side, below which the window leaks the mean, to the Nyquist frequency.

    Parameters
    ----------
    signals
        Pictures ``(B, C, H, W)`` or waveforms ``(B, T)``.
    lowest
        Lowest frequency instead, if that is higher, in cycles per sample.

    Returns
    -------
    torch.Tensor
        ``(B,)``, float64; NaN for a constant, and where there are fewer than two bands.
    """
    power, frequencies, counts = _power(signals)
    first = max(lowest, 2 / min(signals.shape[1:] if signals.ndim == 2 else signals.shape[2:]))
    wanted = (frequencies >= first * (1 - 1e-9)) & (frequencies <= NYQUIST * (1 + 1e-9))
    power, counts, log_frequency = power[:, wanted], counts[wanted], frequencies[wanted].log()
    band = (BANDS * (log_frequency - math.log(first)) / math.log(2) + 1e-6).floor().long()
    _, band = band.unique(return_inverse=True)  # type: ignore[no-untyped-call]  # only bands with a bin
    size = int(band.max()) + 1 if len(band) else 0
    if size < 2:
        return power.new_full((len(power),), math.nan)
    within = counts.new_zeros(size).index_add_(0, band, counts)
    x = counts.new_zeros(size).index_add_(0, band, counts * log_frequency) / within
    y = (power.new_zeros(len(power), size).index_add_(1, band, counts * power) / within).log()
    slope = ((x - x.mean()) * y).sum(dim=1) / (x - x.mean()).square().sum()
    return torch.where(y.isfinite().all(dim=1), slope, math.nan)


def energy_above(signals: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Share of a signal's energy, without that of its mean, at frequencies above a cut-off.

    Parameters
    ----------
    signals
        Pictures ``(B, C, H, W)`` or waveforms ``(B, T)``.
    cutoff
        Cut-off as a fraction of the Nyquist frequency, between 0 and 1.

    Returns
    -------
    torch.Tensor
        ``(B,)``, float64, in [0, 1]; NaN for a constant.
    """
    power, frequencies, counts = _power(signals)
    energy = power * counts
    return energy[:, frequencies > cutoff * NYQUIST].sum(dim=1) / energy.sum(dim=1)


def exact(values: torch.Tensor) -> torch.Tensor:
    """Return the values in float64; on the CPU if the device is Apple's, which lacks it."""
    return values.cpu().double() if values.device.type == "mps" else values.double()


def check_cutoff(cutoff: object) -> None:
    """Raise `MetameryError` unless a cut-off is a number between 0 and 1."""
    number("cutoff", cutoff, above=0, below=1, unit=", as a fraction of the Nyquist frequency")


def folded_share(activations: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Share of an activation's energy that folds to lower frequencies when only every `stride`-th sample is kept.

    That is the energy above the Nyquist frequency of what is kept, ``0.5 / stride``, along any of the axes (the
    sampling theorem; Zhang 2019, Ribeiro & Schön 2021 and Vasconcelos et al. 2021 apply it to networks). The mean of
    each channel cannot fold and is left out, since it would dominate after a ReLU.

    Parameters
    ----------
    activations
        Activations ``(B, C, …)`` at every sample, before samples are left out.
    strides
        Stride of each axis after the channels.

    Returns
    -------
    torch.Tensor
        ``(B,)``, in [0, 1]; 0 for an activation that is constant in each channel.
    """
    axes = tuple(range(-len(strides), 0))
    lengths = activations.shape[-len(strides) :]
    power = torch.fft.rfftn(activations, dim=axes).abs().square_().flatten(1, -len(strides) - 1).sum(dim=1)
    energy = power * _counts(lengths).to(power)
    above = torch.zeros(power.shape[1:], dtype=torch.bool, device="cpu")
    for axis, (length, stride) in enumerate(zip(lengths, strides, strict=True)):
        bins = torch.arange(power.shape[1 + axis], device="cpu")
        cycles = torch.minimum(bins, length - bins)
        above |= (2 * stride * cycles > length).reshape(-1, *[1] * (len(strides) - 1 - axis))
    energy, above = energy.flatten(1), above.flatten().to(energy.device)
    total, varying = energy.sum(dim=1), energy[:, 1:].sum(dim=1)
    return torch.where(varying > _FLAT * total, energy[:, above].sum(dim=1) / varying, 0.0)


class Folding(TorchFunctionMode):
    """Measures `folded_share` wherever a network subsamples while it runs.

    Subsampling is a convolution, or a max or average pooling, with a stride above 1, whether a module or code calls
    it; its result with a stride of 1 is measured, after the filter or the maximum and before samples are left out. A
    blur before subsampling therefore gives a smaller share. A pooling over the entire signal leaves out nothing and
    does not count; adaptive poolings, indices with a step and TorchScript are not detected.

    Use it as a context manager around passes of signals ``(B, …)``; afterwards `shares` holds the last pass: by name,
    ``(B,)`` each. A step is named by the path of the module that calls the function; ``PATH@2`` is the second in one
    pass. A function that the network's own code calls is named by itself, such as ``max_pool2d``.

    The stride of 1 multiplies the cost of the step by the number of samples for each one kept. It is computed signal by
    signal, so it takes the memory of one signal's activation (and twice that for its spectrum).

    Parameters
    ----------
    network
        Network of signals ``(B, …)``; the first dimension of its layers is B or a multiple of it.

    Examples
    --------
    >>> network = nn.Sequential(nn.MaxPool2d(1, stride=2))
    >>> y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    >>> with Folding(network) as folding:
    ...     _ = network(((y + x) % 2)[None, None].float())
    >>> folding.shares
    {'0': tensor([1.])}
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.shares: dict[str, torch.Tensor] = {}
        self._network = network
        self._paths: list[str] = []
        self._counts: Counter[str] = Counter()
        self._batch = 0
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for path, part in self._network.named_modules():
            if not isinstance(part, torch.jit.ScriptModule):
                self._hooks.callback(part.register_forward_pre_hook(self._enter(path)).remove)
                self._hooks.callback(part.register_forward_hook(self._leave).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").removesuffix("_with_indices")
        if self._paths and (names := _ARGUMENTS.get(name[:-2])) and name[-2:] in ("1d", "2d", "3d"):
            given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            self._measure(func, name, given, result[0] if isinstance(result, tuple) else result)
        return result

    def _measure(self, func: Callable[..., Any], name: str, given: dict[str, Any], result: torch.Tensor) -> None:
        axes = int(name[-2])
        strides = _along(given.get("stride") or given.get("kernel_size", 1), axes)
        signals = given["input"]
        if max(strides) == 1 or signals.ndim != axes + 2 or not self._batch or len(signals) % self._batch:
            return
        dense = {**given, "stride": 1} | ({"return_indices": False} if "return_indices" in given else {})
        shares = []
        with torch.no_grad():
            for own in signals.detach().chunk(self._batch):
                made = func(**{**dense, "input": own})
                made = made[0] if isinstance(made, tuple) else made
                if made.shape[2:] == result.shape[2:]:
                    return
                made = made if made.dtype == torch.float64 else made.float()
                shares.append(folded_share(made.flatten(0, 1)[None], strides))
        path = self._paths[-1] or name
        self._counts[path] += 1
        self.shares[path if self._counts[path] == 1 else f"{path}@{self._counts[path]}"] = torch.cat(shares)

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(_part: nn.Module, arguments: tuple[Any, ...]) -> None:
            if not path:  # a new pass; the last may have been interrupted
                self.shares, self._paths = {}, []
                self._counts.clear()
                self._batch = len(arguments[0])
            self._paths.append(path)

        return hook

    def _leave(self, _part: nn.Module, _arguments: Any, _result: Any) -> None:
        self._paths.pop()


def _power(signals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Power ``(B, bins)`` of half a spectrum, frequencies, and the number of bins of the full one for each."""
    axes = (-1,) if signals.ndim == 2 else (-2, -1)
    lengths = [signals.shape[axis] for axis in axes]
    values = exact(signals)
    each = [torch.hann_window(length, dtype=torch.float64, device=values.device) for length in lengths]
    window = reduce(lambda product, one: product[..., None] * one, each)
    values = values - (values * window).sum(dim=axes, keepdim=True) / window.sum()
    power = torch.fft.rfftn(values * window, dim=axes).abs().square()
    power = power if signals.ndim == 2 else power.mean(dim=1)
    squares = [torch.fft.fftfreq(length, dtype=torch.float64).square() for length in lengths[:-1]]
    squares.append(torch.fft.rfftfreq(lengths[-1], dtype=torch.float64).square())
    frequencies = reduce(lambda total, one: total[..., None] + one, squares).sqrt()
    return (
        power.flatten(1),
        frequencies.flatten().to(power.device),
        _counts(lengths).expand_as(frequencies).flatten().to(power),
    )


def _counts(lengths: Sequence[int]) -> torch.Tensor:
    """Number of bins of a real signal's spectrum that each bin of the last axis's half represents, ``(bins,)``."""
    counts = torch.full((lengths[-1] // 2 + 1,), 2.0, dtype=torch.float32, device="cpu")
    counts[0] = 1
    if lengths[-1] % 2 == 0:
        counts[-1] = 1
    return counts


def _along(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)
