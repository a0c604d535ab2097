"""Faults in the code of a plugin or in a user's file: whose they are, and the traceback from there on."""

from __future__ import annotations

import traceback
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .manager import Plugins
    from .registry import Entry

USER_MODULE = "metamery_user_"
"""Beginning of the names of modules that are run from a user's file."""


def fault(error: BaseException, plugins: Plugins) -> tuple[str, str] | None:
    """Return whose fault an exception is, in one line, and its traceback from that code on.

    Returns
    -------
    tuple of str, or None
        None if no code of an installed plugin or of a user's file takes part.
    """
    at: TracebackType | None = error.__traceback__
    while at is not None and not (owner := _owner(at.tb_frame, plugins)):
        at = at.tb_next
    if at is None:
        return None
    text = str(error).strip().partition("\n")[0]
    lines = traceback.format_exception(type(error), error, at)
    return f"fault in {owner}: {type(error).__name__}{': ' if text else ''}{text}", "".join(lines)


def _owner(frame: FrameType, plugins: Plugins) -> str:
    """Say whose code a frame runs, and for which name, where that is clear; empty for metamery's and libraries'."""
    module = str(frame.f_globals.get("__name__", ""))
    root = module.partition(".")[0]
    if root == "metamery":
        return ""
    entries = [entry for entry in plugins.used.values() if _target(entry)[0].partition(".")[0] == root]
    function = frame.f_code.co_qualname.partition(".")[0]
    exact = [entry for entry in entries if _target(entry) == (module, function)]
    here = [entry for entry in entries if _target(entry)[0] == module]
    own = exact or here or entries
    name = f" ({own[0].kind} '{own[0].name}')" if len(own) == 1 else ""
    if module.startswith(USER_MODULE):
        return f"'{frame.f_code.co_filename}'{name}"
    owners = [entry.plugin for entry in own] or [
        plugin.name for plugin in plugins.loaded if plugin.module.__name__.partition(".")[0] == root
    ]
    return f"plugin '{owners[0]}'{name}" if owners else ""


def _target(entry: Entry) -> tuple[str, str]:
    """Return the module of an entry's factory, and the first part of its path there."""
    if isinstance(entry.target, str):
        module, _, path = entry.target.partition(":")
    else:
        module, path = entry.target.__module__, getattr(entry.target, "__qualname__", "")
    return module, path.partition(".")[0]
