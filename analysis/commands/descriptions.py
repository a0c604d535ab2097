"""Descriptions of registered names and presets, for the command `show`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...framework.errors import UnknownNameError, unknown
from ...framework.registry import KINDS, Lookup

if TYPE_CHECKING:
    from ...framework.manager import Plugins

_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^[A-Z]\w+\n-+$|\Z)", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^(\S[^\n]*)\n((?:[ ]+[^\n]*\n?|\n)*)", re.MULTILINE)


def kinds_of(plugins: Plugins, name: str, kind: str) -> list[str]:
    """Return the kinds that have a name, models first; a given `kind` is checked alone.

    Raises
    ------
    UnknownNameError
        There is no such kind, or nothing has the name.
    """
    from ..synthesis.settings import PRESETS

    kinds = (*KINDS, "preset")
    singular = {alias: each for each, hook in KINDS.items() for alias in (each, hook.removeprefix("register_"))}
    singular |= {"preset": "preset", "presets": "preset"}
    if kind:
        if kind not in singular:
            raise unknown("kind", kind, kinds)
        return [singular[kind]]
    if ".py:" in name:
        return ["model"]
    if found := [each for each in kinds if (name in PRESETS if each == "preset" else _is_known(plugins, each, name))]:
        return found
    try:
        plugins.find("model", name)
    except UnknownNameError as error:
        if ":" in name or "/" in name or "did you mean" in str(error):
            raise
    raise unknown("name", name, [entry.name for each in KINDS for entry in plugins.entries(each)], plugins.hint)


def _is_known(plugins: Plugins, kind: str, name: str) -> bool:
    try:
        plugins.find(kind, name)
    except UnknownNameError:
        return False
    return True


def describe(plugins: Plugins, name: str, kind: str) -> Iterator[str]:
    """Yield lines that describe a name of another kind than models: what it is, its options, defaults and units.

    Of recipes and presets every value is shown.
    """
    if kind == "preset":
        from ..synthesis.settings import PRESETS

        if name not in PRESETS:
            raise unknown("preset", name, PRESETS)
        yield f"preset {name}, of a synthesis; any entry may be changed by --setting"
        yield from (f"  {key} = {value!r}" for key, value in PRESETS[name].table().items() if key != "preset")
        return
    found = plugins.find(kind, name)
    yield f"{kind} {found.qualified}: {found.entry.summary}"
    if found.entry.licence:
        yield f"licence: {found.entry.licence}"
    yield from _options(found)
    if kind == "recipe":
        yield "\nentries, any of which may be changed by --setting:"
        yield from (f"  {line}" for line in plugins.load(kind, name).to_toml().splitlines() if line)


def _options(found: Lookup) -> Iterator[str]:
    factory = found.entry.factory()
    texts = _texts(factory)
    parameters = list(inspect.signature(factory).parameters.values())[found.entry.is_family :]
    shown = [each for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "plugins"]
    yield "options:" if shown else "options: none"
    for each in shown:
        yield f"  {each.name}" + ("" if each.default is each.empty else f" = {each.default!r}")
        if each.name in texts:
            yield f"      {texts[each.name]}"


def _texts(factory: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says of each parameter, by NumPy's convention."""
    section = _PARAMETERS.search(inspect.getdoc(factory) or "")
    texts: dict[str, str] = {}
    for names, text in _PARAMETER.findall(section.group(1)) if section else ():
        plain = " ".join(text.replace("``", "").split())
        texts |= dict.fromkeys((name.strip() for name in names.partition(" :")[0].split(",")), plain)
    return texts
