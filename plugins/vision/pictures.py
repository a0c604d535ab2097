"""Decoding pictures into signals."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ...framework.errors import MetameryError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Names of picture files end in one of these, in small or capital letters."""

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises on files that are cut off, damaged, no pictures, or far too large."""


def read_picture(path: Path) -> torch.Tensor:
    """Decode a whole picture file, turned upright as its EXIF orientation says.

    Returns
    -------
    torch.Tensor
        As `picture_signal` gives it. Of a film, the first frame.

    Raises
    ------
    MetameryError
        The file cannot be decoded to its end, with the reason.
    """
    try:
        with Image.open(path) as image:
            return picture_signal(ImageOps.exif_transpose(image))
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MetameryError(f"the picture '{path}' cannot be read: {reason}") from error


def picture_signal(image: Image.Image) -> torch.Tensor:
    """Turn a decoded picture into a signal.

    Returns
    -------
    torch.Tensor
        ``(C, H, W)`` float32 in [0, 1]. C is 1 for grey pictures of 1, 8 or 16 bits, 3 for all others (palettes,
        CMYK and YCbCr are converted). Transparency adds a last channel, unless the picture is opaque throughout.

    Raises
    ------
    ValueError
        Its values are 32-bit numbers outside the range that can be told: [0, 65535] for whole numbers, [0, 1] for
        others.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _high_range(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return _scaled(image.convert("L" if grey else "RGB"))
    signal = _scaled(image.convert("LA" if grey else "RGBA"))
    return signal[:-1] if bool((signal[-1] == 1).all()) else signal


def _scaled(image: Image.Image) -> torch.Tensor:
    values = torch.from_numpy(np.array(image))  # (H, W) or (H, W, C), 8 bits
    values = values.unsqueeze(-1) if values.ndim == 2 else values
    return values.permute(2, 0, 1).contiguous().float() / 255


def _high_range(image: Image.Image) -> torch.Tensor:
    full = 1.0 if image.mode == "F" else 65535.0
    values = np.array(image).astype(np.float32)  # (H, W)
    if not (values.min() >= 0 and values.max() <= full):
        raise ValueError(f"its values run from {values.min():g} to {values.max():g}, expected 0 to {full:g}")
    return torch.from_numpy(values / full).unsqueeze(0)
