"""Signals in the results of evaluators, as pictures or sounds to play."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.domains import Domain, ImageDomain, WaveformDomain
from .lines import item_text
from .pictures import Picture, is_tiny, picture, picture_size, pictures_that_fit, room
from .snippets import at

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

SCALED = "scaled"
"""The value of a variable's attribute ``display`` where only differences count, as of a distortion."""

_MAX = 24
_PLAYED = 0.05  # root mean square at which a scaled sound plays: −26 dB below full scale
_DIMS = {ImageDomain.dims, WaveformDomain.dims}


@dataclass(frozen=True)
class Shown:
    """Signals of one variable."""

    name: str
    title: str
    at: str
    is_scaled: bool
    is_sound: bool
    is_tiny: bool
    size: tuple[int, int]
    count: int  # of all signals of the variable
    pictures: Sequence[tuple[str, Picture]]  # caption, picture


def is_signal(array: xr.DataArray) -> bool:
    """Whether a variable's last dimensions are those of a picture or a sound."""
    return any(array.dims[-len(dims) :] == dims for dims in _DIMS)


def signals(path: str, name: str, array: xr.DataArray, attributes: Mapping[str, Any]) -> Shown | None:
    """Show the first signals of a variable; None where the dataset lacks their range or sample rate.

    Parameters
    ----------
    array
        ``(…, channel, y, x)`` or ``(…, time)``.
    attributes
        Attributes of the dataset: ``low`` and ``high``, and for sounds ``sample_rate`` in Hz.
    """
    domain = _domain(array, attributes)
    if domain is None:
        return None
    dims = [str(dim) for dim in array.dims if dim not in domain.dims]
    count = int(np.prod([array.sizes[dim] for dim in dims]))
    most = min(_MAX, count, pictures_that_fit(domain, room()))
    is_scaled = array.attrs.get("display") == SCALED
    size = room() // max(most, 1)
    drawn = [
        (caption, picture(_scaled(values, domain) if is_scaled else values, domain, size))
        for caption, values in _each(array, dims, most)
        if np.isfinite(values).all()
    ]
    title = str(array.attrs.get("long_name") or name)
    location = at(group=path, variable=name)
    is_sound = isinstance(domain, WaveformDomain)
    return Shown(name, title, location, is_scaled, is_sound, is_tiny(domain), picture_size(domain), count, drawn)


def _domain(array: xr.DataArray, attributes: Mapping[str, Any]) -> Domain | None:
    if not {"low", "high"} <= {*attributes}:
        return None
    low, high = float(attributes["low"]), float(attributes["high"])
    if array.dims[-3:] == ImageDomain.dims:
        channels, height, width = array.shape[-3:]
        return ImageDomain(channels, height, width, low, high)
    rate = attributes.get("sample_rate")
    return None if rate is None else WaveformDomain(array.shape[-1], int(rate), low, high, None)


def _each(array: xr.DataArray, dims: Sequence[str], most: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    items = {dim: array[dim].values.tolist() for dim in dims}
    for indices in list(np.ndindex(*(array.sizes[dim] for dim in dims)))[:most]:
        coordinates = {dim: items[dim][index] for dim, index in zip(dims, indices, strict=True)}
        words = (f"{dim} {item}" if isinstance(item, int) else item_text(item) for dim, item in coordinates.items())
        values = array.isel(dict(zip(dims, indices, strict=True))).values.astype(np.float32)
        yield ", ".join(words), values


def _scaled(values: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
    """Scale about the middle of the range: a picture up to its ends, a sound to a low level."""
    largest = float(np.abs(values).max()) or 1.0
    middle, half = domain.middle, (domain.high - domain.low) / 2
    share = half / largest
    if isinstance(domain, WaveformDomain):
        share = min(share, _PLAYED * half / (float(np.sqrt(np.square(values).mean())) or 1.0))
    return (middle + share * values).astype(np.float32)
