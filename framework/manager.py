"""`Plugins`: the plugins that are loaded, and everything they registered.

There is no global manager: a program or a notebook makes a `Plugins` object and looks names up in it.

>>> plugins = Plugins(installed=())
>>> plugins.find("distance", "relative_l2").qualified
'synthesis:relative_l2'
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs, switches
from .errors import MetameryError, UnknownNameError, unknown
from .registry import KINDS, Entry, Lookup, Registry, is_run
from .trace import traced
from .trust import Trust

BUNDLED = (
    "metamery.analysis.commands",
    "metamery.plugins.antialias",
    "metamery.plugins.audio",
    "metamery.plugins.evaluators",
    "metamery.plugins.feather2023",
    "metamery.plugins.files",
    "metamery.plugins.huggingface",
    "metamery.plugins.robustness",
    "metamery.plugins.synthesis",
    "metamery.plugins.torchattacks",
    "metamery.plugins.vision",
    "metamery.training.commands",
)
"""The plugins that come with metamery, as text: the framework imports none of them by itself."""

_WRAPPERS = ("wrapper", "hookwrapper")


@dataclass(frozen=True)
class Plugin:
    """One loaded plugin: its name, its module, and the distribution and version it came with."""

    name: str
    module: ModuleType
    distribution: str
    version: str


@dataclass(frozen=True)
class Problem:
    """Why a plugin was left out."""

    plugin: str
    message: str

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' is left out: {self.message}"


class Plugins:
    """The loaded plugins and their names.

    Parameters
    ----------
    extra
        Modules to load as plugins, besides the bundled and installed ones.
    installed
        Names of the installed third-party plugins to load; all of them by default. The environment variable
        ``METAMERY_PLUGINS`` (names separated by commas, or empty for none) sets this default.
    trust
        Whether the Python files that studies and runs name (``FILE.py:FUNCTION``) are run when these are loaded. Files
        that the caller names are always run. The environment variable ``METAMERY_TRUST`` (``1``) sets this default.

    Attributes
    ----------
    loaded : list of Plugin
    commands : dict
        Commands of each plugin, by the plugin's name, once the program is built.
    problems : list of Problem
        One entry for each plugin that could not be loaded; the others work without it.
    trust : Trust
        Which Python files may be run.
    used : dict
        Entry of everything that was loaded, by its kind and qualified name.
    """

    def __init__(
        self, extra: Iterable[ModuleType] = (), *, installed: Sequence[str] | None = None, trust: bool | None = None
    ) -> None:
        self.trust = Trust(trust)
        self.loaded: list[Plugin] = []
        self.commands: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self.used: dict[tuple[str, str], Entry] = {}
        self._registries = {kind: Registry(kind) for kind in KINDS}
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        for path in BUNDLED:
            self._load(_bundled_name(path), partial(importlib.import_module, path), "metamery", own_version())
        for point in _entry_points(installed):
            distribution, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
            self._load(point.name, point.load, distribution, version)
        for module in extra:
            self._load(module.__name__.rpartition(".")[2], partial(_itself, module), "", "")

    def entries(self, kind: str) -> list[Entry]:
        """Return the entries of one kind, sorted by name."""
        return self._registry(kind).entries()

    def find(self, kind: str, name: str) -> Lookup:
        """Look a name up without importing its factory.

        Raises
        ------
        UnknownNameError
            The name is unknown; the message has the nearest one, and the plugins that could not be loaded.
        MetameryError
            Several plugins registered the name, or a file that a study or a run names would be run without trust.
        """
        try:
            return self._registry(kind).find(name, self.hint, self.trust.check)
        except UnknownNameError:
            plugin, colon, _ = name.partition(":")
            if not colon or not plugin.isidentifier() or plugin in {each.name for each in self.loaded}:
                raise
            raise UnknownNameError(
                f"{kind} '{name}' needs plugin '{plugin}', which is not installed{self.hint}"
            ) from None

    @property
    def hint(self) -> str:
        """The plugins that could not be loaded, for the end of a message about an unknown name; empty without any."""
        return f" ({'; '.join(map(str, self.problems))})" if self.problems else ""

    def qualified(self, kind: str, name: str, *, only_bundled: bool = False) -> str:
        """Return a stored name with its plugin; files, runs and names that are not registered stay as they are.

        A name that was stored without its plugin, and that a bundled plugin registers, is the bundled one, since a
        name that two plugins register cannot be used without its plugin. With `only_bundled`, names of other plugins
        stay as they are, too.
        """
        registry = self._registry(kind)
        if kind == "model" and is_run(Path(name)):
            return name
        matches = registry.matches(name)
        bundled = [entry for entry in matches if entry.plugin in _BUNDLED_NAMES]
        found = bundled if only_bundled else bundled or matches
        if len(found) != 1:
            return name
        prefix = f"{found[0].plugin}:"
        return f"{prefix}{name.removeprefix(prefix)}"

    def load(self, kind: str, name: str, /, **options: Any) -> Any:
        """Build what a name stands for.

        Raises
        ------
        MetameryError
            The name is unknown or ambiguous, an option is unknown, or the factory does not return what `kind`
            requires.
        """
        found = self.find(kind, name)
        self.used[kind, found.qualified] = found.entry
        given = {"plugins": self} if found.wants_plugins else {}
        return _check_type(kind, found.qualified, found.build(**options, **given))

    def hook_calls(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Yield the implementations of one hook, with their plugins' names, in the order of loading."""
        for plugin in self.loaded:
            for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
                if implementation.plugin is plugin.module:
                    yield (
                        plugin.name,
                        lambda _i=implementation, **given: _i.function(*[given[name] for name in _i.argnames]),
                    )

    def reject(self, plugin: str, message: str) -> None:
        """Remove a plugin with all its names, and record the reason."""
        self.problems.append(Problem(plugin, " ".join(message.split())))
        self.loaded = [other for other in self.loaded if other.name != plugin]
        if self._pluggy.has_plugin(plugin):
            self._pluggy.unregister(name=plugin)
        for registry in self._registries.values():
            registry.remove(plugin)

    def _registry(self, kind: str) -> Registry:
        if kind not in self._registries:
            raise unknown("kind", kind, KINDS)
        return self._registries[kind]

    def _load(self, name: str, module: Callable[[], ModuleType], distribution: str, version: str) -> None:
        if any(plugin.name == name for plugin in self.loaded):
            self.problems.append(Problem(name, f"the name '{name}' is taken by another plugin ({distribution})"))
            return
        try:
            with switches.kept(f"plugin '{name}'", generator=True):
                plugin = Plugin(name, module(), distribution, version)
            self._pluggy.register(plugin.module, name)
            self._refuse_misuse(plugin)
            self.loaded.append(plugin)
            for kind, hook in KINDS.items():
                self._register(plugin, kind, hook)
        except (Exception, SystemExit) as error:  # a module may call sys.exit
            message = str(error) if isinstance(error, MetameryError) else f"{type(error).__name__}: {error}"
            self.reject(name, message)

    def _register(self, plugin: Plugin, kind: str, hook: str) -> None:
        added: list[str] = []

        def register(name: str, target: str | Callable[..., Any], summary: str = "", **facts: str) -> None:
            self._registries[kind].add(Entry(kind, plugin.name, name, target, summary, facts))
            added.append(name)

        for owner, call in self.hook_calls(hook):
            if owner == plugin.name:
                with traced(plugin.name, hook, added):
                    call(register=register)

    def _refuse_misuse(self, plugin: Plugin) -> None:
        for caller in self._pluggy.get_hookcallers(plugin.module) or ():
            if not caller.has_spec():
                raise unknown("hook", caller.name, [*KINDS.values(), "register_commands"])
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin.module and any(getattr(implementation, kind) for kind in _WRAPPERS):
                    raise MetameryError(
                        f"'{caller.name}' is a hook wrapper; metamery does not accept any, so that installing "
                        "a plugin never changes the results of another"
                    )


