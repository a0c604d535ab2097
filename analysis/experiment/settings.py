"""Settings of an experiment: names and numbers, a table for each of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from ...framework.checks import flag, names, number, one_of, text, whole, wrong
from ...framework.errors import MetameryError
from .records import PARTS
from .session_settings import Completion, Consent, Headphones, Question, Saving

PRESETS = {path.stem: path for path in sorted((Path(__file__).parent / "presets").glob("*.toml"))}
"""Published settings by name."""

PLACEHOLDER = "REPLACE THIS TEXT"
"""Beginning of a preset's consent text, with which no experiment is built."""

MAX_LISTS, MAX_TRIALS, MAX_MS = 10_000, 10_000, 600_000


@dataclass(frozen=True)
class Conditions:
    """What is shown of the study.

    Parameters
    ----------
    models, layers
        Names of the study's models and of their layers; all if empty.
    natural
        Whether the natural signals are a condition.
    seed
        Which of several metamers of a stimulus: the value of the study's coordinate ``seed``.
    stimuli
        Number of originals, the same number of each category as far as possible; 0 for all. Practice and catch trials
        show those that are left.
    missing
        What stands for a metamer that failed or was not made: ``natural``, the natural signal, or ``leave-out``,
        nothing.
    unsuccessful
        What stands for one that is not successful as its file holds it: ``show``, itself, ``natural`` or ``leave-out``.
    """

    models: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    natural: bool = True
    seed: int = 0
    stimuli: int = 0
    missing: str = "natural"
    unsuccessful: str = "show"

    def __post_init__(self) -> None:
        names("models", self.models)
        names("layers", self.layers)
        flag("natural", self.natural)
        whole("seed", self.seed)
        whole("stimuli", self.stimuli)
        one_of("missing", self.missing, ("natural", "leave-out"))
        one_of("unsuccessful", self.unsuccessful, ("show", "natural", "leave-out"))


@dataclass(frozen=True)
class Allocation:
    """Which participant gets what.

    Parameters
    ----------
    rule
        ``latin-square``: over as many lists as there are conditions each original is in each condition once.
        ``random``: the conditions of each list are drawn at random, in equal numbers, as published.
    lists
        Number of lists of trials; 0 for the smallest multiple of the number of conditions that is at least 24, or for
        the rule ``random`` 100.
    blocks
        Number of blocks of a list, with breaks between them.
    participants
        Number of participants after which the server admits no more; 0 for no limit.
    """

    rule: str = "latin-square"
    lists: int = 0
    blocks: int = 4
    participants: int = 0

    def __post_init__(self) -> None:
        one_of("rule", self.rule, ("latin-square", "random"))
        whole("lists", self.lists, most=MAX_LISTS)
        whole("blocks", self.blocks, 1, 100)
        whole("participants", self.participants)


@dataclass(frozen=True)
class Timing:
    """Durations in ms.

    Parameters
    ----------
    fixation, signal, mask
        Of a trial with a picture; a sound is played once, as long as it is.
    practice
        The same three in the first practice trials.
    slow_practice
        Number of these trials.
    """

    fixation: int = 300
    signal: int = 300
    mask: int = 300
    practice: tuple[int, ...] = (500, 400, 400)
    slow_practice: int = 8

    def __post_init__(self) -> None:
        for name in ("fixation", "signal", "mask"):
            whole(name, getattr(self, name), most=MAX_MS)
        if len(self.practice) != 3:
            raise wrong("practice", list(self.practice), "three durations in ms, such as [500, 400, 400]")
        for duration in self.practice:
            whole("a duration in practice", duration, most=MAX_MS)
        whole("slow_practice", self.slow_practice, most=MAX_TRIALS)


@dataclass(frozen=True)
class Practice:
    """Practice trials, all with natural signals.

    Parameters
    ----------
    feedback, free
        Numbers of trials with and then without feedback.
    needed
        Number of right answers without feedback that are needed to go on.
    stimuli
        Name or folder of stimuli to practise with; the study's own, as far as they are not shown later, if empty.
    """

    feedback: int = 16
    free: int = 12
    needed: int = 7
    stimuli: str = ""

    def __post_init__(self) -> None:
        whole("feedback", self.feedback, most=MAX_TRIALS)
        whole("free", self.free, most=MAX_TRIALS)
        if whole("needed", self.needed) > self.free:
            raise wrong("needed", self.needed, f"at most the number of trials without feedback, {self.free}")
        text("stimuli", self.stimuli)


