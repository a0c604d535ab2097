"""Front ends for sounds: each equal to the processor of transformers, and a gradient reaches every sample."""

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError
from metamery.plugins.huggingface.front_ends import ClapMel, KaldiBank, Standardise, WhisperLogMel

transformers = pytest.importorskip("transformers", reason="transformers is not installed (metamery[huggingface])")

RATE = 16000


def sounds(samples, count=100):
    """Noises, and harmonic sounds with an envelope, a weak noise and a pause, as in speech, at many levels."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(samples) / RATE
    noise = torch.randn(count, samples, generator=generator)
    pitch = 80 + 300 * torch.rand(count, 1, generator=generator)
    phase = 2 * torch.pi * torch.cumsum(pitch * (1 + 0.1 * torch.sin(5 * time)) / RATE, 1)
    voice = sum(torch.sin(harmonic * phase) / harmonic for harmonic in range(1, 8))
    envelope = torch.sin(3 * time).abs() * (time % 0.5 > 0.1)
    natural = voice * envelope + 0.01 * noise
    level = 10 ** (-2 * torch.rand(count, 1, generator=generator))
    mixed = torch.where(torch.arange(count)[:, None] % 2 == 0, noise, natural)
    return level * mixed / mixed.abs().amax(1, keepdim=True)


def whisper(signals, **options):
    processor = transformers.WhisperFeatureExtractor(**options)
    return processor(list(signals.numpy()), sampling_rate=RATE)["input_features"]


def ast(signals):
    return transformers.ASTFeatureExtractor(max_length=100)(list(signals.numpy()), sampling_rate=RATE)["input_values"]


def clap(truncation, padding):
    def process(signals):
        processor = transformers.ClapFeatureExtractor(
            sampling_rate=RATE, max_length_s=1, frequency_min=50, frequency_max=8000, truncation=truncation,
            padding=padding,
        )  # fmt: skip
        features = np.array(processor(list(signals.numpy()), sampling_rate=RATE)["input_features"])
        assert all(np.array_equal(features[:, 0], features[:, channel]) for channel in range(features.shape[1]))
        return features[:, :1]

    return process


def standardised(signals):
    return transformers.Wav2Vec2FeatureExtractor()(list(signals.numpy()), sampling_rate=RATE)["input_values"]


def clap_mel(samples, **options):
    return ClapMel(samples, RATE, RATE, high=8000.0, **options)


CASES = {  # front end, its processor, and the largest difference: of the log-mel in its own units, in dB for CLAP
    "whisper": (WhisperLogMel(RATE), lambda x: whisper(x, chunk_length=1), 2e-5),
    "whisper, 128 bands": (
        WhisperLogMel(RATE, bands=128),
        lambda x: whisper(x, chunk_length=1, feature_size=128),
        5e-5,
    ),
    "ast": (KaldiBank(400 + 99 * 160, 100), ast, 1e-5),
    "ast, padded": (KaldiBank(RATE // 2, 100), ast, 1e-5),
    "clap": (clap_mel(RATE), clap("rand_trunc", "repeatpad"), 0.01),
    "clap with fusion": (clap_mel(RATE, slaney=False), clap("fusion", "repeatpad"), 0.01),
    "clap, repeated": (clap_mel(6000), clap("rand_trunc", "repeatpad"), 0.01),
    "clap, repeated and cut": (clap_mel(6000, repeat="repeat"), clap("rand_trunc", "repeat"), 0.01),
    "clap, padded": (clap_mel(6000, repeat="pad"), clap("rand_trunc", "pad"), 0.01),
    "wav2vec2": (Standardise(4000), standardised, 1e-5),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_processor(case):
    front_end, processor, tolerance = CASES[case]
    signals = sounds(front_end.samples)
    expected = torch.as_tensor(np.array(processor(signals))).float()
    torch.testing.assert_close(front_end(signals), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("level", [1.0, 1e-7], ids=["sounds", "near silence"])
def test_a_gradient_reaches_every_sample(case, level):
    front_end, _, _ = CASES[case]
    signals = (level * sounds(front_end.samples, 4) + level * 1e-3).requires_grad_()
    features = front_end(signals)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((features * weights).sum(), signals)
    assert bool(gradient.isfinite().all())
    seen = 400 + (RATE // 2 - 400) // 160 * 160 if case == "ast, padded" else front_end.samples  # whole windows
    assert bool((gradient[:, :seen] != 0).all())
    assert not bool(gradient[:, seen:].any())


def test_silence_has_a_finite_gradient():
    for front_end, _, _ in CASES.values():
        signals = torch.zeros(1, front_end.samples, requires_grad=True)
        (gradient,) = torch.autograd.grad(front_end(signals).sum(), signals)
        assert bool(gradient.isfinite().all())


def test_signals_do_not_depend_on_their_batch_and_autocast_does_not_reach_them():
    for front_end, _, _ in CASES.values():
        signals = sounds(front_end.samples, 2)
        together = front_end(signals)
        torch.testing.assert_close(front_end(signals[1:]), together[1:], rtol=0, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(front_end(signals), together)


def test_signals_of_another_length():
    with pytest.raises(MetameryError, match=r"signals of shape \(1, 3999\), the front end takes \(B, 4000\)"):
        Standardise(4000)(torch.zeros(1, 3999))
