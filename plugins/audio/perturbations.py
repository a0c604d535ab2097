"""Changes of a sound that leave what is said as it is: background noise and loudness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ...framework.domains import WaveformDomain
from ...framework.errors import MetameryError
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.study import Use, load_stimuli
from ...training.balls import check_signals, draw

Perturb = Callable[[Model, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]

NOISES = ("white", "pink")

MOST_SOUNDS = 500
"""Background sounds that are held in memory, evenly spread over those there are."""


def background(*, plugins: Plugins, noise: str = "pink", snr_low: float = -10.0, snr_high: float = 10.0) -> Perturb:
    """Add noise at a signal-to-noise ratio drawn evenly from `snr_low` to `snr_high` dB (Feather et al. 2023, Methods).

    Signal and noise are mixed, set to the signal's root mean square, and clamped to the domain's range.

    Parameters
    ----------
    noise
        ``white``, ``pink`` (power falling by 3 dB an octave), or sounds by name or folder, of which one is drawn for
        each signal, and a stretch of it, repeated where it is shorter.
    snr_low, snr_high
        In dB; the same twice for a fixed ratio.
    """
    for name, value in (("snr_low", snr_low), ("snr_high", snr_high)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise MetameryError(f"{name} is {value!r}, expected a number of dB")
    if snr_low > snr_high:
        raise MetameryError(f"snr_low is {snr_low:g}, above snr_high, {snr_high:g}")
    sounds = None if noise in NOISES else _Sounds(load_stimuli(plugins, Use(noise)))

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        check_signals(signals, model.domain)
        domain = _waveforms(model, "background")
        if sounds is not None:
            added = sounds.stretches(len(signals), domain, generator).to(signals)
        else:
            added = draw(torch.randn, signals, generator)
            added = _pink(added) if noise == "pink" else added
        ratio = draw(torch.rand, signals.new_empty(len(signals), 1), generator)
        return mixed(signals.detach(), added, snr_low + (snr_high - snr_low) * ratio, domain)

    return perturb


def gain(low: float = -6.0, high: float = 6.0) -> Perturb:
    """Make each sound louder or softer, by dB drawn evenly from `low` to `high`, clamped to the domain's range."""
    if low > high:
        raise MetameryError(f"low is {low:g}, above high, {high:g}")

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        check_signals(signals, model.domain)
        domain = _waveforms(model, "gain")
        decibels = low + (high - low) * draw(torch.rand, signals.new_empty(len(signals), 1), generator)
        return (signals.detach() * 10 ** (decibels / 20)).clamp(domain.low, domain.high)

    return perturb


def mixed(signals: torch.Tensor, noise: torch.Tensor, snr: torch.Tensor, domain: WaveformDomain) -> torch.Tensor:
    """Add noise ``(B, T)`` at signal-to-noise ratios ``(B, 1)`` in dB; the level stays, and so does silence."""
    level = _rms(signals)
    added = noise / _rms(noise).clamp_min(torch.finfo(noise.dtype).tiny) * level * 10 ** (-snr / 20)
    sum_ = signals + added
    scaled = sum_ * (level / _rms(sum_).clamp_min(torch.finfo(sum_.dtype).tiny))
    return scaled.clamp(domain.low, domain.high)


class _Sounds:
    """Background sounds, resampled once for the domain that they are asked for."""

    def __init__(self, stimuli: Stimuli) -> None:
        self._stimuli = stimuli
        self._kept: dict[int, Sequence[torch.Tensor]] = {}  # by sample rate

    def stretches(self, count: int, domain: WaveformDomain, generator: torch.Generator) -> torch.Tensor:
        """Draw stretches of the domain's length, ``(count, T)``."""
        sounds = self._at(domain)
        rows = []
        for _ in range(count):
            sound = sounds[int(torch.randint(len(sounds), (), generator=generator))]
            repeats = -(-domain.samples // len(sound)) + 1
            first = int(torch.randint(len(sound), (), generator=generator))
            rows.append(sound.repeat(repeats)[first : first + domain.samples])
        return torch.stack(rows)

    def _at(self, domain: WaveformDomain) -> Sequence[torch.Tensor]:
        if domain.sample_rate not in self._kept:
            step = max(1, len(self._stimuli) // MOST_SOUNDS)
            chosen = [self._stimuli[index] for index in range(0, len(self._stimuli), step)]
            self._kept[domain.sample_rate] = [_whole(stimulus, domain) for stimulus in chosen]
        return self._kept[domain.sample_rate]


def _whole(stimulus: Stimulus, domain: WaveformDomain) -> torch.Tensor:
    """A sound at the domain's rate, its whole length."""
    rate = stimulus.sample_rate or domain.sample_rate
    length = -(-len(stimulus.signal) * domain.sample_rate // rate)
    return replace(domain, samples=length).fit(stimulus)


def _pink(noise: torch.Tensor) -> torch.Tensor:
    """White noise ``(B, T)``, filtered so that its power falls with the frequency."""
    spectrum = torch.fft.rfft(noise)
    shape = torch.arange(spectrum.shape[-1], device=noise.device, dtype=noise.dtype).clamp_min(1).rsqrt()
    filtered: torch.Tensor = torch.fft.irfft(spectrum * shape, n=noise.shape[-1])
    return filtered


def _rms(signals: torch.Tensor) -> torch.Tensor:
    return signals.square().mean(dim=-1, keepdim=True).sqrt()


def _waveforms(model: Model, name: str) -> WaveformDomain:
    if not isinstance(model.domain, WaveformDomain):
        raise MetameryError(f"perturbation '{name}' is of sounds, and the model takes pictures")
    return model.domain
