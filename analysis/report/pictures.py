"""What the page shows of a signal: a picture, or a sound's spectrogram and cochleagram with a player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ..studies.media import data_uri, jpeg, png, wav
from .sounds import HEIGHT, WIDTH, picture_of_sound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TINY = 96  # pixels: below this a picture is shown enlarged, pixel by pixel, and JPEG's blocks would be visible
_ROOM = 8_000_000  # characters that a model's pictures or sounds take on the page, about
_ROOM_OF_ALL = 24_000_000  # and those of all its models
_QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20)


@dataclass(frozen=True)
class Picture:
    """Addresses of a picture and, for a waveform, of its sound; both contain the data."""

    image: str
    sound: str = ""


def picture(signal: NDArray[np.float32], domain: Domain, size: int) -> Picture:
    """Turn a signal of a domain into what the page shows of it; a JPEG has at most `size` bytes, if possible."""
    if isinstance(domain, WaveformDomain):
        drawn = data_uri(picture_of_sound(signal, domain).encode("ascii"), "image/svg+xml")
        return Picture(drawn, data_uri(wav(signal, domain), "audio/wav"))
    if is_tiny(domain):
        return Picture(data_uri(png(signal, domain), "image/png"))
    content = b""
    for quality in _QUALITIES:
        content = jpeg(signal, domain, quality)
        if len(content) <= size:
            break
    return Picture(data_uri(content, "image/jpeg"))


def room(models: int = 1) -> int:
    """Return how many bytes the pictures or sounds of each of a number of models may take."""
    return min(_ROOM, _ROOM_OF_ALL // max(models, 1)) * 3 // 4  # base64 takes four characters for three bytes


def pictures_that_fit(domain: Domain, size: int) -> int:
    """Return how many signals fit into a number of bytes: sounds are large, and nothing makes them smaller."""
    return size // (2 * domain.samples + 30_000) if isinstance(domain, WaveformDomain) else 2**31


def picture_size(domain: Domain) -> tuple[int, int]:
    """Width and height in pixels of a domain's pictures."""
    return (domain.width, domain.height) if isinstance(domain, ImageDomain) else (WIDTH, HEIGHT)


def is_tiny(domain: Domain) -> bool:
    """Whether a domain's pictures are so small that their pixels should be visible."""
    return isinstance(domain, ImageDomain) and max(domain.width, domain.height) <= _TINY
