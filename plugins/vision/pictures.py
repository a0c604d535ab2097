"""Decoding pictures into signals."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, features

from ...framework.errors import MetameryError

_OPTIONAL = {"avif": (".avif",), "jpg_2000": (".jp2", ".j2k")}  # read by Pillow if it was built with them
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"),
    *(ending for feature, endings in _OPTIONAL.items() if features.check(feature) for ending in endings),
)
"""Endings of picture files, in small or capital letters."""

Colour = tuple[int, int, int]

_BROKEN = (
    *(OSError, RuntimeError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
"""Errors that Pillow raises for files that are cut off, damaged, not pictures, or far too large."""


def read_picture(path: Path, background: Colour | None = None, content: bytes | None = None) -> torch.Tensor:
    """Decode a complete picture file, or its `content`, rotated according to its EXIF orientation.

    Returns
    -------
    torch.Tensor
        Signal as returned by `picture_signal`; for an animation, that of the first frame.

    Raises
    ------
    MetameryError
        The file cannot be decoded to its end, with the reason.
    """
    with _decoded(path, content) as image:
        return picture_signal(image, background)


def read_pixels(path: Path, content: bytes | None = None) -> torch.Tensor | None:
    """Decode a picture file as `read_picture` does, into the 8 bits that it has; None where it has others.

    Returns
    -------
    torch.Tensor or None
        ``(C, H, W)`` uint8, 255 times the signal that `read_picture` returns, the channels last in memory. None for
        pictures of more bits, and those with transparency.

    Raises
    ------
    MetameryError
        The file cannot be decoded to its end, with the reason.
    """
    with _decoded(path, content) as image:
        if image.mode.startswith("I") or image.mode == "F" or image.has_transparency_data:
            return None
        mode = "L" if image.mode in ("1", "L") else "RGB"
        return _pixels(image if image.mode == mode else image.convert(mode))


@contextmanager
def _decoded(path: Path, content: bytes | None) -> Iterator[Image.Image]:
    try:
        with Image.open(path if content is None else BytesIO(content)) as image:
            _check_size(image, path.stat().st_size if content is None else len(content))
            ImageOps.exif_transpose(image, in_place=True)
            yield image
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MetameryError(f"the picture '{path}' cannot be read: {reason}") from error


def _check_size(image: Image.Image, size: int) -> None:
    """Raise `ValueError` if a JPEG states more pixels than it holds: decoders invent the rest.

    Each 8 × 8 block of its first scan takes at least one bit. In other formats missing pixels are an error anyway.
    """
    if image.format == "JPEG" and image.width * image.height > 8 * 64 * size:
        raise ValueError(f"its header states {image.width} × {image.height} pixels, more than {size} bytes can hold")


def read_colour(name: str) -> Colour:
    """Read a colour's name, or ``#rrggbb``.

    Raises
    ------
    MetameryError
        The text is neither.
    """
    try:
        red, green, blue, *alpha = ImageColor.getrgb(name)
    except (ValueError, AttributeError, TypeError):
        alpha = [0]
    if alpha:
        raise MetameryError(f"background is {name!r}, expected a colour, such as white, grey or #808080")
    return red, green, blue


def is_partly_transparent(signal: torch.Tensor) -> bool:
    """Whether the last channel of a picture's signal is transparency."""
    return signal.shape[0] in (2, 4)


def picture_signal(image: Image.Image, background: Colour | None = None) -> torch.Tensor:
    """Turn a decoded picture into a signal.

    Parameters
    ----------
    image
        The picture.
    background
        Colour behind a partly transparent picture, as red, green and blue of 8 bits each.

    Returns
    -------
    torch.Tensor
        ``(C, H, W)`` float32 in [0, 1]. C is 1 for grey pictures of 1, 8 or 16 bits, 3 for all others (palettes,
        CMYK and YCbCr are converted). Transparency adds a last channel, unless the picture is opaque throughout or a
        background is given.

    Raises
    ------
    ValueError
        Its values are 32-bit numbers outside the supported range: [0, 65535] for whole numbers, [0, 1] for others.
    """
    if image.mode.startswith("I") or image.mode == "F":
        signal = _high_range(image)
        return signal if background is None or len(signal) == 1 else _on_background(signal, background)
    grey = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return _scaled(image.convert("L" if grey else "RGB"))
    signal = _scaled(image.convert("LA" if grey else "RGBA"))
    if bool((signal[-1] == 1).all()):
        return signal[:-1]
    return signal if background is None else _on_background(signal, background)


def _on_background(signal: torch.Tensor, background: Colour) -> torch.Tensor:
    """Blend a partly transparent picture with a colour; the result is grey if both are."""
    colour = torch.tensor(background, dtype=torch.float32)[:, None, None] / 255
    if len(signal) == 2 and len({*background}) == 1:
        colour = colour[:1]
    return torch.lerp(colour.expand(-1, *signal.shape[1:]), signal[:-1], signal[-1:])


def _scaled(image: Image.Image) -> torch.Tensor:
    return _pixels(image).contiguous().float().div_(255)


def _pixels(image: Image.Image) -> torch.Tensor:
    values = torch.from_numpy(np.array(image))  # (H, W) or (H, W, C), 8 bits
    values = values.unsqueeze(-1) if values.ndim == 2 else values
    return values.permute(2, 0, 1)


def _high_range(image: Image.Image) -> torch.Tensor:
    full = 1.0 if image.mode == "F" else 65535.0
    values = np.array(image).astype(np.float32)  # (H, W)
    if not (values.min() >= 0 and values.max() <= full):
        raise ValueError(f"its values range from {values.min():g} to {values.max():g}, expected 0 to {full:g}")
    signal = torch.from_numpy(values / full).unsqueeze(0)
    opaque = torch.from_numpy(values != image.info.get("transparency", -1)).unsqueeze(0)
    return signal if bool(opaque.all()) else torch.cat([signal, opaque.float()])
