"""A file as the start of every synthesis: what is made of it, how a study keeps it, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from metamery.analysis import run_study, synthesise
from metamery.framework import MetameryError, Plugins, Study, open_study
from metamery.framework.stimuli import Stimulus
from metamery.framework.testing import example_model, example_stimuli
from PIL import Image
from stores import differing

Command = Callable[..., Any]

STILL = {"steps": 1, "step_size": 1e-9, "noise": 0.0}


@pytest.fixture
def texture(tmp_path: Path) -> Path:
    """A picture of random pixels, of another size than any network takes."""
    file = tmp_path / "texture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def written(tmp_path: Path, tiny: str, pictures: Path, **settings: object) -> Path:
    """A study's file, whose start is named relative to it."""
    table = {"start": "texture.png", "batch_size": 2, "seeds": 2, **STILL, **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    file = tmp_path / "study.toml"
    file.write_text(
        f'stimuli = "{pictures}/"\n[[models]]\nname = "{tiny}"\nlayers = ["1", "output"]\n[synthesis]\n'
        + "\n".join(lines)
    )
    return file


def test_every_metamer_starts_from_the_file_as_a_stimulus_is_fitted(
    texture: Path, tmp_path: Path, tiny: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, tiny, pictures)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    study = Study.read(file)
    assert study.synthesis["start"] == str(texture)
    run_study(study, tmp_path / "out")
    pixels = torch.from_numpy(np.asarray(Image.open(texture)).copy()).permute(2, 0, 1) / 255
    expected = Plugins(trust=True).load("model", tiny).domain.fit(Stimulus(pixels))
    with open_study(tmp_path / "out") as tree:
        (model,) = tree.load()["models"].children.values()
        metamers = model["metamers"]
        assert metamers.sizes["seed"] == 2
        assert np.allclose(metamers["signal"].values, expected, atol=1e-6)
        assert metamers.attrs["start_sha256"] == hashlib.sha256(texture.read_bytes()).hexdigest()


def test_in_memory_the_start_is_the_same_with_noise_of_its_own_for_each(texture: Path) -> None:
    model, settings = example_model(), {**STILL, "start": str(texture), "seeds": 2, "noise": 0.1}
    made = synthesise(model, example_stimuli(), ["1"], **settings)
    still = synthesise(model, example_stimuli(), ["1"], **settings | {"noise": 0.0})
    around = made["signal"] - still["signal"]
    assert 0.05 < float(around.std()) < 0.1, "clamped to the range"
    assert not np.allclose(around[0, 0, 0], around[0, 0, 1])
    assert not np.allclose(around[0, 0, 0], around[0, 1, 0])
    assert made.attrs["start_sha256"] == still.attrs["start_sha256"]


def test_parts_and_a_resumption_give_the_same_bytes(
    texture: Path, tmp_path: Path, tiny: str, pictures: Path, command: Command
) -> None:
    file = written(tmp_path, tiny, pictures, steps=3, step_size=0.01)
    assert command("run", file, "-o", tmp_path / "whole", "--trust").status == 0
    for part in ("2/2", "1/2", "1/2"):
        said = command("run", file, "-o", tmp_path / "parts", "--trust", "--part", part)
        assert said.status == 0, said.err
    assert not differing(tmp_path / "whole", tmp_path / "parts")


def test_another_file_of_the_same_name_does_not_resume_a_study(
    texture: Path, tmp_path: Path, tiny: str, pictures: Path, command: Command
) -> None:
    file = written(tmp_path, tiny, pictures)
    assert command("run", file, "-o", tmp_path / "out", "--trust", "--part", "1/2").status == 0
    before, content = contents(tmp_path / "out"), texture.read_bytes()
    Image.new("RGB", (9, 9)).save(texture)
    for more in (("--part", "2/2"), ()):
        said = command("run", file, "-o", tmp_path / "out", "--trust", *more)
        assert (said.status, said.err.count("\n")) == (2, 2), said.err  # with the line that names tiny.py
        assert f"start: '{texture}' is not the file that the metamers in" in said.err
    texture.unlink()
    said = command("run", file, "-o", tmp_path / "out", "--trust")
    assert (said.status, said.err.count("\n")) == (2, 1), said.err
    assert f"start: '{texture}' does not exist" in said.err
    assert contents(tmp_path / "out") == before
    texture.write_bytes(content)
    assert command("run", file, "-o", tmp_path / "out", "--trust").status == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_that_is_moved_with_its_file_goes_on(
    tmp_path: Path, texture: Path, tiny: str, pictures: Path, command: Command
) -> None:
    home = tmp_path / "home"
    (home / "study").mkdir(parents=True)
    texture.rename(home / "texture.png")
    file = written(home / "study", tiny, pictures, start="../texture.png")
    assert command("run", file, "--trust", "--part", "1/2").status == 0
    moved = home.rename(tmp_path / "moved")
    said = command("run", moved / "study", "--trust")
    assert said.status == 0, said.err
    said = command("evaluate", "diversity", moved / "study", "--trust", "--set", "k=3", "--set", "steps=1")
    assert said.status == 0, said.err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone.png", "' does not exist, expected pictures (files ending in .jpg"),
        (".", "' is not a file, expected pictures"),
        ("text.txt", "' is not a picture or sound, expected pictures"),
        ("broken.png", "start: the picture '"),
        ("tone.wav", "' is a sound, and the model takes pictures (image, 3 × "),
        ("nature", "unknown start 'nature'"),
    ],
)
def test_files_that_cannot_be_the_start_are_one_line_and_leave_nothing(
    tmp_path: Path, tiny: str, pictures: Path, command: Command, name: str, expected: str
) -> None:
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(800) / 5), 8000)
    given = name if name == "nature" else f"{tmp_path}/{name}"
    for dry in ((), ("--dry-run",)):
        fixed = ("--stimuli", pictures, "--layers", 1, "--steps", 2, "-o", tmp_path / "out", *dry)
        said = command("synthesise", tiny, *fixed, "--setting", f"start={given}")
        assert (said.status, said.err.count("\n")) == (2, 1), said.err
        assert expected in said.err
        assert not (tmp_path / "out").exists()


def test_a_picture_is_not_the_start_of_a_sound(texture: Path, tmp_path: Path, command: Command) -> None:
    fixed = ("--stimuli", "spoken-digits", "--limit", 1, "--layers", "relu1", "--steps", 1, "-o", tmp_path / "out")
    said = command("synthesise", "coch-cnn-digits", *fixed, "--setting", f"start={texture}")
    assert (said.status, said.err.count("\n")) == (2, 1), said.err
    assert f"start: '{texture}' is a picture, and the model takes sounds (waveform" in said.err
    assert not (tmp_path / "out").exists()


def test_numbers_are_not_files() -> None:
    with pytest.raises(MetameryError, match=r"^start|unknown start"):
        synthesise(example_model(), example_stimuli(), ["1"], start=3)
