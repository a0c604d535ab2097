"""`Study`: everything a study depends on, as names and numbers, and its file `study.toml`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from .checks import whole
from .differences import differences
from .errors import MetameryError, UnknownNameError, unknown
from .limits import text_of
from .moved import found_again
from .registry import absolute, absolute_options, is_path
from .remote import Folder, RemotePath

if TYPE_CHECKING:
    from .manager import Plugins
    from .stimuli import Stimuli

FOLDER = "files:folder"
"""Name of the stimuli that are read from a folder."""

FILE = "files:file"
"""Name of the stimuli that are one picture or sound."""

FILES = {".prepared": "files:prepared", ".tar": "files:shards"}
"""Names of the stimuli that are read from one file, or several by a pattern, by its ending."""


SYNTHESIS = (
    "preset", "distance", "optimizer", "step_size", "schedule", "steps", "tolerance", "stop", "modified_relu",
    "total_variation", "bounds", "start", "noise", "precision", "compiled", "seeds", "batch_size", "distance_options",
    "optimizer_options",
)  # fmt: skip
"""Entries of the table ``synthesis``; `metamery.analysis` has their meaning."""


@dataclass(frozen=True)
class Reference:
    """A registered name with the options of its factory."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: object, what: str) -> Reference:
        """Read ``"name"`` or ``{name = "name", option = …}``."""
        if isinstance(given, str) and given:
            return cls(given)
        if isinstance(given, Mapping) and isinstance(given.get("name"), str):
            return cls(given["name"], {key: value for key, value in given.items() if key != "name"})
        raise MetameryError(f"{what} = {given!r}: expected a name or a table with a name")

    def table(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}

    def qualified(self, plugins: Plugins, kind: str) -> Reference:
        """Return a stored reference to a name of one kind as `Plugins.qualified` gives it."""
        return Reference(plugins.qualified(kind, self.name), self.options)


@dataclass(frozen=True)
class ModelReference:
    """A model by name, with its options and the layers to study, as `choose_layers` takes them."""

    name: str
    layers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Everything a study depends on.

    Parameters
    ----------
    models
        Models to make metamers of.
    stimuli
        Natural signals.
    null_stimuli
        Signals of the null distribution; the stimuli themselves if None.
    null_signals
        Largest number of them to use, selected at random; the default of `null_distribution` if None.
    synthesis
        Settings of the synthesis: ``preset``, changes to its fields, ``seeds`` and ``batch_size``.
    seed
        Seed of all random choices.
    source
        File that the study was read from, if any: Python files that it names are run only with trust, see `Plugins`.
    """

    models: tuple[ModelReference, ...]
    stimuli: Reference
    null_stimuli: Reference | None = None
    synthesis: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    null_signals: int | None = None
    source: Folder | None = field(default=None, compare=False)

    @classmethod
    def from_toml(cls, text: str, base: Path = Path()) -> Study:
        """Read a study; folders and files in it are relative to `base`.

        Raises
        ------
        MetameryError
            The text is not valid TOML or not a study; the message has the nearest valid name.
        """
        return cls._parsed(_table(text), base)

    @classmethod
    def stored(cls, text: str, folder: Folder) -> Study:
        """Read a study from the results in a folder; paths that were moved together with it are found again."""
        return cls._parsed(found_again(_table(text), folder))

    @classmethod
    def _parsed(cls, table: Mapping[str, Any], base: Path = Path()) -> Study:
        for name in table:
            if name in SYNTHESIS:
                raise UnknownNameError(f"'{name}' is a setting of the synthesis: write it under [synthesis]")
        _known(table, "study entry", ("seed", "stimuli", "null_stimuli", "null_signals", "models", "synthesis"))
        for needed in ("models", "stimuli"):
            if not table.get(needed):
                raise MetameryError(f"the study names no {needed}")
        if not isinstance(table["models"], list) or not isinstance(table.get("synthesis", {}), dict):
            raise MetameryError("the study needs [[models]] tables and a [synthesis] table")
        for name, least in (("seed", 0), ("null_signals", 2)):
            if name in table:
                whole(name, table[name], least)
        null = table.get("null_stimuli")
        return cls(
            models=tuple(_model_reference(model, base) for model in table["models"]),
            stimuli=located(Reference.parse(table["stimuli"], "stimuli"), base),
            null_stimuli=None if null is None else located(Reference.parse(null, "null_stimuli"), base),
            synthesis={
                key: _located_setting(key, value, base) if isinstance(value, str) else value
                for key, value in table.get("synthesis", {}).items()
            },
            seed=table.get("seed", 0),
            null_signals=table.get("null_signals"),
        )

    @classmethod
    def read(cls, path: Folder) -> Study:
        """Read a study file; folders and files in it are relative to the folder of the file.

        In a file on an object store they are relative to the working directory.

        Raises
        ------
        MetameryError
            There is no such file, or it does not hold a study.
        """
        folder = path.resolve().parent
        table = found_again(_table(text_of(path, "no study in")), folder)
        return replace(cls._parsed(table, Path() if isinstance(folder, RemotePath) else folder), source=path)

    def to_toml(self) -> str:
        table: dict[str, Any] = {"seed": self.seed, "stimuli": self.stimuli.table()}
        if self.null_stimuli is not None:
            table["null_stimuli"] = self.null_stimuli.table()
        if self.null_signals is not None:
            table["null_signals"] = self.null_signals
        table["models"] = [
            {"name": use.name}
            | ({"layers": list(use.layers)} if use.layers else {})
            | ({"options": dict(use.options)} if use.options else {})
            for use in self.models
        ]
        table["synthesis"] = dict(self.synthesis)
        return tomli_w.dumps(table)

    def qualified(self, plugins: Plugins) -> Study:
        """Return a stored study with each registered name as `Plugins.qualified` gives it."""
        null = self.null_stimuli
        return replace(
            self,
            models=tuple(replace(use, name=plugins.qualified("model", use.name)) for use in self.models),
            stimuli=self.stimuli.qualified(plugins, "stimuli"),
            null_stimuli=null and null.qualified(plugins, "stimuli"),
            synthesis=qualified_tools(plugins, self.synthesis),
        )

    def differences(self, other: Study, plugins: Plugins) -> list[str]:
        """Return the differences from a stored study, each as ``entry (this, stored that)``."""
        return differences(self.qualified(plugins).to_toml(), other.qualified(plugins).to_toml())


def qualified_tools(plugins: Plugins, synthesis: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a synthesis with their distance and optimizer as `Plugins.qualified` gives them."""
    return {
        key: plugins.qualified(key, value) if key in ("distance", "optimizer") and isinstance(value, str) else value
        for key, value in synthesis.items()
    }


