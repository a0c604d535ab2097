"""Answers of models in categories that several of them share."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...framework.contract import require_classes
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.stimuli import Stimulus


@dataclass(frozen=True)
class Labels:
    """Categories, and the classes of each label space that belong to them.

    Parameters
    ----------
    name
        Name of the categories as a label space.
    classes
        Classes of each category, by name or number, for each label space.
    """

    name: str
    classes: Mapping[str, Mapping[str, Sequence[str | int]]]

    @classmethod
    def read(cls, path: Path) -> Labels:
        """Read a TOML file with a table for each label space: ``category = [classes]``, by name or number.

        Raises
        ------
        MetameryError
            There is no such file, or it holds something else.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise MetameryError(f"labels '{path}' cannot be read: {error}") from error
        for space, table in tables.items():
            if not isinstance(table, dict):
                raise MetameryError(f"labels '{path}': '{space}' is {table!r}, expected a table of categories")
            for category, classes in table.items():
                if not _are_classes(classes):
                    raise MetameryError(
                        f"labels '{path}': {space}.{category} is {classes!r}, expected a list of names or numbers"
                    )
        return cls(path.stem, tables)

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, in the order of the file."""
        return tuple(dict.fromkeys(category for table in self.classes.values() for category in table))

    def answers(self, name: str, model: Model) -> tuple[str, ...]:
        """Return the category of each class of a model; empty text if it has none.

        Raises
        ------
        MetameryError
            A class is not one of the model's, or none of the model's classes has a category.
        """
        labels = _labels(name, model)
        found = [label if label in self.categories else "" for label in labels]
        for category, classes in self.classes.get(model.label_space, {}).items():
            for each in classes:
                if isinstance(each, int) and not 0 <= each < len(labels):
                    raise MetameryError(
                        f"labels '{self.name}': {category} holds class {each}, model '{name}' has {len(labels)} classes"
                    )
            for number in model.class_numbers(classes):
                found[number] = category
        if not any(found):
            raise MetameryError(f"none of the classes of model '{name}' is one of the labels '{self.name}'")
        return tuple(found)

    def right(self, stimulus: Stimulus, model: Model) -> frozenset[str]:
        """Which categories are right answers, whatever the model; empty where these are not known."""
        return self.shown_by(stimulus)

    def shown_by(self, stimulus: Stimulus) -> frozenset[str]:
        """Which categories a stimulus shows; empty where these are not known."""
        answers = stimulus.right_answers(self.name)
        if answers is None:
            table = self.classes.get("category", {})
            means = {category for category, classes in table.items() if stimulus.category in classes}
            answers = frozenset(means or {stimulus.category})
        return frozenset(category for category in self.categories if category in answers)


@dataclass(frozen=True)
class OwnLabels:
    """Each model answers in its own classes."""

    def answers(self, name: str, model: Model) -> tuple[str, ...]:
        """The model's labels; several classes of the same name are distinguished by their numbers."""
        _labels(name, model)
        return model.class_names

    def right(self, stimulus: Stimulus, model: Model) -> frozenset[str]:
        """Which answers are right in the model's own label space; empty where these are not known."""
        numbers = model.class_numbers(stimulus.right_answers(model.label_space) or ())
        return frozenset(model.class_names[number] for number in numbers)


def answered(logits: torch.Tensor, answers: Sequence[str]) -> torch.Tensor:
    """Return the class with the highest logit ``(B,)`` among those with an answer, of logits ``(B, classes)``."""
    has_answer = torch.tensor([bool(answer) for answer in answers], device=logits.device)
    return logits.masked_fill(~has_answer, -torch.inf).argmax(dim=1)


def _labels(name: str, model: Model) -> tuple[str, ...]:
    require_classes(name, model)
    return tuple(model.labels or ())


def _are_classes(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str | int) and not isinstance(each, bool) for each in given)
