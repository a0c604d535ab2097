"""The scripts in examples/ run to their end, on data that is much too small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from metamery.framework import open_study

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: Path, *arguments: Path | str) -> str:
    """Run a script to its end, and return what it says."""
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(script), *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def speak(folder: Path, clips: int) -> None:
    """Make two words of a harmonic tone each."""
    for split in ("train", "test"):
        for number, name in enumerate(("one", "two")):
            (folder / split / name).mkdir(parents=True)
            for clip in range(clips):
                wave = 0.3 * np.sin(2 * np.pi * (300 + 400 * number + 20 * clip) * np.arange(4000) / 8000)
                soundfile.write(folder / split / name / f"anna_{clip}.wav", wave, 8000)


@pytest.mark.slow
def test_four_small_networks(drawn: Any, tmp_path: Path) -> None:
    for split in ("train", "test"):
        drawn(tmp_path / "data" / split, [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(3)])
    run(EXAMPLES / "robustness.sh", tmp_path / "data", tmp_path / "out")
    groups = open_study(tmp_path / "out" / "evaluation").children
    assert set(groups) >= {"accuracy", "robustness", "shift-consistency"}
    networks = ["run:standard", "run:random", "run:blurred", "run:adversarial"]
    assert all(group.model.values.tolist() == networks for group in groups.values())
    assert (tmp_path / "out" / "evaluation" / "report.html").is_file()


@pytest.mark.slow
def test_the_networks_for_spoken_digits(tmp_path: Path) -> None:
    speak(tmp_path / "data", clips=2)
    run(EXAMPLES / "digits" / "train.sh", tmp_path / "data", tmp_path / "out")
    groups = open_study(tmp_path / "out" / "evaluation").children
    assert set(groups) == {"accuracy", "accuracy-in-noise", "robustness", "shift-consistency"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_paper_in_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speak(tmp_path / "data", clips=2)
    monkeypatch.setenv("STEPS", "8")
    said = run(EXAMPLES / "replication" / "replicate.sh", "sounds", tmp_path / "data", tmp_path / "out")
    study = open_study(tmp_path / "out" / "study")
    assert {*study.children} == {"stimuli", "models", "recognition", "contrast"}
    assert study["recognition"].sizes["recogniser"] == 10
    assert "recognition with a prior: " in (tmp_path / "out" / "times.txt").read_text(encoding="utf-8")
    assert "5  other networks' recognition predicts people's: NEEDS PEOPLE" in said
