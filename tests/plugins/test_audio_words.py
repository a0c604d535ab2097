"""Synthesised words: what the synthesiser makes of sources and resonances, and who recognises the words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError, Plugins
from metamery.plugins.audio.coch_cnn_digits import DIGITS
from metamery.plugins.audio.speech_synthesis import (
    _BLOCK,
    PHONEMES,
    VOICES,
    Voice,
    _harmonics,
    _noise,
    _resonance,
    _smooth,
    _tract,
    speak,
)
from metamery.plugins.audio.spoken_digits import WORDS, spoken_digits

RATE = 8000
MAN, WOMAN = VOICES
TRACT = np.array([500.0, 1500.0, 2500.0, 3500.0])


def energy(signal: np.ndarray, low: float, high: float) -> float:
    """The mean power of a sound between two frequencies."""
    power = np.abs(np.fft.rfft(signal)) ** 2 / len(signal) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / RATE)
    return float(power[(frequency >= low) & (frequency < high)].sum())


# The words


def test_the_first_ten_are_the_ten_digits_and_the_voices_take_turns() -> None:
    words = list(spoken_digits())
    assert [word.category for word in words] == [*WORDS, *WORDS]
    assert set(WORDS) == set(DIGITS)
    assert len({word.name for word in words}) == 20
    assert [word.group for word in words[:3]] == ["man", "woman", "man"]
    assert all({words[i].group, words[i + 10].group} == {"man", "woman"} for i in range(10))


def test_words_say_what_they_are() -> None:
    for word in spoken_digits():
        assert "synthesised speech, not a recording" in word.source
        assert word.licence == "CC0-1.0"
        assert word.right_answers("category") == {word.category}
        assert word.sample_rate == RATE
        assert 0.2 * RATE < len(word.signal) < RATE
        assert float(word.signal.abs().max()) == pytest.approx(0.5, abs=1e-4)
        levels = word.signal.double() * 32767
        assert torch.allclose(levels, levels.round(), atol=0.01)


def test_a_word_is_the_same_whenever_it_is_asked_for() -> None:
    np.random.seed(1)
    words = [word.signal for word in spoken_digits()]
    np.random.seed(2)
    state = np.random.get_state()[1].copy()
    again = [spoken_digits()[index].signal for index in reversed(range(20))]
    assert all(map(torch.equal, words, reversed(again)))
    assert np.array_equal(state, np.random.get_state()[1])


def test_a_limit_and_indices() -> None:
    few = Plugins(installed=()).load("stimuli", "spoken-digits", limit=2)
    assert [word.name for word in few] == ["zero_man", "one_woman"]
    assert few[-1].name == "one_woman"
    with pytest.raises(IndexError):
        few[2]
    with pytest.raises(MetameryError, match="limit is 0, expected a whole number of at least 1"):
        spoken_digits(limit=0)


@pytest.mark.parametrize("name", ["coch-cnn-digits", "coch-cnn-digits-adversarial", "coch-cnn-digits-hann"])
def test_networks_that_never_heard_them_recognise_the_words(name: str) -> None:
    model = Plugins(installed=()).load("model", name)
    words = list(spoken_digits())
    with torch.no_grad():
        answers = model.module(torch.stack([model.domain.fit(word) for word in words])).argmax(1)
    right = [model.labels[answer] == word.category for answer, word in zip(answers, words, strict=True)]
    assert sum(right) >= 18  # 19 were measured, of each network
    assert all(right[:6]) or name != "coch-cnn-digits"  # those of the demo


# The synthesiser


def test_a_steady_voice_is_its_harmonics_as_loud_as_the_tract_lets_them_be() -> None:
    spectrum = np.fft.rfft(_harmonics(np.full(RATE, 100.0), np.tile(TRACT, (RATE, 1)))) / (RATE / 2)  # bins of 1 Hz
    number = np.arange(1, 39)
    np.testing.assert_allclose(np.abs(spectrum[100 * number]), np.abs(_tract(100.0 * number, TRACT)) / number)
    spectrum[100 * np.arange(41)] = 0
    assert np.abs(spectrum).max() < 1e-10


def test_a_neutral_tract_is_a_tube_closed_at_one_end() -> None:
    # Its response is 1 / |cos(π f / 1000 Hz)|: as loud midway between any two resonances as at 0 Hz.
    midway = np.array([0.0, 1000.0, 2000.0, 3000.0])
    np.testing.assert_allclose(20 * np.log10(np.abs(_tract(midway, TRACT))), 0, atol=1)  # dB
    for formant in TRACT:
        near = np.abs(_tract(formant + np.array([-100.0, 0.0, 100.0]), TRACT))
        assert near[1] > max(near[0], near[2])


def test_a_hiss_passes_its_own_frequency_and_no_constant() -> None:
    np.testing.assert_allclose(_resonance(np.array([0.0, 2000.0]), 2000.0, 500.0), [0, 1])


def test_blocks_of_noise_join_into_an_even_one() -> None:
    samples = 4 * RATE
    levels, formants = np.tile([0.0, 1.0], (samples, 1)), np.tile(TRACT, (samples, 1))
    signal = _noise("any", formants, levels, np.tile([2000.0, 500.0], (samples, 1)))
    # white noise of variance 1, of which each block keeps what its window lets through, after the filter
    frequency = np.linspace(0, RATE / 2, 4001)
    passes = float((np.abs(_resonance(frequency, 2000.0, 500.0)) ** 2).mean())
    parts = np.square(signal).reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(parts, passes, rtol=0.25)
    assert np.argmax(np.abs(np.fft.rfft(signal))) / 4 == pytest.approx(2000, abs=300)
    assert not np.array_equal(signal, _noise("other", formants, levels, np.tile([2000.0, 500.0], (samples, 1))))


def test_sound_starts_where_its_level_does() -> None:
    levels = np.zeros((RATE, 2))
    levels[4000:, 1] = 1
    signal = _noise("any", np.tile(TRACT, (RATE, 1)), levels, np.tile([2000.0, 500.0], (RATE, 1)))
    assert not signal[: 4000 - _BLOCK].any()
    assert np.square(signal[4000 + _BLOCK :]).mean() > 0.05


def test_targets_glide_into_each_other_and_the_ends_are_held() -> None:
    steps = np.repeat([[1.0], [3.0]], 1000, axis=0)
    smooth = _smooth(steps, 0.05)[:, 0]
    assert smooth.shape == (2000,)
    assert np.all(np.diff(smooth) >= -1e-12)
    np.testing.assert_allclose(smooth[[0, 700, 1300, -1]], [1, 1, 3, 3])
    assert smooth[999:1001].mean() == pytest.approx(2)


def test_vowels_have_the_formants_of_their_speaker() -> None:
    for symbol, valley in (("i", 1600), ("a", 1800)):
        signal = speak("any", [(symbol, 0.5)], Voice("flat", (100.0, 100.0), 1.0))
        first, second, _ = PHONEMES[symbol].formants
        assert energy(signal, first - 100, first + 100) > 2 * energy(signal, first + 250, first + 450)
        assert energy(signal, second - 100, second + 100) > 2 * energy(signal, valley - 100, valley + 100)


def test_an_s_hisses_high_and_a_closure_is_silent() -> None:
    six = speak("six_man", WORDS["six"], MAN)
    ends = np.cumsum([round(seconds * RATE) for _, seconds in WORDS["six"]])
    hiss, vowel, closure = (
        six[200 : ends[0] - 200],
        six[ends[0] + 200 : ends[1] - 200],
        six[ends[1] + 200 : ends[2] - 200],
    )
    assert energy(hiss, 3000, 4001) > 10 * energy(hiss, 0, 2000)
    assert energy(vowel, 0, 2000) > 10 * energy(vowel, 3000, 4001)
    assert np.square(closure).mean() < 1e-3 * np.square(hiss).mean()


def test_an_unknown_phoneme_and_silence_are_refused() -> None:
    with pytest.raises(MetameryError, match="phoneme 'x'"):
        speak("any", [("x", 0.1)], WOMAN)
    for nothing in ([], [("t-", 0.1)]):
        with pytest.raises(MetameryError, match="'any' is silent"):
            speak("any", nothing, WOMAN)
