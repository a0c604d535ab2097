"""Registered names and their factories, one `Registry` for each kind of name that a plugin can add.

A registered name refers to a factory by text, ``"package.module:attribute"``, which is imported when the name is
first used. A name that ends in ``/`` registers a family: ``torchvision/`` serves ``torchvision/resnet50``, and its
factory gets ``"resnet50"`` as its first argument. ``path/to/file.py:attribute`` names a factory in a user's file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from . import switches
from .checks import LARGEST, check_types, wrong
from .errors import MetameryError, MissingExtraError, UnknownNameError, unknown
from .faults import USER_MODULE
from .folders import RUN_FILE
from .groups import check_result_name, result_name

KINDS: Mapping[str, str] = {
    "model": "register_models",
    "stimuli": "register_stimuli",
    "loss": "register_losses",
    "distance": "register_distances",
    "optimizer": "register_optimizers",
    "perturbation": "register_perturbations",
    "evaluator": "register_evaluators",
    "recipe": "register_recipes",
}
"""Each kind of name and the hook that registers it."""

FACTS = ("licence", "extra", "names")
"""Facts that a registration may state besides the summary."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*(/[A-Za-z0-9][A-Za-z0-9._@+-]*)*/?")
_RUN = "metamery.training.runs:trained"
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_USER_FILE = re.compile(r"(?P<path>.+\.py):(?P<attribute>[A-Za-z_]\w*)")


class Register(Protocol):
    """The function that a registration hook is given."""

    def __call__(self, name: str, target: str | Callable[..., Any], summary: str = "", **facts: str) -> None:
        """Add one name.

        Parameters
        ----------
        name
            Name of letters, digits and ``. _ - + @``, with ``/`` between parts; a ``/`` at the end makes it a family.
        target
            Factory, as ``"package.module:attribute"`` (or the callable itself, in a test or a notebook).
        summary
            One line for ``metamery list``.
        **facts
            Further text: ``licence`` (of weights or signals; ``metamery list`` and ``show`` print it), ``extra`` (the
            optional dependency that is needed: an extra of metamery's, or ``"package[extra]"``), ``names`` (for a
            family: path of a function that lists its members).
        """


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    kind: str
    plugin: str
    name: str
    target: str | Callable[..., Any]
    summary: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def qualified(self) -> str:
        """The name with its plugin, ``plugin:name``: what results store."""
        return f"{self.plugin}:{self.name}"

    @property
    def licence(self) -> str:
        """The licence of what the name stands for, such as a network's weights; empty if none is stated."""
        return self.facts.get("licence", "")

    @property
    def is_family(self) -> bool:
        return self.name.endswith("/")

    def factory(self) -> Callable[..., Any]:
        """Import the factory.

        Raises
        ------
        MissingExtraError
            Its optional dependency is not installed.
        MetameryError
            It cannot be imported for another reason.
        """
        return self._import(self.target)

    def members(self) -> list[str]:
        """Return the full names of a family's members, as far as they can be listed; for another name, itself."""
        if not self.is_family:
            return [self.name]
        if "names" not in self.facts:
            return []
        return [self.name + member for member in self._import(self.facts["names"])()]

    def some(self) -> str:
        """Return a few of a family's members as text; empty if they cannot be listed."""
        try:
            listed = self.members()
        except MetameryError:
            return ""
        return f", such as {', '.join(listed[:3])}" if listed else ""

    def _import(self, target: str | Callable[..., Any]) -> Callable[..., Any]:
        if not isinstance(target, str):
            return target
        module, _, attribute = target.partition(":")
        what = f"{self.kind} '{self.qualified}'"
        try:
            with switches.kept(what, generator=True):
                factory: Any = importlib.import_module(module)
            for part in attribute.split("."):
                factory = getattr(factory, part)
        except ModuleNotFoundError as error:
            if extra := self.facts.get("extra"):
                wanted = extra if "[" in extra else f"metamery[{extra}]"
                raise MissingExtraError(
                    f"{self.kind} '{self.name}' needs the package '{error.name}': pip install '{wanted}'"
                ) from error
            raise MetameryError(f"{what} cannot be imported: {error}") from error
        except (ImportError, AttributeError) as error:
            raise MetameryError(f"{what} cannot be imported: {error}") from error
        except SystemExit as error:
            raise MetameryError(f"{what} cannot be imported: SystemExit: {error}") from error
        return factory  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Lookup:
    """The result of looking a name up: its entry, and for a member of a family the rest of the name."""

    entry: Entry
    member: str = ""

    @property
    def qualified(self) -> str:
        if self.entry.target == _RUN:  # the path of a run is its location, not a part of its name
            return self.entry.qualified.removesuffix("/")
        return self.entry.qualified + self.member

    @property
    def wants_plugins(self) -> bool:
        """Whether the factory takes the plugins, to look names up itself."""
        return "plugins" in inspect.signature(self.entry.factory()).parameters

    def takes(self, option: str) -> bool:
        """Whether the factory has an option of that name, or takes any."""
        parameters = inspect.signature(self.entry.factory()).parameters
        return option in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())

    def options(self) -> str:
        """Return the factory's options with their defaults, as text."""
        parameters = list(inspect.signature(self.entry.factory()).parameters.values())[self.entry.is_family :]
        return ", ".join(
            parameter.name if parameter.default is parameter.empty else f"{parameter.name} = {parameter.default!r}"
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD and parameter.name != "plugins"
        )

    def build(self, /, **options: Any) -> Any:
        """Call the factory, after checking the options' names against its signature."""
        factory = self.entry.factory()
        given = (self.member,) if self.entry.is_family else ()
        what = f"{self.entry.kind} '{self.entry.name}{self.member}'"
        check_options(factory, what, options, len(given))
        try:
            with switches.kept(f"{self.entry.kind} '{self.qualified}'", generator=False):
                built = factory(*given, **options)
        except MetameryError:
            raise
        except SystemExit as error:
            raise MetameryError(f"{what} ends Python by itself (SystemExit); expected an exception") from error
        except Exception as error:
            check_types(factory, what, options)
            given_options = {name: value for name, value in options.items() if name != "plugins"} or "no options"
            error.add_note(f"in the factory of {self.entry.kind} '{self.qualified}', given {given_options}")
            raise
        check_types(factory, what, options)  # last, since a factory's own checks are more specific
        return built


