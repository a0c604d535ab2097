"""Reading the settings of an experiment: TOML on top of a published preset, and single changes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from ...framework.checks import one_of, wrong
from ...framework.errors import MetameryError, unknown
from ...framework.folders import EXPERIMENT_FILE
from ...framework.limits import text_of
from .session_settings import Question
from .settings import PRESETS, ExperimentSettings

DEFAULT_PRESET = {"picture": "feather2023-pictures", "sound": "feather2023-sounds"}


def read_settings(folder: Path) -> ExperimentSettings:
    """Read the settings of an experiment's folder.

    Raises
    ------
    MetameryError
        There are none, or they are not settings; the message has the nearest valid name.
    """
    return parse_settings(_toml(folder / EXPERIMENT_FILE))


def parse_settings(table: Mapping[str, Any]) -> ExperimentSettings:
    """Read settings from a table; what it lacks has its default."""
    settings: ExperimentSettings = _parsed(ExperimentSettings, table, EXPERIMENT_FILE)
    return settings


def resolve(
    kind: str,
    preset: str = "",
    file: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    consent: Path | None = None,
) -> ExperimentSettings:
    """Return settings: a preset's, changed by a file's and then by single ones.

    Parameters
    ----------
    kind
        ``picture`` or ``sound``, which chooses the preset where none is named.
    preset
        Name of a preset; otherwise the file's ``preset``, if it has one.
    file
        TOML file of settings.
    changes
        Single settings by dotted name, such as ``{"timing.mask": 200}``.
    consent
        Text file whose paragraphs, with empty lines between them, are the consent.

    Raises
    ------
    MetameryError
        A name is unknown, with the nearest valid one, or a value does not fit.

    Examples
    --------
    >>> resolve("picture", changes={"timing.mask": 200}).timing.mask
    200
    """
    own = {} if file is None else _toml(file)
    name = preset or own.get("preset") or DEFAULT_PRESET[kind]
    table = merged(merged(preset_table(name), own), {"preset": name})
    for dotted, value in (changes or {}).items():
        *path, last = dotted.split(".")
        change: dict[str, Any] = {last: value}
        for each in reversed(path):
            change = {each: change}
        table = merged(table, change)
    if consent is not None:
        paragraphs = [" ".join(part.split()) for part in text_of(consent, "no consent in").split("\n\n")]
        table = merged(table, {"consent": {"text": [each for each in paragraphs if each]}})
    return parse_settings(table)


def preset_table(name: str) -> dict[str, Any]:
    """Return the table of a preset, with its name in it; an unknown name is refused."""
    path = PRESETS[one_of("preset", name, PRESETS)]
    return {**tomllib.loads(path.read_text(encoding="utf-8")), "preset": name}


def merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with some entries changed, in inner tables as well."""
    result = dict(table)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_of(path, "no settings in"))
    except (ValueError, RecursionError) as error:
        raise MetameryError(f"'{path}' is not valid TOML: {error}") from None


def _parsed(kind: Any, table: object, where: str) -> Any:
    """Make a dataclass of settings from a table."""
    if not isinstance(table, Mapping):
        raise wrong(where, table, "a table of settings")
    known = {each.name: each for each in fields(kind)}
    values = {}
    for name, value in table.items():
        if name not in known:
            raise unknown(f"entry of {where}", name, known)
        read = _INNER.get(name)
        values[name] = _tuples(value) if read is None or kind is not ExperimentSettings else read(value)
    try:
        return kind(**values)
    except MetameryError as error:
        raise MetameryError(f"{where}: {error}") from None


def _questions(given: object) -> tuple[Question, ...]:
    if not isinstance(given, list):
        raise wrong("survey", given, "[[survey]] tables")
    return tuple(_parsed(Question, each, "[[survey]]") for each in given)


_INNER: Mapping[str, Any] = {
    **{
        each.name: partial(_parsed, each.default_factory, where=f"[{each.name}]")
        for each in fields(ExperimentSettings)
        if isinstance(each.default_factory, type)
    },
    "survey": _questions,
}
"""For each table of the settings, the function that reads it."""


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