def short(name: str) -> str:
    """Return a stored name as people read it: without its plugin if that is a bundled one.

    >>> short("synthesis:adam"), short("my-lab:adam")
    ('adam', 'my-lab:adam')
    """
    plugin, _, bare = name.partition(":")
    return bare if plugin in _BUNDLED_NAMES else name


def _entry_points(installed: Sequence[str] | None) -> list[EntryPoint]:
    points = _installed()
    if installed is None and (listed := os.environ.get("METAMERY_PLUGINS")) is not None:
        installed = [name.strip() for name in listed.split(",") if name.strip()]
    if installed is None:
        return points
    for name in installed:
        if name not in {point.name for point in points}:
            raise unknown("plugin", name, [point.name for point in points])
    return [point for point in points if point.name in installed]


def taken_names() -> dict[str, str]:
    """Return the name of every plugin, bundled or installed, loaded or not, with its distribution."""
    installed = {point.name: point.dist.name if point.dist else "?" for point in _installed()}
    return installed | {_bundled_name(path): "metamery" for path in BUNDLED}


def _installed() -> list[EntryPoint]:
    return sorted(entry_points(group=hookspecs.PROJECT), key=lambda point: point.name)


def _bundled_name(path: str) -> str:
    return path.removesuffix(".commands").rpartition(".")[2]


_BUNDLED_NAMES = frozenset(map(_bundled_name, BUNDLED))


def _itself(module: ModuleType) -> ModuleType:
    return module


def own_version() -> str:
    """Return the version of metamery that is installed; ``?`` where it is not installed as a distribution."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("metamery")
    except PackageNotFoundError:
        return "?"


def _check_type(kind: str, name: str, built: Any) -> Any:
    if kind == "model":
        from .models import Model

        expected, fits = "Model(module, domain, layers)", isinstance(built, Model)
    elif kind == "stimuli":
        expected, fits = "a sequence of Stimulus", hasattr(built, "__len__") and hasattr(built, "__getitem__")
    elif kind == "recipe":
        from .recipes import Recipe

        expected, fits = "Recipe", isinstance(built, Recipe)
    else:
        expected, fits = "a callable", callable(built)
    if not fits:
        raise MetameryError(f"{kind} '{name}' returned {type(built).__name__}, expected {expected}")
    return built