class Registry:
    """The names of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, dict[str, Entry]] = {}  # by name, then by plugin

    def add(self, entry: Entry) -> None:
        """Add a name.

        Raises
        ------
        MetameryError
            The name or the target is malformed, or the same plugin has registered the name already.
        """
        if not isinstance(entry.name, str) or not _NAME.fullmatch(entry.name):
            raise MetameryError(f"{entry.kind} name {entry.name!r} is not of the form 'name' or 'family/'")
        if entry.kind == "evaluator":
            check_result_name(result_name(entry.name))
        if isinstance(entry.target, str) and not _TARGET.fullmatch(entry.target):
            raise MetameryError(
                f"{entry.kind} '{entry.name}' points at {entry.target!r}, expected 'package.module:attribute'"
            )
        for fact in entry.facts:
            if fact not in FACTS:
                raise unknown(f"fact of {entry.kind} '{entry.name}':", fact, FACTS)
        own = self._entries.setdefault(entry.name, {})
        if entry.plugin in own:
            raise MetameryError(f"{entry.kind} '{entry.name}' is registered twice by plugin '{entry.plugin}'")
        own[entry.plugin] = entry

    def remove(self, plugin: str) -> None:
        for own in self._entries.values():
            own.pop(plugin, None)

    def entries(self) -> list[Entry]:
        return [own[plugin] for _, own in sorted(self._entries.items()) for plugin in sorted(own)]

    def matches(self, name: str) -> list[Entry]:
        """Return the entries that ``name``, ``plugin:name`` or ``family/member`` may stand for, one of each plugin."""
        plugin, bare = _split(name)
        ends = [len(bare), *(index + 1 for index in range(len(bare) - 2, -1, -1) if bare[index] == "/")]
        for end in ends:  # the name itself, then families, the longest first
            found = [entry for entry in self._entries.get(bare[:end], {}).values() if plugin in ("", entry.plugin)]
            if found and found[0].is_family == (end < len(bare)):
                return found
        return []

    def find(self, name: str, hint: str = "", allow: Callable[[Path], None] = lambda _file: None) -> Lookup:
        """Look a name up: ``name``, ``plugin:name``, ``family/member`` or ``file.py:attribute``.

        Raises
        ------
        UnknownNameError
            The name is unknown. `hint` is put at the end of the message.
        MetameryError
            Several plugins registered the name, or `allow` raises it for the user's file that would be run.
        """
        if self.kind == "model" and is_run(Path(name)):
            return Lookup(Entry(self.kind, "run", f"{Path(name).resolve().name}/", _RUN), name)
        matches = self.matches(name)
        if (user_file := _USER_FILE.fullmatch(name)) and (not matches or os.path.isfile(user_file["path"])):
            target = _from_file(Path(os.path.expanduser(user_file["path"])), user_file["attribute"], allow)
            return Lookup(Entry(self.kind, Path(user_file["path"]).name, user_file["attribute"], target))
        plugin, bare = _split(name)
        if len(matches) > 1:
            listed = " or ".join(f"'{entry.plugin}:{bare}'" for entry in matches)
            raise MetameryError(f"{self.kind} '{name}' is registered by several plugins: write {listed}")
        if not matches:
            families = self._entries.get(f"{bare.rstrip('/')}/", {})
            if family := next((entry for entry in families.values() if plugin in ("", entry.plugin)), None):
                raise UnknownNameError(
                    f"{self.kind} '{family.name}' is a family: write {family.name}NAME{family.some()}"
                )
            if self.kind == "model" and _is_path(name, [entry.name for entry in self.entries() if entry.is_family]):
                raise UnknownNameError(f"no folder '{name}': expected a run's folder, or a model's name{hint}")
            raise unknown(self.kind, name, [entry.name for entry in self.entries()], hint)
        entry = matches[0]
        return Lookup(entry, bare.removeprefix(entry.name) if entry.is_family else "")


def _is_path(name: str, families: Sequence[str]) -> bool:
    """Whether a name reads as the path of a folder, rather than as a member of one of the families."""
    first, slash, _ = name.partition("/")
    return bool(slash) and (first in ("", ".", "..", "~") or not get_close_matches(f"{first}/", families, 1, 0.5))


def _split(name: str) -> tuple[str, str]:
    """Return a name's plugin, empty if it has none, and the rest; a later colon belongs to a family's member."""
    plugin, colon, bare = name.partition(":")
    return (plugin, bare) if colon and "/" not in plugin else ("", name)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a trained network, which is a model by its path."""
    return os.path.isfile(folder / RUN_FILE)  # False, not an error, for impossible names of files


