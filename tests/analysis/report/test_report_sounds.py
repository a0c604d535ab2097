"""The pictures of sounds: axes in seconds and hertz, and energy at the right frequency and time."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from metamery.analysis.report.sounds import _bands, _erb, level, picture_of_sound
from metamery.framework import WaveformDomain
from PIL import Image

NAME = "{http://www.w3.org/2000/svg}"


def drawn(signal: np.ndarray, rate: int) -> tuple[list[np.ndarray], list[str]]:
    """The two panels, as brightness from the highest frequency down, and the words beside them."""
    svg = ElementTree.fromstring(picture_of_sound(signal.astype(np.float32), WaveformDomain(len(signal), rate)))
    panels = []
    for image in svg.iter(f"{NAME}image"):
        content = re.sub("^data:image/png;base64,", "", image.attrib["href"])
        panels.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L")).astype(float))
    return panels, [str(text.text) for text in svg.iter(f"{NAME}text")]


def test_a_tone_lies_at_its_frequency_for_as_long_as_it_sounds() -> None:
    rate, time = 8000, np.arange(8000) / 8000
    (spectrogram, cochleagram), words = drawn(np.where(time < 0.5, np.sin(2 * np.pi * 1000 * time), 0), rate)
    half = spectrogram.shape[1] // 2
    assert spectrogram[:, : half - 5].mean() > 2 * spectrogram[:, half + 10 :].mean()
    loudest = spectrogram[:, : half - 5].mean(axis=1).argmax()
    assert 1 - loudest / (len(spectrogram) - 1) == pytest.approx(1000 / 4000, abs=0.02)
    loudest = cochleagram[:, : half - 5].mean(axis=1).argmax()
    assert 1 - (loudest + 0.5) / len(cochleagram) == pytest.approx(float(_erb(1000) / _erb(4000)), abs=0.03)
    assert {"spectrogram (Hz)", "cochleagram (Hz)", "time (s)"} <= set(words)
    assert {"0", "1000", "4000", "0.5", "1"} <= set(words)


def test_bands_are_even_on_the_erb_scale_and_cover_it() -> None:
    weights = _bands(np.linspace(0, 8000, 801))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    centres = _erb(np.linspace(0, 8000, 801)[weights.argmax(axis=1)])
    assert np.abs(np.diff(centres) - np.diff(centres).mean()).max() < 0.5
    assert (weights[:, 10:].sum(axis=0) > 0).sum() > 750


def test_the_level_is_that_of_what_a_file_holds_and_is_written_beside_the_pictures() -> None:
    domain, time = WaveformDomain(8000, 8000), np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    peak, rms = level(tone, domain)
    assert peak == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert rms == pytest.approx(peak - 10 * np.log10(2), abs=1e-3)
    assert level(np.full(8000, -1.0, dtype=np.float32), domain) == (0.0, 0.0)
    assert level(tone * np.float32(1e-5), domain) == (-np.inf, -np.inf)  # less than half a step of 16 bits
    wide = WaveformDomain(8000, 8000, -4.0, 4.0)
    assert level(4 * tone, wide) == pytest.approx((peak, rms))
    assert "peak −6.0, RMS −9.0 dBFS" in drawn(tone, 8000)[1]
    assert "silent" in drawn(0 * tone, 8000)[1]


@pytest.mark.parametrize("signal", [np.zeros(800), np.ones(20)], ids=["silent", "very short"])
def test_a_sound_without_anything_to_see_is_drawn_all_the_same(signal: np.ndarray) -> None:
    panels, words = drawn(signal, 8000)
    assert len(panels) == 2
    assert "time (s)" in words
