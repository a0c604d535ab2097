"""Training set-ups for audio networks (Feather et al. 2023, Methods), and their controls.

All are trained on sounds in pink noise at −10 to 10 dB; ``augment_options.background.noise`` selects other noise, such
as a folder of recorded backgrounds, of which each sound then gets a random stretch. Attacks make five steps of half
their epsilon from a random start, on the waveform or on the cochleagram. Batches of 128 and a learning rate of 0.01 are
those of the paper's CochCNN9; the recipes ``word-…`` have those of its CochResNet50, 256 and 0.1. Both have 150 epochs,
with a tenth of the rate after every 50.
"""

from __future__ import annotations

from typing import Any

from ...framework.recipes import Recipe

_COMMON: dict[str, Any] = {
    "learning_rate": 0.01,
    "augment": ("audio:background",),
    "augment_options": {"background.snr_low": -10.0, "background.snr_high": 10.0},
    "optimizer_options": {"momentum": 0.9, "weight_decay": 1e-4},
}
_WORDS: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 256}
_L2, _LINF = 1.0, 0.002


def sound_in_noise() -> Recipe:
    """Train on sounds in noise."""
    return Recipe(**_COMMON)


def adversarial_waveform_l2() -> Recipe:
    """Train on adversarial waveforms (PGD, L2 1)."""
    return _attacked("robustness:pgd_l2", _L2)


def adversarial_waveform_linf() -> Recipe:
    """Train on adversarial waveforms (PGD, Linf 0.002)."""
    return _attacked("robustness:pgd_linf", _LINF)


def adversarial_cochleagram_l2() -> Recipe:
    """Train on adversarial cochleagrams (PGD, L2 1)."""
    return _attacked("robustness:pgd_l2", _L2, layer="cochleagram")


def random_waveform_l2() -> Recipe:
    """Train on waveforms with random perturbations of L2 length 1: the control of `adversarial_waveform_l2`."""
    return Recipe(perturbation="robustness:random_l2", perturbation_options={"epsilon": _L2}, **_COMMON)


def random_waveform_linf() -> Recipe:
    """Train on waveforms with random perturbations of ±0.002: the control of `adversarial_waveform_linf`."""
    return Recipe(perturbation="robustness:random_linf", perturbation_options={"epsilon": _LINF}, **_COMMON)


def random_cochleagram_l2() -> Recipe:
    """Train on cochleagrams with random perturbations of L2 length 1: the control of `adversarial_cochleagram_l2`."""
    return Recipe(
        perturbation="robustness:random_l2", perturbation_options={"epsilon": _L2}, layer="cochleagram", **_COMMON
    )


def word_standard() -> Recipe:
    """Train on words over backgrounds."""
    return sound_in_noise().changed(_WORDS)


def word_adversarial_waveform_l2() -> Recipe:
    """Train on adversarial waveforms of words over backgrounds (PGD, L2 1)."""
    return adversarial_waveform_l2().changed(_WORDS)


def word_adversarial_waveform_linf() -> Recipe:
    """Train on adversarial waveforms of words over backgrounds (PGD, Linf 0.002)."""
    return adversarial_waveform_linf().changed(_WORDS)


def word_adversarial_cochleagram_l2() -> Recipe:
    """Train on adversarial cochleagrams of words over backgrounds (PGD, L2 1)."""
    return adversarial_cochleagram_l2().changed(_WORDS)


def word_random_waveform_l2() -> Recipe:
    """Train on waveforms with random perturbations: the control of `word_adversarial_waveform_l2`."""
    return random_waveform_l2().changed(_WORDS)


def word_random_waveform_linf() -> Recipe:
    """Train on waveforms with random perturbations: the control of `word_adversarial_waveform_linf`."""
    return random_waveform_linf().changed(_WORDS)


def word_random_cochleagram_l2() -> Recipe:
    """Train on cochleagrams with random perturbations: the control of `word_adversarial_cochleagram_l2`."""
    return random_cochleagram_l2().changed(_WORDS)


def _attacked(attack: str, epsilon: float, layer: str = "") -> Recipe:
    options = {"epsilon": epsilon, "steps": 5, "step_size": epsilon / 2}
    return Recipe(
        perturbation=attack, perturbation_options=options, check=attack, check_options=options, layer=layer, **_COMMON
    )