def absolute(name: str, base: Path = Path()) -> str:
    """Make the path in ``file.py:attribute``, ``family/./folder``, or to a run, absolute, from `base`.

    Any other name stays as it is.
    """
    if is_run(base / name):
        return str((base / name).resolve())
    user_file = _USER_FILE.fullmatch(name)
    family, _, folder = name.partition("/")
    if not user_file and _NAME.fullmatch(family.rpartition(":")[2]) and folder.startswith(("./", "../", "~")):
        return f"{family}/{(base / os.path.expanduser(folder)).resolve()}"
    if not user_file or "//" in name:  # a family's member whose own path is absolute
        return name
    return f"{(base / os.path.expanduser(user_file['path'])).resolve()}:{user_file['attribute']}"


def is_path(text: str) -> bool:
    """Whether text can be the path of a file where a name may stand as well: it has a point or a slash."""
    return "." in text or "/" in text


def absolute_options(options: Mapping[str, Any], base: Path = Path()) -> dict[str, Any]:
    """Make options that name an existing file, such as one of weights, or a run, absolute, from `base`.

    Text without a point and without a slash is left as it is, even if there is a file of that name. Of lists and tables
    the entries are.
    """

    def located(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [located(each) for each in value]
        if isinstance(value, Mapping):
            return absolute_options(value, base)
        if not isinstance(value, str) or "\0" in value or not is_path(value):
            return value
        path = base / os.path.expanduser(value)
        return str(path.resolve()) if os.path.isfile(path) else absolute(value, base)

    return {name: located(value) for name, value in options.items()}


def check_options(factory: Callable[..., Any], what: str, options: Mapping[str, Any], positional: int = 0) -> None:
    """Raise `MetameryError` if `options` do not fit the factory's signature."""
    signature = inspect.signature(factory)
    accepted = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD][positional:]
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        for name in options:
            if name not in accepted:
                raise unknown(f"option of {what}:", name, accepted)
    for name, value in options.items():
        if isinstance(value, int) and abs(value) > LARGEST:  # no tensor holds it
            raise wrong(f"{what}: {name}", value, f"an integer of at most {LARGEST}, or a number such as 1e30")
    try:
        signature.bind(*[None] * positional, **options)
    except TypeError as error:
        problem = str(error).replace("missing a required argument:", "it needs the option")
        raise MetameryError(f"{what}: {problem}; the factory of a name is called with keyword options only") from None


def _from_file(path: Path, attribute: str, allow: Callable[[Path], None]) -> Callable[..., Any]:
    """Run a Python file of the user and return one of its functions."""
    if not os.path.isfile(path):
        raise MetameryError(f"no file '{path}': expected FILE.py:FUNCTION")
    allow(path)
    name = f"{USER_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with switches.kept(f"'{path}'", generator=True):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise MetameryError(f"'{path}' cannot be run: {type(error).__name__}: {error}") from error
    if not callable(found := getattr(module, attribute, None)):
        own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == name}
        known = [key for key, value in own.items() if inspect.isfunction(value) or inspect.isclass(value)]
        raise unknown(f"function of '{path}':", attribute, known)
    return found  # type: ignore[no-any-return]
