"""Pictures, sounds and checks of headphones against closed forms."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from metamery.analysis.experiment import drawings, headphones
from metamery.analysis.experiment.pictures import CONTRAST, mask, sign
from metamery.analysis.experiment.sounds import (
    SoundFiles,
    common_rms,
    level_noise,
    quantised,
    resampled,
    root_mean_square,
)
from metamery.framework import MetameryError
from metamery.framework.domains import ImageDomain, WaveformDomain
from scipy.io import wavfile

RATE = 8000


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_the_power_of_a_mask_falls_with_the_frequency_to_its_exponent(exponent: float) -> None:
    domain = ImageDomain(3, 128, 128)
    power = np.zeros((128, 128))
    for number in range(8):
        noise = mask(domain, exponent, 0, number)
        assert noise.shape == domain.shape
        assert noise.dtype == np.float32
        assert (noise[0] == noise[1]).all()
        assert noise.mean() == pytest.approx(0.5, abs=0.02)
        assert noise.std() == pytest.approx(CONTRAST, rel=0.05)
        assert 0 <= noise.min() < noise.max() <= 1
        power += np.abs(np.fft.fft2(noise[0])) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    bands = np.geomspace(2 / 128, 0.3, 9)
    levels = [power[(frequency >= low) & (frequency < high)].mean() for low, high in pairwise(bands)]
    slope = np.polyfit(np.log(np.sqrt(bands[:-1] * bands[1:])), np.log(levels), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.2)


def test_masks_differ_by_number_and_seed_and_fill_the_domain_of_the_model() -> None:
    domain = ImageDomain(1, 9, 12, -1.0, 1.0)
    made = [mask(domain, 2.0, seed, number) for seed in (0, 1) for number in (0, 1)]
    assert len({each.tobytes() for each in made}) == 4
    assert (mask(domain, 2.0, 0, 0) == made[0]).all()
    assert made[0].shape == (1, 9, 12)
    assert made[0].min() < -0.2 < 0.2 < made[0].max()


def test_every_icon_is_dark_on_white_and_unlike_the_others() -> None:
    drawn = {name: drawings.icon(name, 64, 64) for name in drawings.ICONS}
    assert len(drawn) == 16
    for name, picture in drawn.items():
        dark = (picture < 0.5).mean()
        assert 0.1 < dark < 0.75, name
        assert (picture[0].min(), picture.max()) == (1, 1), name
    pairs = [(one, other) for one in drawn for other in drawn if one < other]
    assert all(np.abs(drawn[one] - drawn[other]).mean() > 0.1 for one, other in pairs)


def test_an_icon_is_filled_by_the_even_odd_rule_and_stroked() -> None:
    clock = drawings.icon("clock", 640, 640)
    middle, face, rim, beyond = clock[320, 320], clock[420, 250], clock[320, 65], clock[320, 20]
    assert middle == rim == pytest.approx(0x22 / 255)
    assert face == beyond == 1


def test_an_icon_of_another_shape_stays_square_in_the_middle() -> None:
    wide = drawings.icon("boat", 40, 80)
    assert wide.shape == (40, 80)
    assert (wide[:, 20:60] == drawings.icon("boat", 40, 40)).all()
    assert wide[:, :20].min() == wide[:, 60:].min() == 1


@pytest.mark.parametrize("word", ["cat", "a rather long category"])
def test_a_word_is_inside_its_picture_and_as_large_as_fits(word: str) -> None:
    dark = drawings.word(word, 100, 200) < 0.5
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    assert rows[0] > 0
    assert rows[-1] < 99
    assert columns[0] > 0
    assert columns[-1] < 199
    assert np.ptp(columns) > 0.75 * 200 or np.ptp(rows) > 0.35 * 100


def test_a_sign_is_the_icon_of_an_answer_or_else_its_label() -> None:
    domain = ImageDomain(3, 32, 32)
    assert (sign("cat", "Katze", domain) == drawings.icon("cat", 32, 32)).all()
    assert (sign("espresso", "Kaffee", domain) == drawings.word("Kaffee", 32, 32)).all()
    assert (sign("cat", "Katze", domain, icons=False) == drawings.word("Katze", 32, 32)).all()


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_a_sound_in_a_file_has_the_level_and_the_rate_and_comes_back(kind: str, rate: int) -> None:
    generator = np.random.default_rng(0)
    spectrum = np.fft.rfft(generator.standard_normal(rate))
    spectrum[int(0.48 * rate) :] = 0
    spectrum[0] = 0
    signal = (0.01 * np.fft.irfft(spectrum, rate)).astype(np.float32)
    files, domain = SoundFiles(kind, 48000, 0.1), WaveformDomain(rate, rate)
    samples, gain = files.samples(signal, rate)
    held, own_rate = soundfile.read(io.BytesIO(files.encode(samples)), dtype="int16")
    assert own_rate == 48000
    assert (held == samples).all()
    assert root_mean_square(held / 32767) == pytest.approx(0.1, rel=1e-3)
    back = files.returned(held, gain, domain).numpy()
    assert back.shape == signal.shape
    inside = slice(1000, -1000)  # the ends ring
    assert root_mean_square((back - signal)[inside]) < 0.001 * root_mean_square(signal)


def test_a_file_of_a_sound_holds_nothing_but_the_sound() -> None:
    samples = quantised(0.5 * np.sin(np.arange(480)))
    assert len(SoundFiles("wav", 48000, 0.1).encode(samples)) == 44 + 2 * 480
    flac = SoundFiles("flac", 48000, 0.1).encode(samples)
    assert flac == SoundFiles("flac", 48000, 0.1).encode(samples)
    with soundfile.SoundFile(io.BytesIO(flac)) as file:
        assert {name: value for name, value in file.copy_metadata().items() if name != "encoder"} == {}
    rate, read = wavfile.read(io.BytesIO(SoundFiles("wav", 48000, 0.1).encode(np.stack([samples, -samples], axis=1))))
    assert (rate, read.shape) == (48000, (480, 2))


def test_the_common_level_is_lowered_until_no_peak_is_clipped() -> None:
    flat, peaky = np.array([1.0, -1.0] * 50), np.array([1.0] + [0.01] * 99)
    assert common_rms([("flat", flat)], 0.5) == (0.5, "")
    rms, limiting = common_rms([("flat", flat), ("peaky", peaky)], 0.5)
    assert limiting == "peaky"
    for each in (flat, peaky):
        assert np.abs(each / root_mean_square(each) * rms).max() <= 1 + 1e-12
    assert np.abs(peaky / root_mean_square(peaky) * rms).max() == pytest.approx(1)
    with pytest.raises(MetameryError, match="'nothing' is silent"):
        common_rms([("nothing", np.zeros(9))], 0.5)


def test_a_resampled_tone_is_the_tone_at_the_other_rate() -> None:
    at = [np.sin(2 * np.pi * 440 * np.arange(rate) / rate) for rate in (8000, 48000)]
    assert np.abs(resampled(at[0].astype(np.float32), 8000, 48000) - at[1])[500:-500].max() < 0.01


def test_the_noise_of_the_level_has_the_spectrum_of_the_sounds() -> None:
    tones = [np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE) for hertz in (500, 1000)]
    noise = level_noise(iter([*tones, tones[1]]), RATE, 0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise), 1 / RATE)
    near = [power[np.abs(frequency - hertz) < 20].sum() / power.sum() for hertz in (500, 1000)]
    assert sum(near) > 0.9
    assert near[1] > near[0]


def intervals(sound: np.ndarray, rate: int) -> list[np.ndarray]:
    step = round((headphones.INTERVAL_SECONDS + headphones.PAUSE_SECONDS) * rate)
    return [sound[first : first + rate] for first in range(0, len(sound), step)]


def test_in_an_antiphase_trial_one_tone_cancels_and_the_answer_is_6_db_quieter() -> None:
    answers = []
    for number in range(6):
        sound, answer = headphones.antiphase(number, 0, RATE)
        answers.append(answer)
        parts = intervals(sound, RATE)
        left, right, summed = ([root_mean_square(each(part)) for part in parts] for each in (
            lambda part: part[:, 0], lambda part: part[:, 1], lambda part: part.sum(axis=1)
        ))  # fmt: skip
        assert left == pytest.approx(right)
        quiet, cancelled = int(answer) - 1, int(np.argmin(summed))
        assert summed[cancelled] < 1e-12
        assert quiet != cancelled
        usual = 3 - quiet - cancelled
        assert 20 * np.log10(left[usual] / left[quiet]) == pytest.approx(6)
        assert left[usual] == pytest.approx(left[cancelled])
        peak = np.argmax(np.abs(np.fft.rfft(parts[usual][:, 0])))
        assert np.fft.rfftfreq(RATE, 1 / RATE)[peak] == 200
    assert sorted(answers) == ["1", "1", "2", "2", "3", "3"]


def test_in_a_huggins_trial_one_noise_has_a_band_turned_in_one_ear() -> None:
    answers = []
    for number in range(6):
        sound, answer = headphones.huggins(number, 0, RATE)
        answers.append(answer)
        for index, part in enumerate(intervals(sound, RATE), 1):
            middle = part[1000:-1000]
            frequency = np.fft.rfftfreq(len(middle), 1 / RATE)
            left, right = (np.fft.rfft(middle[:, ear] * np.hanning(len(middle))) for ear in (0, 1))
            phase = np.abs(np.angle(left * right.conj()))
            band = np.abs(frequency - 600) < 30
            assert np.median(phase[band]) == pytest.approx(np.pi if index == int(answer) else 0, abs=1e-3)
            assert np.median(phase[np.abs(frequency - 600) > 45]) == pytest.approx(0, abs=1e-3)
            assert root_mean_square(part[:, 0]) == pytest.approx(root_mean_square(part[:, 1]), rel=0.05)
    assert sorted(answers) == ["1", "1", "2", "2", "3", "3"]


def test_the_ends_of_an_interval_are_ramps_and_pauses_are_silent() -> None:
    for test in headphones.TESTS.values():
        sound, _ = test(0, 0, RATE)
        assert len(sound) == RATE * 4
        assert (sound[RATE : RATE + RATE // 2] == 0).all()
        for part in intervals(sound, RATE):
            assert np.abs(part[:20]).max() < 0.01 * np.abs(part).max()
            assert np.abs(part[-20:]).max() < 0.01 * np.abs(part).max()
