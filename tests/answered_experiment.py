"""A small experiment with its study, for tests of what comes after it was run."""

from __future__ import annotations

from pathlib import Path

from metamery.analysis.experiment.key import NATURAL, Item, Key
from studies import IMAGE, make_study

LAYERS = ["conv1", "conv2", "output"]
MODEL = "vision:net"
CHOICES = ("bear", "bird", "boat", "dog")
CATCH = 4


def small_experiment(folder: Path, stimuli: int = 40, lists: int = 4, layers: list[str] = LAYERS) -> Key:
    """Write the key of an experiment: each participant gets each stimulus in one of the conditions, and catch trials.

    The item of stimulus 3 at layer 2 is ``item-3-2``, that of its natural signal ``item-3-0``.
    """
    conditions = (NATURAL, *layers)
    items = {
        f"item-{stimulus}-{row}": Item(
            role="main",
            answer=CHOICES[stimulus % len(CHOICES)],
            stimulus=f"s{stimulus}",
            model="" if layer == NATURAL else MODEL,
            layer=layer,
            seed=-1 if layer == NATURAL else 0,
            shown="natural" if layer == NATURAL else "metamer",
        )
        for stimulus in range(stimuli)
        for row, layer in enumerate(conditions)
    }
    items |= {f"catch-{choice}": Item("catch", choice, shown="icon") for choice in CHOICES}
    sequences = []
    for list_ in range(lists):
        of_list = [f"item-{stimulus}-{(stimulus + list_) % len(conditions)}" for stimulus in range(stimuli)]
        half = stimuli // 2
        first, second = of_list[:half], of_list[half:]
        sequences.append(((*first, "catch-bear", "catch-bird"), (*second, "catch-boat", "catch-dog")))
    key = Key(
        "6f1c2d1e-0000-5000-8000-000000000001",
        "What do you see?",
        "picture",
        "ab" * 32,
        CHOICES,
        items,
        tuple(sequences),
        {MODEL: tuple(layers)},
    )
    folder.mkdir(parents=True, exist_ok=True)
    key.write(folder)
    return key


def small_study(folder: Path, stimuli: int = 40, layers: list[str] = LAYERS) -> Path:
    """Make the study that `small_experiment` was built from; the network agrees with itself on each metamer."""
    names = [f"s{stimulus}" for stimulus in range(stimuli)]
    return make_study(folder, {MODEL: IMAGE}, names, finished=True, layers=layers, seeds=[0])
