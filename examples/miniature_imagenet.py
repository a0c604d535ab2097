"""A miniature of ImageNet, drawn: trained with ImageNet's recipe at 64 pixels, by the same way from files to a report.

Each class is a shape with a pattern, such as striped stars: up to 60 of them. Pictures are JPEGs of different sizes and
proportions, with one shape of a random colour, place, size and turn on a ground of other colours with clutter; what
is drawn depends on the seed, the split, the class and the number of the picture alone. The training is that of
``metamery train imagenet-adversarial-linf``: random resized crops of the pictures as they were read, in worker
processes, colour jitter, seven steps of PGD within Linf 4/255, and PGD-10 after each epoch. Printed are the accuracy on
natural and on attacked pictures, and pictures a second.

    python examples/miniature_imagenet.py FOLDER                                50 classes of 60 pictures, 10 epochs
    python examples/miniature_imagenet.py FOLDER --each 20 --epochs 2 --width 8     a few minutes on a slow core
    python examples/miniature_imagenet.py FOLDER --each 200 --epochs 24 --width 16  an hour: .81, attacked .66 (docs)
    python examples/miniature_imagenet.py FOLDER --model torchvision/resnet18 --device cuda --each 500 --epochs 90
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import subprocess
import sys
from pathlib import Path
from statistics import mean, median

from metamery.framework import open_study
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("disc", "ring", "bar", "triangle", "square", "pentagon", "star", "cross", "crescent", "drop", "wave", "arrow")
PATTERNS = ("plain", "striped", "dotted", "chequered", "ringed")
CLASSES = [f"{pattern}-{shape}" for pattern in PATTERNS for shape in SHAPES]
SIDES = 72, 240
"""Shortest and longest side of a picture, in pixels."""

Colour = tuple[int, int, int]


def draw(folder: Path, classes: int, each: int, seed: int) -> None:
    """Draw the training and the validation pictures, a sixth as many, that are not there yet."""
    for split, count in (("train", each), ("val", max(each // 6, 2))):
        for name in CLASSES[:classes]:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                file = folder / split / name / f"{number:04d}.jpg"
                if not file.exists():
                    draws = random.Random(f"{seed} {split} {name} {number}")
                    picture(name, draws).save(file, quality=draws.randint(60, 95))


def picture(name: str, draws: random.Random) -> Image.Image:
    """Draw one picture of a class, with sides of 72 to 240 pixels."""
    pattern, _, shape = name.partition("-")
    width, height = draws.randint(*SIDES), draws.randint(*SIDES)
    ground, first, second = _colours(draws)
    canvas = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(canvas)
    for _ in range(draws.randint(4, 10)):  # clutter
        x, y = draws.randrange(width), draws.randrange(height)
        end = x + draws.randint(-60, 60), y + draws.randint(-60, 60)
        pen.line([(x, y), end], fill=_near(ground, draws), width=draws.randint(2, 14))
    canvas = canvas.filter(ImageFilter.GaussianBlur(draws.uniform(0, 2)))
    size = int(min(width, height) * draws.uniform(0.55, 0.95))
    filling = _filled(pattern, size, first, second, draws)
    mask = _mask(shape, size).rotate(draws.uniform(-25, 25), resample=Image.Resampling.BICUBIC)
    at = draws.randint(0, width - size), draws.randint(0, height - size)
    canvas.paste(filling, at, mask)
    return canvas


def _colours(draws: random.Random) -> tuple[Colour, Colour, Colour]:
    """Draw three colours of which any two differ clearly."""
    found: list[Colour] = []
    while len(found) < 3:
        colour = (draws.randrange(256), draws.randrange(256), draws.randrange(256))
        if all(math.dist(colour, other) > 130 for other in found):
            found.append(colour)
    return found[0], found[1], found[2]


def _near(colour: Colour, draws: random.Random) -> Colour:
    red, green, blue = (min(max(part + draws.randint(-45, 45), 0), 255) for part in colour)
    return red, green, blue


def _filled(pattern: str, size: int, first: Colour, second: Colour, draws: random.Random) -> Image.Image:
    """Return a square of a pattern."""
    square = Image.new("RGB", (size, size), first)
    pen = ImageDraw.Draw(square)
    step = max(int(size * draws.uniform(0.12, 0.18)), 4)
    for row, top in enumerate(range(0, size, step)):
        if pattern == "striped" and row % 2:
            pen.rectangle([0, top, size, top + step - 1], fill=second)
        for column, left in enumerate(range(0, size, step)):
            if pattern == "chequered" and (row + column) % 2:
                pen.rectangle([left, top, left + step - 1, top + step - 1], fill=second)
            elif pattern == "dotted":
                pen.ellipse([left + step // 3, top + step // 3, left + step - 1, top + step - 1], fill=second)
        inset = row * step
        if pattern == "ringed" and 2 * inset < size:
            pen.ellipse([inset, inset, size - inset, size - inset], fill=second if row % 2 else first)
    return square


def _mask(shape: str, size: int) -> Image.Image:
    """Return where a shape is, within a square: 255 inside, 0 outside."""
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    low, high, middle = 0.1 * size, 0.9 * size, size / 2

    def around(corners: int, radii: tuple[float, ...], turn: float = -0.25) -> list[tuple[float, float]]:
        angles = [2 * math.pi * (corner / corners + turn) for corner in range(corners)]
        lengths = [radii[corner % len(radii)] * size for corner in range(corners)]
        return [
            (middle + length * math.cos(angle), middle + length * math.sin(angle))
            for angle, length in zip(angles, lengths, strict=True)
        ]

    if shape in ("disc", "ring", "crescent"):
        pen.ellipse([low, low, high, high], fill=255)
    if shape == "ring":
        pen.ellipse([0.35 * size, 0.35 * size, 0.65 * size, 0.65 * size], fill=0)
    elif shape == "crescent":
        pen.ellipse([0.35 * size, low, 1.15 * size, high], fill=0)
    elif shape in ("bar", "cross"):
        pen.rectangle([low, 0.38 * size, high, 0.62 * size], fill=255)
        if shape == "cross":
            pen.rectangle([0.38 * size, low, 0.62 * size, high], fill=255)
    elif shape in ("triangle", "square", "pentagon"):
        corners = {"triangle": 3, "square": 4, "pentagon": 5}[shape]
        pen.polygon(around(corners, (0.45,), -0.125 if shape == "square" else -0.25), fill=255)
    elif shape == "star":
        pen.polygon(around(10, (0.45, 0.18)), fill=255)
    elif shape == "drop":
        pen.ellipse([0.25 * size, 0.4 * size, 0.75 * size, high], fill=255)
        pen.polygon([(middle, low), (0.27 * size, 0.6 * size), (0.73 * size, 0.6 * size)], fill=255)
    elif shape == "wave":
        crest = [(x, middle + 0.18 * size * math.sin(4 * math.pi * x / size)) for x in range(int(low), int(high))]
        pen.line(crest, fill=255, width=max(size // 6, 3))
    elif shape == "arrow":
        pen.rectangle([low, 0.42 * size, 0.6 * size, 0.58 * size], fill=255)
        pen.polygon([(0.55 * size, 0.2 * size), (high, middle), (0.55 * size, 0.8 * size)], fill=255)
    return mask


def main(arguments: list[str] | None = None) -> None:
    """Draw, train, and print what was reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=50, choices=range(2, len(CLASSES) + 1), metavar="N")
    parser.add_argument("--each", type=int, default=60, help="training pictures of a class")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--side", type=int, default=64, help="pixels of the network's pictures")
    parser.add_argument("--model", default="small-cnn", help="a name; small-cnn has the width below")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.05, help="learning rate; ImageNet's 0.1 is for batches of 256")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    pictures, run = given.folder / "pictures", given.folder / "run"
    draw(pictures, given.classes, given.each, given.seed)
    sizes = {"width": given.width} if given.model == "small-cnn" else {}
    options = [f"--set={name}={value}" for name, value in ({"size": given.side} | sizes).items()]
    changes = {"batch_size": given.batch, "learning_rate": given.rate, "schedule": "cosine"}
    subprocess.run(
        [
            sys.executable, "-m", "metamery.framework", "train", "imagenet-adversarial-linf", "--model", given.model,
            "--stimuli", str(pictures), "--epochs", str(given.epochs), "--workers", str(given.workers), "--device",
            given.device, "--seed", str(given.seed), "-o", str(run), *options,
            *(f"--setting={name}={value}" for name, value in changes.items()),
        ],
        check=True,
    )  # fmt: skip
    with open_study(run) as results:
        natural, attacked = (results["confusion"][name].values for name in ("natural", "attacked"))
    with (run / "updates.csv").open(newline="", encoding="utf-8") as file:
        updates = list(csv.DictReader(file))
    speed = median(float(row["signals_per_second"]) for row in updates)
    waiting = mean(float(row["waiting"]) for row in updates)
    print(f"chance {1 / given.classes:.3f}")
    for what, counts in (("natural", natural), ("attacked (PGD-10, Linf 4/255)", attacked)):
        print(f"accuracy on {int(counts.sum())} {what} pictures: {counts.trace() / counts.sum():.3f}")
    print(f"{speed:.3g} pictures a second in updates; {waiting:.1%} of the time was spent waiting for pictures")


if __name__ == "__main__":
    main()
