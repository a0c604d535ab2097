"""The bundled icons, as drawings and as pictures.

They are SVG files of paths alone: ``M``, ``L``, ``C``, ``Q`` and ``Z`` with absolute coordinates, either filled by the
even-odd rule, or stroked with round ends. So few lines draw them here as a browser does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

ICONS = {path.stem: path for path in sorted((Path(__file__).parent / "site" / "icons").glob("*.svg"))}
"""Files of the icons by what they show."""

VIEW = 64
"""Side of the square in which the icons are drawn."""

_OVERSAMPLING = 4
_SEGMENTS = 16  # of each curve
_DARK, _LIGHT = 0x22, 0xFF
_TOKEN = re.compile(r"[MLCQZ]|-?[\d.]+")
_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "Z": 0}


def icon(name: str, height: int, width: int) -> NDArray[np.float32]:
    """Return an icon as a picture ``(height, width)`` in [0, 1], dark on white, in the largest square that fits."""
    side = min(height, width)
    cover = _cover(ICONS[name], _OVERSAMPLING * side).resize((side, side), Image.Resampling.BOX)
    picture = Image.new("L", (width, height), 0)
    picture.paste(cover, ((width - side) // 2, (height - side) // 2))
    return _dark(picture)


def word(text: str, height: int, width: int) -> NDArray[np.float32]:
    """Return a word as a picture ``(height, width)`` in [0, 1], dark on white, as large as fits."""
    size = 100.0
    for _ in range(2):  # the width of a text grows almost in proportion to its size
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(text)
        size *= min(0.9 * width / max(right - left, 1), 0.5 * height / max(bottom - top, 1))
    picture = Image.new("L", (width, height), 0)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, 255, ImageFont.load_default(size), "mm")
    return _dark(picture)


def _dark(cover: Image.Image) -> NDArray[np.float32]:
    share = np.asarray(cover, dtype=np.float32) / 255
    return ((_LIGHT + share * (_DARK - _LIGHT)) / 255).astype(np.float32)


def _cover(path: Path, side: int) -> Image.Image:
    """Draw where an icon is dark, on a square of black."""
    scale, whole = side / VIEW, Image.new("1", (side, side))
    for element in ElementTree.parse(path).getroot():
        lines = [[(x * scale, y * scale) for x, y in line] for line in _lines(element.attrib["d"])]
        own = Image.new("1", (side, side))
        if element.get("fill") == "none":
            _stroke(own, lines, float(element.attrib["stroke-width"]) * scale)
        else:
            for line in lines:
                inside = Image.new("1", (side, side))
                ImageDraw.Draw(inside).polygon(line, fill=1)
                own = ImageChops.logical_xor(own, inside)
        whole = ImageChops.logical_or(whole, own)
    return whole.convert("L")


def _stroke(picture: Image.Image, lines: list[list[tuple[float, float]]], width: float) -> None:
    drawing, radius = ImageDraw.Draw(picture), width / 2
    for line in lines:
        drawing.line(line, 1, round(width))
        for x, y in line:
            drawing.ellipse((x - radius, y - radius, x + radius, y + radius), 1)


def _lines(data: str) -> list[list[tuple[float, float]]]:
    """Return the parts of a path as polylines."""
    tokens, command = _TOKEN.findall(data), ""
    lines: list[list[tuple[float, float]]] = []
    position = 0
    while position < len(tokens):
        if tokens[position] in _POINTS:
            command = tokens[position]
            position += 1
        if command == "Z":
            lines[-1].append(lines[-1][0])
            continue
        numbers = [float(each) for each in tokens[position : position + 2 * _POINTS[command]]]
        position += len(numbers)
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command == "M":
            lines.append(points)
            command = "L"
        else:
            lines[-1] += _curve([lines[-1][-1], *points])
    return lines


def _curve(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points on a Bézier curve after its first, by De Casteljau's algorithm; of a line its end."""
    if len(points) == 2:
        return points[1:]
    made = []
    for t in np.linspace(0, 1, _SEGMENTS + 1)[1:]:
        current = np.array(points)
        while len(current) > 1:
            current = (1 - t) * current[:-1] + t * current[1:]
        made.append((float(current[0, 0]), float(current[0, 1])))
    return made
