"""Suppliers: the plugins from which a study or a run took its names, as its results record them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from .errors import MetameryError, UnknownNameError
from .folders import has_results
from .manager import Plugins
from .remote import Folder


def suppliers(names: Iterable[str], plugins: Plugins) -> list[str]:
    """Return the plugins of qualified names, each as ``NAME (DISTRIBUTION VERSION)``, sorted."""
    supplying = {name.partition(":")[0] for name in names}
    return sorted(f"{p.name} ({p.distribution} {p.version})" for p in plugins.loaded if p.name in supplying)


@contextmanager
def naming_missing(folder: Folder, plugins: Plugins) -> Iterator[None]:
    """Turn an unknown name into the plugin that a folder's results record, where that one is not loaded.

    Raises
    ------
    UnknownNameError
        A name is unknown.
    """
    try:
        yield
    except UnknownNameError as error:
        loaded = {plugin.name for plugin in plugins.loaded}
        missing = [each for each in _recorded(folder) if each.partition(" ")[0] not in loaded]
        if not missing:
            raise
        raise UnknownNameError(
            f"'{folder}' needs plugin {' and '.join(missing)}, which is not installed or not loaded ({error})"
        ) from None


def _recorded(folder: Folder) -> list[str]:
    """Return the suppliers that results record; none where there are no results that can be read."""
    from .results import open_study

    if has_results(folder):
        with suppress(MetameryError):
            return list(open_study(folder).attrs.get("plugins", ()))
    return []
