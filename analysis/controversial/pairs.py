"""Which two networks disagree about which two stimuli, and at which layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ...framework.errors import MetameryError
from ...framework.joint import is_joint
from ...framework.randomness import derived_seed
from ..studies.metamers import ModelMetamers


@dataclass(frozen=True, eq=False)
class Contest:
    """Two networks, each with a layer: a signal is to match one stimulus in the first and another in the second.

    Parameters
    ----------
    one, layer
        Network that takes the signal for the stimulus, and its layer.
    other, other_layer
        Network that takes it for the other stimulus, and its layer.
    """

    one: ModelMetamers
    layer: str
    other: ModelMetamers
    other_layer: str

    @property
    def site(self) -> tuple[str, str]:
        """The two networks and their layers, as one model and layer: ``A against B``, ``a / b``."""
        return f"{self.one.name} against {self.other.name}", f"{self.layer} / {self.other_layer}"


def contests(made: Sequence[ModelMetamers], objective: str) -> list[Contest]:
    """Return each ordered pair of models; for the objective ``match`` at layers of the same relative depth.

    Of a study's layers, joint ones are left out. There are as many as the model with the fewest has; both orders of two
    models have the same pairs of layers.
    """
    found = []
    for one, other in permutations(made, 2):
        if objective == "classes":
            found.append(Contest(one, "output", other, "output"))
            continue
        layers, theirs = ([layer for layer in each.layers if not is_joint(layer)] for each in (one, other))
        count = min(len(layers), len(theirs))
        depths = [index / max(1, count - 1) for index in range(count)]
        found += [
            Contest(one, own[0], other, own[1])
            for own in ([each[round(at * (len(each) - 1))] for each in (layers, theirs)] for at in depths)
        ]
    if not found:
        raise MetameryError("the study has joint layers only: expected single layers, or objective=classes")
    return found


def partners(one: ModelMetamers, other: ModelMetamers, categories: Sequence[str], seed: int) -> dict[int, int]:
    """Return for stimuli, by index, another stimulus each: of another category, and with another class in both models.

    Stimuli that one of the two models is known to get wrong are left out. Of several partners one is drawn, from the
    seed and the stimulus's name; both orders of two models have the same.

    Parameters
    ----------
    categories
        What each stimulus shows.
    """
    classes = np.stack([each.results.natural["predicted"].values[: len(categories)] for each in (one, other)])
    right = np.stack([each.results.natural["correct"].values[: len(categories)] for each in (one, other)])
    usable = (right != 0).all(axis=0)
    found = {}
    for index, name in enumerate(one.stimuli):
        others = [
            candidate
            for candidate in range(len(categories))
            if usable[[index, candidate]].all()
            and categories[candidate] != categories[index]
            and ((classes[:, candidate] != classes[:, index]) | (classes[:, index] < 0)).all()
        ]
        if others:
            draw = np.random.default_rng(derived_seed(seed, "controversial", name) % 2**63)
            found[index] = others[draw.integers(len(others))]
    return found
