"""Training set-ups for audio networks (Feather et al. 2023, Methods), and their controls.

All are trained on sounds in pink noise at −10 to 10 dB; ``augment_options.background.noise`` selects other noise.
Attacks make five steps of half their epsilon from a random start, on the waveform or on the cochleagram.
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


def _attacked(attack: str, epsilon: float, layer: str = "") -> Recipe:
    options = {"epsilon": epsilon, "steps": 5, "step_size": epsilon / 2}
    return Recipe(
        perturbation=attack, perturbation_options=options, check=attack, check_options=options, layer=layer, **_COMMON
    )
