"""The protocol of a card: what is made and measured, the same for every network of a version.

Whatever changes a card's numbers is stated here; a change of it is a new version, whose cards are not compared with
those of an earlier one. Another measure is one more entry of `evaluations`, and a field of the card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...framework.study import ModelReference, Reference, Study

VERSION = 2

LAYERS = 5
"""Number of layers, evenly spaced in depth, the first and the last of the network's included."""

SEED = 0
"""Seed of the study and of every evaluation."""

SYNTHESIS: Mapping[str, Any] = {"preset": "fast", "steps": 300}
"""Settings of the synthesis; one metamer of each stimulus at each layer."""

BUNDLED: Mapping[str, Reference] = {
    "image": Reference("vision:natural", {"limit": 7}),
    "waveform": Reference("audio:spoken-digits", {"limit": 10}),
}
"""Stimuli by kind of domain, unless others are given; of the seven photographs six show a class of ImageNet."""

BUNDLED_NULL: Mapping[str, Reference] = {
    "image": Reference("vision:natural"),
    "waveform": Reference("audio:spoken-digits"),
}
"""Signals of the null where the stimuli are the bundled ones: more of the same."""

EPSILONS: Mapping[str, Sequence[float]] = {
    "image": (1 / 255, 2 / 255, 4 / 255, 8 / 255),
    "waveform": (0.0005, 0.001, 0.002, 0.004),
}
"""Sizes of attacks in Linf by kind of domain, in units of the range of pictures and of the full scale of sounds."""


VARIANTS, PUSHES = 2, 50
"""Number of metamers of each stimulus that are pushed apart, and of updates that do so.

The easiest and the hardest are of twice as many metamers, those that these began with included.
"""


def searched(stimuli: int) -> int:
    """Number of stimuli whose metamers are pushed apart, the first ones: two in five, which bounds a card's time."""
    return math.ceil(2 * stimuli / 5)


def study(model: ModelReference, kind: str, stimuli: Reference | None) -> Study:
    """Return the study of a card: metamers of one network.

    Parameters
    ----------
    model
        The network, with its layers.
    kind
        Kind of its domain.
    stimuli
        Natural signals, which are those of the null, too; None for the bundled ones.
    """
    return Study(
        models=(model,),
        stimuli=stimuli or BUNDLED[kind],
        null_stimuli=None if stimuli else BUNDLED_NULL[kind],
        synthesis=SYNTHESIS,
        seed=SEED,
    )


def evaluations(kind: str, unit: float, jury: Sequence[str], labels: str, stimuli: int) -> dict[str, dict[str, Any]]:
    """Return the evaluators that measure a card's study, in order, with their options.

    Parameters
    ----------
    kind
        Kind of the network's domain.
    unit
        The unit of its sizes, see `Domain`.
    jury
        Names of the networks that recognise.
    labels
        Categories in which they answer; empty for each one's own classes.
    stimuli
        Number of stimuli.
    """
    asked = {"recognisers": list(jury), **({"labels": labels} if labels else {})}
    epsilons = [epsilon * unit for epsilon in EPSILONS[kind]]
    return {
        "recognition": asked,
        "robustness": {"norm": "linf", "epsilons": epsilons, "steps": 20, "apgd_steps": 20},
        "shift-consistency": {},
        "character": {},
        "diversity": {"k": VARIANTS, "steps": PUSHES, "limit": searched(stimuli), **asked},
    }
