"""`Run`: everything a training depends on, as names and numbers, and its file `run.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tomli_w

from .differences import differences
from .errors import MetameryError
from .folders import RUN_FILE
from .limits import text_of
from .moved import found_again
from .recipes import Recipe
from .study import Reference

if TYPE_CHECKING:
    from .manager import Plugins

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """Everything a training depends on.

    Parameters
    ----------
    model, stimuli, validation
        Registered names with their options; `validation` may be None.
    classes
        Names of the network's outputs, in order.
    recipe
        Resolved recipe: every number that the training uses.
    seed
        Seed of all random choices.
    start
        Weights to start from: another run's folder, or a safetensors file; the model's own where empty.
    freeze
        Patterns of the names of layers or weights that are not trained, such as ``layer*``.
    source
        File that the run was read from, if any: Python files that it names are run only with trust, see `Plugins`.
    """

    model: Reference
    stimuli: Reference
    validation: Reference | None
    classes: Sequence[str]
    recipe: Recipe
    seed: int = 0
    start: str = ""
    freeze: Sequence[str] = field(default_factory=tuple)
    source: Path | None = field(default=None, compare=False)

    def to_toml(self) -> str:
        """Return the run as TOML, with every value of its recipe."""
        table: dict[str, Any] = {"seed": self.seed, "classes": list(self.classes), "stimuli": self.stimuli.table()}
        if self.validation is not None:
            table["validation"] = self.validation.table()
        table |= {"start": self.start} if self.start else {}
        table |= {"freeze": list(self.freeze)} if self.freeze else {}
        table["model"] = self.model.table()
        return tomli_w.dumps({**table, "recipe": self.recipe.table()})

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the file of a run's folder.

        Raises
        ------
        MetameryError
            There is no such file, or it does not hold a run.
        """
        text = text_of(folder / RUN_FILE, "no run in")
        try:
            return replace(cls._parsed(found_again(tomllib.loads(text), folder)), source=folder / RUN_FILE)
        except KeyError as error:
            raise MetameryError(f"no run in '{folder}': {RUN_FILE} has no {error}") from None
        except (ValueError, RecursionError, MetameryError) as error:
            raise MetameryError(f"no run in '{folder}': {error}") from None

    def qualified(self, plugins: Plugins) -> Run:
        """Return a stored run with each registered name as `Plugins.qualified` gives it."""
        return replace(
            self,
            model=self.model.qualified(plugins, "model"),
            stimuli=self.stimuli.qualified(plugins, "stimuli"),
            validation=self.validation and self.validation.qualified(plugins, "stimuli"),
            recipe=self.recipe.qualified(plugins),
        )

    def names(self) -> list[str]:
        """Return all registered names: of the model, of the stimuli, and in the recipe."""
        stimuli = [each.name for each in (self.stimuli, self.validation) if each is not None]
        recipe = self.recipe
        named = (recipe.loss, recipe.optimizer, recipe.perturbation, recipe.check)
        augmented = [name for name, _ in recipe.augmentations]
        return [self.model.name, *stimuli, *filter(None, named), *augmented]

    def differences(self, other: Run, plugins: Plugins) -> list[str]:
        """Return the differences from a stored run, each as ``entry (this, stored that)``."""
        return differences(self.qualified(plugins).to_toml(), other.qualified(plugins).to_toml())

    @classmethod
    def _parsed(cls, table: Mapping[str, Any]) -> Run:
        validation, recipe = table.get("validation"), table["recipe"]
        if not isinstance(recipe, Mapping):
            raise MetameryError(f"recipe = {recipe!r}: expected a table")
        return cls(
            Reference.parse(table["model"], "model"),
            Reference.parse(table["stimuli"], "stimuli"),
            None if validation is None else Reference.parse(validation, "validation"),
            _texts(table["classes"], "classes"),
            Recipe().changed(recipe),
            _of_type(table["seed"], int, "seed", "a whole number"),
            _of_type(table.get("start", ""), str, "start", "text"),
            _texts(table.get("freeze", []), "freeze"),
        )


def _of_type(value: Any, kind: type[T], name: str, expected: str) -> T:
    if type(value) is not kind:
        raise MetameryError(f"{name} = {value!r:.60}: expected {expected}")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise MetameryError(f"{name} = {value!r:.60}: expected a list of names")
    return tuple(value)
