"""Changes of a sound that do not change its category: background noise and loudness."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from ...analysis.attacks.balls import check_signals, draw
from ...analysis.transformations.levels import amplified, with_noise
from ...framework.checks import number
from ...framework.domains import WaveformDomain
from ...framework.errors import MetameryError
from ...framework.manager import Plugins
from ...framework.models import Model
from ...framework.protocols import Perturbation
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.study import Reference, load_stimuli

NOISES = ("white", "pink")

MAX_DECIBELS = 200.0
"""Largest change of a level, up or down: beyond it the sound or the noise vanishes in 32 bits."""

MAX_SOUNDS = 500
"""Largest number of background sounds held in memory; from a larger set this many are taken, evenly spread."""

_QUIET = 1e-4  # a stretch 80 dB below its sound's level is a pause, which cannot serve as noise
_MAX_DRAWS = 100


def background(
    *, plugins: Plugins, noise: str = "pink", snr_low: float = -10.0, snr_high: float = 10.0
) -> Perturbation:
    """Add noise at a signal-to-noise ratio drawn evenly from `snr_low` to `snr_high` dB (Feather et al. 2023, Methods).

    Signal and noise are mixed, set to the signal's root mean square, and clamped to the domain's range.

    Parameters
    ----------
    noise
        Kind of noise: ``white``, ``pink`` (power falling by 3 dB per octave), or sounds by name or folder. For each
        signal a stretch of a random sound is drawn; a shorter sound is repeated. A silent stretch, 80 dB or more
        below its sound's level, is drawn again; silent sounds are left out, with a warning.
    snr_low, snr_high
        Bounds of the signal-to-noise ratio in dB; equal for a fixed ratio.

    Raises
    ------
    MetameryError
        An option is out of bounds; or, when it is run, the model takes pictures, all the sounds are silent, or 100
        stretches in a row are.
    """
    for name, value in (("snr_low", snr_low), ("snr_high", snr_high)):
        number(name, value, -MAX_DECIBELS, MAX_DECIBELS, unit=" (dB)")
    if snr_low > snr_high:
        raise MetameryError(f"snr_low is {snr_low:g}, expected at most snr_high, {snr_high:g}")
    sounds = None if noise in NOISES else _Sounds(load_stimuli(plugins, Reference(noise)))

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


def gain(low: float = -6.0, high: float = 6.0) -> Perturbation:
    """Make each sound louder or softer, by `low` to `high` dB, drawn evenly, and clamp it to the domain's range."""
    for name, value in (("low", low), ("high", high)):
        number(name, value, -MAX_DECIBELS, MAX_DECIBELS, unit=" (dB)")
    if low > high:
        raise MetameryError(f"low is {low:g}, expected at most high, {high:g}")

    def perturb(model: Model, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        check_signals(signals, model.domain)
        domain = _waveforms(model, "gain")
        decibels = low + (high - low) * draw(torch.rand, signals.new_empty(len(signals), 1), generator)
        return amplified(signals.detach(), decibels).clamp(domain.low, domain.high)

    return perturb


def mixed(signals: torch.Tensor, noise: torch.Tensor, snr: torch.Tensor, domain: WaveformDomain) -> torch.Tensor:
    """Add noise as `with_noise` does, and clamp to the domain's range."""
    return with_noise(signals, noise, snr).clamp(domain.low, domain.high)


class _Sounds:
    """Background sounds that are not silent, resampled once for each sample rate."""

    def __init__(self, stimuli: Stimuli) -> None:
        self._stimuli = stimuli
        self._kept: dict[int, Sequence[torch.Tensor]] = {}  # by sample rate

    def stretches(self, count: int, domain: WaveformDomain, generator: torch.Generator) -> torch.Tensor:
        """Draw stretches of the domain's length, ``(count, T)``."""
        sounds = self._at(domain)
        return torch.stack([_stretch(sounds, domain.samples, generator) for _ in range(count)])

    def _at(self, domain: WaveformDomain) -> Sequence[torch.Tensor]:
        if domain.sample_rate not in self._kept:
            step = max(1, len(self._stimuli) // MAX_SOUNDS)
            self._kept[domain.sample_rate] = self._loaded(range(0, len(self._stimuli), step), domain)
        return self._kept[domain.sample_rate]

    def _loaded(self, indices: Sequence[int], domain: WaveformDomain) -> Sequence[torch.Tensor]:
        """Return the sounds at these indices of the stimuli, except the silent ones."""
        kept, silent = [], []
        for index in indices:
            stimulus = self._stimuli[index]
            if (stimulus.signal == stimulus.signal.flatten()[:1]).all():
                silent.append(stimulus.name)
            else:
                kept.append(_full_length(stimulus, domain))
        silence = f"of {len(indices)} background sounds {len(silent)} are silent, such as '{next(iter(silent), '')}'"
        if not kept:
            raise MetameryError(f"{silence}: expected at least one that is not")
        if silent:
            warnings.warn(f"{silence}; they are left out", stacklevel=2)
        return kept


def _stretch(sounds: Sequence[torch.Tensor], samples: int, generator: torch.Generator) -> torch.Tensor:
    """Draw a stretch ``(samples,)`` of one of the sounds, repeatedly until it is not a pause."""
    for _ in range(_MAX_DRAWS):
        sound = sounds[int(torch.randint(len(sounds), (), generator=generator, device=generator.device))]
        repeats = -(-samples // len(sound)) + 1
        first = int(torch.randint(len(sound), (), generator=generator, device=generator.device))
        stretch = sound.repeat(repeats)[first : first + samples]
        if stretch.std() > _QUIET * sound.std():
            return stretch
    raise MetameryError(
        f"{_MAX_DRAWS} stretches of the background sounds in a row are silent: expected sounds with fewer pauses"
    )


def _full_length(stimulus: Stimulus, domain: WaveformDomain) -> torch.Tensor:
    """Resample a sound to the domain's rate, at its full length."""
    rate = stimulus.sample_rate or domain.sample_rate
    length = -(-len(stimulus.signal) * domain.sample_rate // rate)
    return replace(domain, samples=length).fit(stimulus)


def _pink(noise: torch.Tensor) -> torch.Tensor:
    """Filter white noise ``(B, T)`` so that its power falls with the frequency."""
    spectrum = torch.fft.rfft(noise)
    shape = torch.arange(spectrum.shape[-1], device=noise.device, dtype=noise.dtype).clamp_min(1).rsqrt()
    filtered: torch.Tensor = torch.fft.irfft(spectrum * shape, n=noise.shape[-1])
    return filtered


def _waveforms(model: Model, name: str) -> WaveformDomain:
    if not isinstance(model.domain, WaveformDomain):
        raise MetameryError(f"perturbation '{name}' is for sounds, and the model takes pictures")
    return model.domain
