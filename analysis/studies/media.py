"""Signals as the bytes of picture and sound files."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy.io import wavfile

from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ...framework.errors import MetameryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def integer_samples(signal: NDArray[np.float32], domain: Domain) -> NDArray[Any]:
    """Return the integers as which a quantised signal is stored.

    A picture ``(C, H, W)`` gives uint8 ``(H, W, C)``, a waveform ``(T,)`` int16;
    rounding is the domain's own.
    """
    quantised = domain.quantise(torch.from_numpy(np.ascontiguousarray(signal))).numpy()
    if isinstance(domain, ImageDomain):
        scaled = (quantised - domain.low) / (domain.high - domain.low) * 255
        return np.rint(scaled).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    full = max(abs(domain.low), abs(domain.high))
    return np.rint(quantised / full * 32767).clip(-32767, 32767).astype(np.int16)


def png(signal: NDArray[np.float32], domain: ImageDomain) -> bytes:
    """Write a picture ``(C, H, W)`` as 8-bit PNG, exact except for quantisation.

    Raises
    ------
    MetameryError
        PNG does not support this number of channels.
    """
    return _file(_image(integer_samples(signal, domain)), "PNG")


def jpeg(signal: NDArray[np.float32], domain: ImageDomain, quality: int = 90) -> bytes:
    """Write a picture ``(C, H, W)`` as JPEG, colour at full resolution; an alpha channel is left out."""
    array = integer_samples(signal, domain)
    return _file(_image(array[..., : 3 if array.shape[2] >= 3 else 1]), "JPEG", quality=quality, subsampling=0)


def wav(signal: NDArray[np.float32], domain: WaveformDomain) -> bytes:
    """Write a waveform ``(T,)`` as 16-bit mono WAV."""
    buffer = io.BytesIO()
    wavfile.write(buffer, domain.sample_rate, integer_samples(signal, domain))
    return buffer.getvalue()


def level(signal: NDArray[np.float32], domain: WaveformDomain) -> tuple[float, float]:
    """Return peak and root mean square of a waveform ``(T,)`` as a 16-bit file holds it, in dBFS.

    Both are relative to full scale, so that a sine of full scale has an RMS of −3.01 dBFS; silence has minus infinity.
    """
    samples = integer_samples(signal, domain) / 32767
    with np.errstate(divide="ignore"):
        peak, rms = 20 * np.log10([np.abs(samples).max(), np.sqrt(np.square(samples).mean())])
    return float(peak), float(rms)


def data_uri(content: bytes, kind: str) -> str:
    """Return the content as a ``data:`` URI; `kind` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _image(array: NDArray[np.uint8]) -> Image.Image:
    channels = array.shape[2]
    if channels not in _MODES:
        raise MetameryError(f"a picture of {channels} channels cannot be shown, expected 1 to 4")
    return Image.fromarray(array[..., 0] if channels == 1 else array)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
