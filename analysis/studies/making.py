"""Making the units of one model of a study, and storing each when it is ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.store import StudyStore
from ..synthesis.driver import NaturalSignals, make_metamers
from ..synthesis.procedure import Procedure
from .parts import Part
from .verdicts import Judge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def make_units(
    store: StudyStore,
    part: Part,
    procedure: Procedure,
    seed: int,
    others: NDArray[np.bool_],
    *,
    device: torch.device,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Make metamers of one model, unit by unit.

    Parameters
    ----------
    store
        Results of the study.
    part
        The model.
    procedure, seed
        Those of the study.
    others
        Which metamers are not to be made, ``(layer, stimulus, seed)``; units are made entirely.
    device
        Device to compute on.
    progress
        Display of the progress, in updates of single signals.
    check
        Called before each write; raises an error if the study must no longer be written to.
    """
    path = f"models/{part.key}"
    judge = Judge(store, path)
    arrays = store.arrays(f"{path}/metamers")
    names = [str(name) for name in store.read("stimuli", "stimulus")]
    answers = _Answers(part.model, names, json.loads(store.attributes["answers"]))

    def write(group: str, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> None:
        check()
        if group == "match":
            values = {**values, **judge.verdicts(region, values)}
        elif group == "metamers" and "made_on" not in arrays:  # a study of an earlier version
            values = {name: value for name, value in values.items() if name != "made_on"}
        store.write(f"{path}/{group}", region, values)

    def natural(stimuli: slice) -> torch.Tensor:
        return torch.from_numpy(store.read_region(f"{path}/stimuli", "signal", stimuli))

    make_metamers(
        part.model,
        NaturalSignals(names, natural, answers.grade),
        part.layers,
        part.measured,
        procedure,
        seed=seed,
        write=write,
        done=others,
        null=judge.null,
        metrics=[str(name) for name in store.read(f"{path}/match", "metric")],
        device=device,
        progress=progress,
    )


@dataclass(frozen=True, eq=False)
class _Answers:
    """The right answers to each stimulus, by label space."""

    model: Model
    names: list[str]
    known: Mapping[str, Mapping[str, list[str | int]]]

    def grade(self, stimulus: int, predicted: int) -> int:
        """Whether a class is a right answer: 1, 0, or −1 where that is not known."""
        right = self.model.class_numbers(self.known[self.names[stimulus]].get(self.model.label_space, ()))
        return -1 if predicted < 0 or not right else int(predicted in right)  # −1: the model has no class for it