@dataclass(frozen=True)
class Answers:
    """What participants answer.

    Parameters
    ----------
    form
        ``grid``, buttons, or ``typed``, completed from the closed list.
    categories
        Label space whose categories are the answers, such as ``imagenet-16``; the study's own categories if empty.
    choices
        Further answers, for a closed list that is longer than the study's.
    labels
        What is written for an answer where that is not its name, such as its translation.
    icons
        Whether answers for which there is an icon show it.
    alternatives
        Whether a trial offers only the alternatives that the study states for its signal, such as the two categories
        of a controversial signal; otherwise each offers all answers.
    """

    form: str = "grid"
    categories: str = ""
    choices: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    icons: bool = True
    alternatives: bool = False

    def __post_init__(self) -> None:
        one_of("form", self.form, ("grid", "typed"))
        text("categories", self.categories)
        names("choices", self.choices)
        if not isinstance(self.labels, Mapping):
            raise wrong("labels", self.labels, "a table of labels by answer")
        for name, label in self.labels.items():
            text(f"the label of '{name}'", label)
        flag("icons", self.icons)
        flag("alternatives", self.alternatives)


@dataclass(frozen=True)
class Catch:
    """Catch trials, which everyone can answer: icons or words among pictures, natural signals among sounds.

    Parameters
    ----------
    trials
        Number of them in a list, spread over its blocks.
    """

    trials: int = 16

    def __post_init__(self) -> None:
        whole("trials", self.trials, most=MAX_TRIALS)


@dataclass(frozen=True)
class Masks:
    """Noise that follows a picture.

    Parameters
    ----------
    files
        Number of different masks.
    exponent
        Their power spectrum falls with the frequency to this power.
    """

    files: int = 16
    exponent: float = 2.0

    def __post_init__(self) -> None:
        whole("files", self.files, 1, 1000)
        number("exponent", self.exponent, 0, 4)


@dataclass(frozen=True)
class Sounds:
    """Files of sounds.

    Parameters
    ----------
    format
        ``wav`` or ``flac``, of 16 bits.
    rate
        Sample rate in Hz.
    level
        Root mean square of every file in dBFS; lowered for all alike if the peak of one would exceed full scale.
    check
        Whether the match is measured again of what the file holds, brought back to the model's rate and level.
    """

    format: str = "wav"
    rate: int = 48_000
    level: float = -23.0
    check: bool = True

    def __post_init__(self) -> None:
        one_of("format", self.format, ("wav", "flac"))
        whole("rate", self.rate, 8_000, 192_000)
        number("level", self.level, -100, 0)
        flag("check", self.check)


@dataclass(frozen=True)
class ExperimentSettings:
    """Everything that an experiment depends on besides its study.

    Parameters
    ----------
    title
        Name that participants read.
    language
        Language of the page: one that metamery has (``en``, ``de``), or a TOML file of texts.
    seed
        Seed of all random choices.
    parts
        Parts of the experiment that are on, of `PARTS`; ``main`` always is.
    preset
        Name of the settings that were begun with.
    """

    title: str = "Recognition experiment"
    language: str = "en"
    seed: int = 0
    parts: tuple[str, ...] = PARTS
    preset: str = ""
    conditions: Conditions = field(default_factory=Conditions)
    allocation: Allocation = field(default_factory=Allocation)
    timing: Timing = field(default_factory=Timing)
    practice: Practice = field(default_factory=Practice)
    answers: Answers = field(default_factory=Answers)
    catch: Catch = field(default_factory=Catch)
    masks: Masks = field(default_factory=Masks)
    sounds: Sounds = field(default_factory=Sounds)
    headphones: Headphones = field(default_factory=Headphones)
    consent: Consent = field(default_factory=Consent)
    survey: tuple[Question, ...] = ()
    completion: Completion = field(default_factory=Completion)
    saving: Saving = field(default_factory=Saving)

    def __post_init__(self) -> None:
        text("title", self.title)
        text("language", self.language)
        whole("seed", self.seed)
        for part in names("parts", self.parts):
            one_of("part", part, PARTS)
        if "main" not in self.parts:
            raise wrong("parts", list(self.parts), "main among them")
        if self.preset:
            one_of("preset", self.preset, PRESETS)
        asked = [question.name for question in self.survey]
        if again := next((name for name in asked if asked.count(name) > 1), None):
            raise MetameryError(f"two questions of the survey are called '{again}'")

    def has(self, part: str) -> bool:
        return part in self.parts

    def to_toml(self) -> str:
        return tomli_w.dumps(self.table(), multiline_strings=True)

    def table(self) -> dict[str, Any]:
        table: dict[str, Any] = _as_lists(asdict(self))
        return {name: value for name, value in table.items() if name != "survey"} | {"survey": table["survey"]}


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_lists(each) for name, each in value.items()}
    return [_as_lists(each) for each in value] if isinstance(value, list | tuple) else value
