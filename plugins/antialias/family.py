"""The family ``antialias/``: any network by name, with a blur before it subsamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...framework.errors import MetameryError, unknown
from ...framework.manager import Plugins
from ...framework.models import Model
from .surgery import antialiased
from .windows import KINDS


def antialiased_by_name(name: str, *, plugins: Plugins, keep: Sequence[str] = (), **options: Any) -> Model:
    """Build a network by name and anti-alias it: ``blur3/torchvision/resnet18``.

    Parameters
    ----------
    name
        ``KIND/MODEL``; the kind is one of `KINDS`.
    plugins
        Plugins in which the model is looked up.
    keep
        Paths of modules to leave as they are.
    **options
        Options of the model.

    Returns
    -------
    Model
        The anti-aliased model; its notes list what was replaced and what could not be.
    """
    kind, _, inner = name.partition("/")
    if kind not in KINDS:
        raise unknown("anti-aliasing", kind, KINDS)
    if not inner:
        raise MetameryError(f"model 'antialias/{name}': expected antialias/KIND/MODEL")
    model, replaced = antialiased(plugins.load("model", inner, **options), kind, keep)
    return replace(model, notes=tuple(map(str, replaced)))
