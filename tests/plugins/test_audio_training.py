"""Training networks that hear: noise, loudness, recipes, and accuracy over the signal-to-noise ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from metamery.framework import Context, MetameryError, Model, Plugins, Stimulus, WaveformDomain, open_study
from metamery.framework.testing import check_evaluator, check_perturbation, example_model
from torch import nn

RATE = 4000
DOMAIN = WaveformDomain(2000, RATE)


def sound_model() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(nn.Linear(2000, 2).eval(), DOMAIN, ["output"], ["high", "low"])


def tones(count: int = 4) -> torch.Tensor:
    time = torch.arange(2000) / RATE
    return torch.stack([0.1 * 2**0.5 * torch.sin(2 * torch.pi * (100 + 50 * n) * time) for n in range(count)])


def perturbed(name: str, signals: torch.Tensor, seed: int = 0, **options: Any) -> torch.Tensor:
    labels = torch.zeros(len(signals), dtype=torch.long)
    perturb = Plugins(installed=()).load("perturbation", name, **options)
    result: torch.Tensor = perturb(sound_model(), signals, labels, torch.Generator().manual_seed(seed))
    return result


def rms(signals: torch.Tensor) -> torch.Tensor:
    return signals.square().mean(dim=1).sqrt()


@pytest.mark.parametrize("noise", ["white", "pink"])
@pytest.mark.parametrize("snr", [-10.0, 0.0, 15.0])
def test_background_noise_has_the_ratio_asked_for_and_keeps_the_level(noise: str, snr: float) -> None:
    signals = tones()
    noisy = perturbed("background", signals, noise=noise, snr_low=snr, snr_high=snr)
    torch.testing.assert_close(rms(noisy), rms(signals))
    # noisy = c (signal + noise), so its part along the signal tells c, but for their chance correlation
    share = (noisy * signals).sum(1) / signals.square().sum(1)
    rest = noisy - share[:, None] * signals
    measured = 20 * torch.log10(share * rms(signals) / rms(rest))
    assert (measured - snr).abs().max() < 1.0


def test_ratios_are_drawn_evenly() -> None:
    signals = tones(1).expand(400, -1).contiguous()
    noisy = perturbed("background", signals, noise="white", snr_low=-10, snr_high=10)
    share = (noisy * signals).sum(1) / signals.square().sum(1)
    measured = 20 * torch.log10(share * rms(signals) / rms(noisy - share[:, None] * signals))
    assert measured.mean().abs() < 1.2
    assert (measured.min(), measured.max()) < (torch.tensor(-8.5), torch.tensor(11.5))
    assert measured.max() > 8.5


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    noise = perturbed("background", tones(1).expand(300, -1).contiguous(), noise="pink", snr_low=-60, snr_high=-60)
    power = torch.fft.rfft(noise).abs().square().mean(0)
    ratio = 10 * torch.log10(power[100:200].mean() / power[200:400].mean())
    assert abs(float(ratio) - 3.0) < 0.5


def test_background_sounds_come_from_a_folder(tmp_path: Path) -> None:
    beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    soundfile.write(tmp_path / "beep.wav", beep, 8000)  # shorter than the domain, and of another rate
    noisy = perturbed("background", tones(), noise=f"{tmp_path}/", snr_low=-40, snr_high=-40)
    peaks = torch.fft.rfft(noisy).abs().argmax(dim=1) * RATE / 2000
    assert peaks.tolist() == [1000.0] * 4


def test_silent_background_sounds_are_left_out_and_named(tmp_path: Path) -> None:
    for name, value in (("a hush", 0.0), ("an offset", 0.25)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(3000, value), RATE)
    said = "of 2 background sounds 2 are silent, such as 'a hush': expected at least one that is not"
    with pytest.raises(MetameryError, match=said):
        perturbed("background", tones(), noise=f"{tmp_path}/")
    beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(3000) / RATE)
    soundfile.write(tmp_path / "beep.wav", beep, RATE)
    with pytest.warns(UserWarning, match="of 3 background sounds 2 are silent, such as 'a hush'; they are left out"):
        noisy = perturbed("background", tones(8), noise=f"{tmp_path}/", snr_low=-40, snr_high=-40)
    assert (torch.fft.rfft(noisy).abs().argmax(dim=1) * RATE / 2000 == 1000).all()


def test_a_pause_in_a_background_sound_is_no_noise(tmp_path: Path) -> None:
    beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    pause = np.zeros(56000)  # and the mean of the beep is not 0, so that the pause is not once the mean is removed
    soundfile.write(tmp_path / "beep.wav", np.concatenate([np.abs(beep), pause]), 8000)
    noisy = perturbed("background", tones(16), noise=f"{tmp_path}/", snr_low=-40, snr_high=-40)
    own = noisy - noisy.mean(dim=1, keepdim=True)
    assert (rms(own) > 0.3 * rms(noisy)).all()  # of a pause there is only its offset
    click = np.concatenate([np.ones(2), np.zeros(399998)])
    soundfile.write(tmp_path / "beep.wav", 0.5 * click, RATE)
    with pytest.raises(MetameryError, match="100 stretches of the background sounds in a row are silent"):
        perturbed("background", tones(), noise=f"{tmp_path}/")


def test_silence_stays_silent() -> None:
    assert not perturbed("background", torch.zeros(2, 2000)).any()


def test_gain_is_within_its_bounds_and_clamps() -> None:
    signals = tones(1).expand(200, -1).contiguous()
    decibels = 20 * torch.log10(rms(perturbed("gain", signals, low=-3, high=6)) / rms(signals))
    assert -3 <= float(decibels.min()) < -2.5
    assert 5.5 < float(decibels.max()) <= 6.01
    assert perturbed("gain", 5 * tones(), low=6, high=6).abs().max() == 1


@pytest.mark.parametrize("name", ["background", "gain"])
def test_they_hold_the_contract_and_are_of_sounds(name: str) -> None:
    perturb = Plugins(installed=()).load("perturbation", name)
    check_perturbation(perturb, sound_model())
    with pytest.raises(MetameryError, match=f"perturbation '{name}' is for sounds, and the model takes pictures"):
        check_perturbation(perturb, example_model())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("background", {"noise": "pinc"}, "unknown stimuli 'pinc'"),
        ("background", {"snr_low": "loud"}, "snr_low is 'loud', expected a number from -200 to 200"),
        ("background", {"snr_low": 5, "snr_high": -5}, "snr_low is 5, expected at most snr_high, -5"),
        ("gain", {"low": 1, "high": 0}, "low is 1, expected at most high, 0"),
    ],
)
def test_a_bad_option_is_named(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Plugins(installed=()).load("perturbation", name, **options)


class Pitch(nn.Module):
    """Says whether there is more power below 500 Hz than above."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(signals).abs().square()
        low, high = power[:, :250].sum(1), power[:, 250:].sum(1)
        return torch.stack([high, low], dim=1)


