"""The drawn miniature of ImageNet: its pictures depend on their seed alone, and its training goes the whole way."""

from __future__ import annotations

import os
import random
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples" / "miniature_imagenet.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_each_class_has_pictures_of_its_own_in_many_sizes(script: dict[str, Any]) -> None:
    drawn = {name: [script["picture"](name, random.Random(seed)) for seed in range(4)] for name in script["CLASSES"]}
    assert len(drawn) == 60
    sizes = {picture.size for pictures in drawn.values() for picture in pictures}
    assert len(sizes) > 3  # one for each seed
    assert all(72 <= side <= 240 for size in sizes for side in size)
    for seed in range(4):  # the same draws: classes differ by shape and pattern alone
        assert len({pictures[seed].tobytes() for pictures in drawn.values()}) == 60


def test_pictures_depend_on_the_seed_alone(script: dict[str, Any], tmp_path: Path) -> None:
    for folder, seed in (("one", 0), ("again", 0), ("other", 1)):
        script["draw"](tmp_path / folder, 2, 6, seed)
    files = sorted(file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*.jpg"))
    assert len(files) == 2 * (6 + 2)
    one, again, other = (
        [(tmp_path / each / file).read_bytes() for file in files] for each in ("one", "again", "other")
    )
    assert one == again
    assert all(first != second for first, second in zip(one, other, strict=True))
    arrays = [np.asarray(Image.open(tmp_path / "one" / file)) for file in files]
    assert len({array.shape for array in arrays}) > 4


@pytest.mark.slow
def test_it_is_trained_and_measured(tmp_path: Path) -> None:
    small = ["--classes", "3", "--each", "4", "--epochs", "1", "--side", "32", "--width", "4", "--batch", "6"]
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, *small], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "chance 0.333\naccuracy on 6 natural pictures: " in done.stdout
    assert "accuracy on 6 attacked (PGD-10, Linf 4/255) pictures: " in done.stdout
