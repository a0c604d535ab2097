"""What an experiment consists of, decided before any file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from ...framework.command_options import folder_or_name
from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.study import Reference, load_stimuli
from ..studies.stored_stimuli import known_stimuli
from .allocation import shuffled, stratified
from .alternatives import stated_alternatives
from .answers import choices_of, right_answers
from .conditions import Condition, chosen_models, conditions_of
from .key import NATURAL, Item

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from ...framework.manager import Plugins
    from ...framework.model_results import ModelResults
    from .settings import ExperimentSettings

KINDS = {"image": "picture", "waveform": "sound"}
"""Kind of an experiment for each kind of domain."""


@dataclass(frozen=True, eq=False)
class Extra:
    """A file besides the main part's: of practice, or of a catch trial.

    Parameters
    ----------
    item
        What it is.
    signal
        Its signal where that is not a natural signal of the study, nor an icon or a word.
    """

    item: Item
    signal: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """What an experiment consists of.

    Parameters
    ----------
    settings
        Settings of the experiment.
    kind
        ``picture`` or ``sound``.
    models
        Models of the study whose signals are shown.
    conditions
        Conditions of the main part.
    right
        Right answer to each original of the main part.
    choices
        Answers that participants choose from.
    alternatives
        Answers that are offered on a signal, by model, layer and stimulus, where these are not all.
    practice, catch
        Files of the practice trials in their order, and of the catch trials of each list.
    remarks
        What is not as asked, a line each.
    """

    settings: ExperimentSettings
    kind: str
    models: Sequence[ModelResults]
    conditions: Sequence[Condition]
    right: dict[str, str]
    choices: tuple[str, ...]
    alternatives: Mapping[tuple[str, str, str], tuple[str, ...]]
    practice: Sequence[Extra]
    catch: Sequence[Extra]
    remarks: Sequence[str]

    @property
    def domain(self) -> Domain:
        """The domain of the largest pictures or the longest sounds."""
        return max((model.domain for model in self.models), key=lambda domain: int(np.prod(domain.shape)))

    @property
    def reference(self) -> Condition:
        """The natural signals of the first model, which practice and catch trials show."""
        return Condition(self.models[0], NATURAL, "")


def make_plan(
    tree: xr.DataTree, models: Sequence[ModelResults], settings: ExperimentSettings, plugins: Plugins
) -> Plan:
    """Decide what an experiment consists of.

    Parameters
    ----------
    tree, models
        Results of a study, and those of its models.
    settings
        Settings of the experiment.
    plugins
        Plugins in which stimuli for practice are looked up.

    Raises
    ------
    MetameryError
        The settings name what the study does not hold, or parts that its signals cannot have.
    """
    chosen = chosen_models(models, settings.conditions)
    kind = KINDS[chosen[0].domain.kind]
    if kind == "picture" and (of_sounds := [part for part in ("level", "headphones") if settings.has(part)]):
        raise MetameryError(f"part '{of_sounds[0]}' is for sounds, and the study holds pictures: leave it out of parts")
    every = right_answers(known_stimuli(tree, chosen[0].stimuli), settings.answers)
    choices = choices_of(every, settings.answers)
    main = stratified(every, settings.conditions.stimuli or len(every), settings.seed)
    right = {name: every[name] for name in main}
    rest = {name: answer for name, answer in every.items() if name not in right}
    remarks: list[str] = []
    practice = _practice(settings, every, rest, chosen[0].domain, plugins, remarks) if settings.has("practice") else []
    for extra in practice:
        rest.pop(extra.item.stimulus, None)
    if kind == "picture":
        catch = _signs(settings, choices)
    else:
        catch = [Extra(Item("catch", every[name], name, "", NATURAL, -1, "natural")) for name in rest or right]
        if settings.catch.trials and not rest:
            remarks.append("catch trials play natural sounds that are also originals of the main part")
    trials = settings.catch.trials
    catch = list(islice(cycle(shuffled(catch, settings.seed, "catch")), trials)) if catch else []
    conditions = conditions_of(chosen, settings.conditions)
    alternatives = stated_alternatives(tree, right, choices) if settings.answers.alternatives else {}
    return Plan(settings, kind, chosen, conditions, right, choices, alternatives, practice, catch, remarks)


def _signs(settings: ExperimentSettings, choices: Sequence[str]) -> list[Extra]:
    """Return the icon or the word of each answer."""
    return [Extra(Item("catch", name, shown="icon")) for name in choices]


def _practice(
    settings: ExperimentSettings,
    every: dict[str, str],
    rest: dict[str, str],
    domain: Domain,
    plugins: Plugins,
    remarks: list[str],
) -> list[Extra]:
    """Return the practice trials: stimuli of their own, or those of the study that the main part leaves."""
    wanted = settings.practice.feedback + settings.practice.free
    if settings.practice.stimuli:
        given = load_stimuli(plugins, folder_or_name(plugins, Reference(settings.practice.stimuli)))
        loaded = {each.name: each for each in given}
        answers = right_answers(loaded.values(), settings.answers)
        if strange := next(
            (name for name, answer in answers.items() if answer not in choices_of(every, settings.answers)), ""
        ):
            raise MetameryError(
                f"practice stimulus '{strange}' shows '{answers[strange]}', which is not among the answers"
            )
        names = stratified(answers, wanted, settings.seed)
        extras = [
            Extra(Item("practice", answers[name], name, "", NATURAL, -1, "natural"), domain.fit(loaded[name]).numpy())
            for name in names
        ]
    else:
        names = stratified(rest, wanted, settings.seed)
        if len(names) < wanted:
            others = {name: answer for name, answer in every.items() if name not in rest}
            shared = stratified(others, wanted - len(names), settings.seed)
            remarks.append(f"{len(shared)} practice stimuli are also originals of the main part")
            names += shared
        extras = [Extra(Item("practice", every[name], name, "", NATURAL, -1, "natural")) for name in names]
    if len(extras) < wanted:
        remarks.append(f"{wanted} practice trials show {len(extras)} stimuli, so that some are repeated")
    return list(islice(cycle(shuffled(extras, settings.seed, "practice")), wanted))
