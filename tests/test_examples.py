"""The scripts in examples/: each command in them works, on data that are much too small."""

from __future__ import annotations

import os
import runpy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from metamery.framework import open_study
from metamery.framework.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORD = """#!/usr/bin/env bash
printf '%s\\0' "$PWD" "$#" "$@" >> "$RECORD"
"""
SMALL = {
    "train": ["--epochs", "1"],
    "robustness": ["--limit", "2", "--set", "steps=1", "--set", "apgd_steps=1", "--set", "epsilons=[0.1]"],
    "contrast": ["--set", "limit=2", "--set", "steps=1"],
    "recognition": ["--set", "resamples=10"],
}
LAYERS = 'layers = ["cochleagram", "output"]'

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``script(file, …)`` has a script name its commands, and then runs these in this process, each made small."""
    programs, record = tmp_path / "programs", tmp_path / "record"
    programs.mkdir()
    for name, text in {"metamery": RECORD, "python": "#!/bin/sh\nexit 1\n"}.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)

    def run(file: Path, *arguments: Path | str, steps: int = 2, finds: bool = False) -> None:
        if finds:
            (programs / "python").write_text("#!/bin/sh\n", encoding="utf-8")
        record.unlink(missing_ok=True)
        search = f"{programs}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": search, "RECORD": str(record), "STEPS": str(steps)}
        done = subprocess.run(
            [str(file), *map(str, arguments)], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for folder, command in recorded(record):
            monkeypatch.chdir(folder)
            if command[0] == "run":
                settings = Path(command[1]) / "study.toml"
                told = settings.read_text(encoding="utf-8")
                if "layers" not in told:
                    settings.write_text(told.replace("[[models]]", f"[[models]]\n{LAYERS}"), encoding="utf-8")
            kind = command[1] if command[0] == "evaluate" else command[0]
            assert main([*command, *SMALL.get(kind, [])]) == 0, command

    return run


def recorded(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Read back where each command was given, and its arguments."""
    words = iter(file.read_text(encoding="utf-8").split("\0")[:-1])
    for folder in words:
        yield folder, [next(words) for _ in range(int(next(words)))]


def speak(folder: Path, clips: int) -> None:
    """Make two words of a harmonic tone each."""
    for split in ("train", "test"):
        for number, name in enumerate(("one", "two")):
            (folder / split / name).mkdir(parents=True)
            for clip in range(clips):
                wave = 0.3 * np.sin(2 * np.pi * (300 + 400 * number + 20 * clip) * np.arange(4000) / 8000)
                soundfile.write(folder / split / name / f"anna_{clip}.wav", wave, 8000)


def test_four_small_networks(script: Callable[..., None], drawn: Any, tmp_path: Path) -> None:
    for split in ("train", "test"):
        drawn(tmp_path / "data" / split, [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(3)])
    script(EXAMPLES / "robustness.sh", tmp_path / "data", tmp_path / "out")
    groups = open_study(tmp_path / "out" / "evaluation").children
    assert set(groups) == {"accuracy", "robustness", "shift-consistency"}  # AutoAttack has tests of its own
    networks = ["run:standard", "run:random", "run:blurred", "run:adversarial"]
    assert all(group.model.values.tolist() == networks for group in groups.values())
    assert (tmp_path / "out" / "evaluation" / "report.html").is_file()


def test_the_networks_for_spoken_digits(script: Callable[..., None], tmp_path: Path) -> None:
    speak(tmp_path / "data", clips=2)
    script(EXAMPLES / "digits" / "train.sh", tmp_path / "data", tmp_path / "out")
    groups = open_study(tmp_path / "out" / "evaluation").children
    assert set(groups) == {"accuracy", "accuracy-in-noise", "robustness", "shift-consistency"}


@pytest.mark.skipif(not os.environ.get("METAMERY_LONG_TESTS"), reason="minutes long: METAMERY_LONG_TESTS=1 runs it")
@pytest.mark.timeout(1800)
def test_the_paper_in_miniature(
    script: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(tmp_path / "data", clips=1)
    out = tmp_path / "out"
    script(EXAMPLES / "replication" / "replicate.sh", "sounds", tmp_path / "data", out, steps=1, finds=True)
    study = open_study(out / "study")
    assert {*study.children} == {"stimuli", "models", "recognition", "contrast"}
    assert study["recognition"].sizes["recogniser"] == 15
    assert "recognition with a prior: " in (out / "times.txt").read_text(encoding="utf-8")
    capsys.readouterr()
    runpy.run_path(str(EXAMPLES / "replication" / "findings.py"))["main"](out)
    assert "5  other networks' recognition predicts people's: NEEDS PEOPLE" in capsys.readouterr().out
    script(EXAMPLES / "replication" / "aliasing.sh", tmp_path / "data", out, steps=1)
    assert {*open_study(out / "aliasing" / "study").children} >= {"recognition", "character"}
    monkeypatch.syspath_prepend(str(EXAMPLES / "replication"))
    runpy.run_path(str(EXAMPLES / "replication" / "aliasing.py"))["main"](out / "aliasing" / "study")
    assert "standard: conv0 " in capsys.readouterr().out
