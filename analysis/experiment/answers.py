"""Right answers to an experiment's stimuli, and the answers that participants choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...framework.errors import MetameryError, unknown
from .. import recognition
from ..recognition.labels import Labels

if TYPE_CHECKING:
    from ...framework.stimuli import Stimulus
    from .settings import Answers

_TABLES = {path.stem: path for path in sorted((Path(recognition.__file__).parent / "label_spaces").glob("*.toml"))}


def right_answers(stimuli: Iterable[Stimulus], settings: Answers) -> dict[str, str]:
    """Return the right answer to each stimulus by its name.

    Raises
    ------
    MetameryError
        The categories are unknown, or a stimulus has none of them, or several.
    """
    answer = _grader(settings)
    found = {stimulus.name: answer(stimulus) for stimulus in stimuli}
    if without := [name for name, answers in found.items() if len(answers) != 1]:
        given = settings.categories
        lack = f"show none or several of the categories '{given}'" if given else "have no category"
        raise MetameryError(
            f"{len(without)} of {len(found)} stimuli {lack}, such as '{without[0]}'; "
            f"answers.categories can be {' or '.join(map(repr, ['', *_TABLES]))}"
        )
    return {name: next(iter(answers)) for name, answers in found.items()}


def choices_of(right: Mapping[str, str], settings: Answers) -> tuple[str, ...]:
    """Return the answers that participants choose from: the categories in their order, or sorted, and further ones."""
    own = _labels(settings.categories).categories if settings.categories else sorted({*right.values()})
    return tuple(dict.fromkeys([*own, *settings.choices]))


def _grader(settings: Answers) -> Callable[[Stimulus], frozenset[str]]:
    if not settings.categories:
        return lambda stimulus: frozenset({stimulus.category} - {""})
    labels = _labels(settings.categories)
    return lambda stimulus: labels.shown_by(stimulus) or _by_class(labels, stimulus)


def _by_class(labels: Labels, stimulus: Stimulus) -> frozenset[str]:
    """Return the categories to which the right answers of a stimulus belong, in any label space."""
    return frozenset(
        category
        for space, answers in stimulus.labels.items()
        for category, classes in labels.classes.get(space, {}).items()
        if answers.intersection(classes)
    )


def _labels(name: str) -> Labels:
    if name not in _TABLES:
        raise unknown("categories", name, _TABLES)
    return Labels.read(_TABLES[name])
