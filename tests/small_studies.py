"""Small studies with known signals, to build experiments from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from metamery.framework.domains import Domain, ImageDomain, WaveformDomain
from metamery.framework.store import StudyStore
from studies import make_study

NAMES = [f"photo{number:02}" for number in range(12)]
CATEGORIES = ["cat", "dog", "espresso"]
LAYERS = ["conv1", "blocks[0].relu", "output"]
PICTURE = ImageDomain(3, 20, 24)
SOUND = WaveformDomain(800, 8000)


def study_of(folder: Path, domains: dict[str, Domain], finished: bool = False) -> Path:
    """Make a study of twelve stimuli in three categories."""
    make_study(folder, domains, NAMES, finished=finished)
    categories = [CATEGORIES[number % 3] for number in range(len(NAMES))]
    StudyStore.reopen(folder).write("stimuli", {}, {"category": np.array(categories, dtype=object)})
    return folder


def pictures(folder: Path, finished: bool = False) -> Path:
    """Make a study of pictures with two models; unless finished, one metamer of each has failed and one is missing."""
    return study_of(folder, {"vision:net": PICTURE, "vision:other": PICTURE}, finished)


def sounds(folder: Path) -> Path:
    """Make a study of sounds with one model."""
    return study_of(folder, {"audio:ear": SOUND})