def located(use: Reference, base: Path = Path()) -> Reference:
    """Replace the name of an existing folder, or of a file of `FILES`, by what reads it; make paths absolute."""
    is_named = use.name in ("folder", FOLDER, "file", FILE, *FILES.values())
    if is_named and isinstance(path := use.options.get("path"), str):
        return Reference(use.name, {**use.options, "path": os.path.realpath(base / path) if "\0" not in path else path})
    folder = base / os.path.expanduser(use.name)
    if ":" not in use.name and os.path.isdir(folder) and (use.name[0] in "./~" or use.name.endswith("/")):
        return Reference(FOLDER, {**use.options, "path": str(folder.resolve())})
    if (kind := file_kind(folder)) and ":" not in use.name:
        return Reference(kind, {**use.options, "path": str(folder.resolve())})
    return Reference(absolute(use.name, base), use.options)


def file_kind(path: Path) -> str:
    """Return the registered name that reads a file of stimuli, by its ending; empty for other files and none."""
    is_pattern = any(sign in path.name for sign in "*{")
    return FILES.get(path.suffix, "") if is_pattern or os.path.isfile(path) else ""


def _table(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers with thousands of digits
        raise MetameryError(f"the study is not valid TOML: {error}") from None


def load_stimuli(plugins: Plugins, use: Reference) -> Stimuli:
    """Load stimuli by name or from a folder; of those without an option ``limit``, as many as it says are selected.

    Raises
    ------
    MetameryError
        There is neither such a name nor such a folder.
    """
    from .stimuli import Selection, spread

    try:
        plugins.find("stimuli", use.name)
    except UnknownNameError as error:
        if os.path.isdir(use.name):
            use = Reference(FOLDER, {**use.options, "path": str(Path(use.name).resolve())})
        elif kind := file_kind(Path(use.name)):
            use = Reference(kind, {**use.options, "path": str(Path(use.name).resolve())})
        elif os.path.isfile(use.name):
            raise MetameryError(f"'{use.name}' is a file, expected stimuli by name, or a folder of files") from None
        else:
            raise UnknownNameError(f"{error}; nor is there a folder '{use.name}'") from None
    options = dict(use.options)
    limit = None if plugins.find("stimuli", use.name).takes("limit") else options.pop("limit", None)
    stimuli: Stimuli = plugins.load("stimuli", use.name, **options)
    return stimuli if limit is None else Selection(stimuli, spread(len(stimuli), limit))


def _model_reference(table: object, base: Path) -> ModelReference:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise MetameryError(f"[[models]] {table!r}: expected a table with a name")
    _known(table, "[[models]] entry", ("name", "layers", "options"))
    layers = table.get("layers", [])
    if isinstance(layers, int) and not isinstance(layers, bool):
        layers = [str(layers)]
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        raise MetameryError(f"layers = {layers!r}: expected a list of names")
    options = table.get("options", {})
    if not isinstance(options, dict):
        raise MetameryError(f"options = {options!r}: expected a table")
    return ModelReference(absolute(table["name"], base), tuple(layers), absolute_options(options, base))


def _located_setting(name: str, value: str, base: Path) -> str:
    """Make the path in a setting of the synthesis absolute: the file to start from, or that of a distance."""
    if name != "start":
        return absolute(value, base)
    is_file = is_path(value) and "\0" not in value
    return os.path.realpath(base / os.path.expanduser(value)) if is_file else value


def _known(table: Mapping[str, Any], kind: str, names: tuple[str, ...]) -> None:
    for name in table:
        if name not in names:
            raise unknown(kind, name, names)