def test_accuracy_in_noise_falls_with_the_ratio() -> None:
    model = Model(Pitch(), DOMAIN, ["output"], ["high", "low"])
    stimuli = [Stimulus(tone, "low", name=str(n), sample_rate=RATE) for n, tone in enumerate(tones(6))]
    evaluate = Plugins(installed=()).load("evaluator", "accuracy-in-noise", snrs=[-20, 0, 20], noise="white")
    result = evaluate(Context({"net": model}, stimuli))
    assert result.accuracy.values[0].tolist() == [0, 1, 1]  # three quarters of white noise lie above 500 Hz
    assert result.strength.attrs["units"] == "dB"
    halves = [evaluate(Context({"net": model}, half)) for half in (stimuli[:3], stimuli[3:])]
    np.testing.assert_allclose(result.accuracy, (halves[0].accuracy + halves[1].accuracy) / 2)
    check_evaluator(evaluate, Context({"net": sound_model()}, stimuli))
    with pytest.raises(MetameryError, match="snrs is 3, expected a list of numbers"):
        Plugins(installed=()).load("evaluator", "accuracy-in-noise", snrs=3)


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Tones of two classes at 8 kHz."""
    for split in ("train", "test"):
        for name, frequency in (("high", 1500), ("low", 300)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                wave = 0.3 * np.sin(2 * np.pi * (frequency + 40 * number) * np.arange(4000) / 8000)
                soundfile.write(tmp_path / "data" / split / name / f"{number}.wav", wave, 8000)
    return tmp_path / "data"


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["sound-in-noise", "adversarial-waveform-linf", "adversarial-cochleagram-l2", "random-cochleagram-l2"]
)
def test_the_recipes_train_a_network_that_hears(command: Any, spoken: Path, tmp_path: Path, recipe: str) -> None:
    given = ("--model", "coch-cnn-digits", "--set", "width=2", "--stimuli", spoken, "--epochs", 2)
    settings = ("--setting", "batch_size=4", "--setting", "augment_options.background.snr_low=0")
    said = command("train", recipe, *given, *settings, "-o", tmp_path / "run")
    assert said.status == 0, said.err
    assert np.isfinite(open_study(tmp_path / "run")["history"].loss).all()
    said = command("evaluate", "accuracy-in-noise", tmp_path / "run", "--set", "snrs=[0, 20]", "-o", tmp_path / "out")
    assert said.status == 0, said.err
    said = command("evaluate", "robustness", tmp_path / "run", "--set", "apgd_steps=2", "-o", tmp_path / "out")
    assert said.status == 0, said.err


def test_options_of_an_augmentation_that_is_not_there_are_named(command: Any, spoken: Path, tmp_path: Path) -> None:
    given = ("--model", "coch-cnn-digits", "--stimuli", spoken, "--setting", "augment_options.backgrund.snr_low=0")
    said = command("train", "sound-in-noise", *given, "-o", tmp_path / "run")
    assert said.status == 2
    assert "unknown augmentation with options: 'backgrund'; did you mean 'audio:background'?" in said.error
