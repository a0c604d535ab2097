"""Choosing layers of a network: by name, by pattern, or evenly spaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from .contract import examine
from .errors import MetameryError, unknown
from .joint import canonical
from .models import Model


def choose_layers(model: Model, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the layers that names, patterns and a number stand for, each once.

    Parameters
    ----------
    model
        The network.
    wanted
        Names of layers; patterns with ``*`` and ``?``, which stand for all layers of a forward pass that they match, in
        its order; or a number alone, such as ``5``, the number of layers, evenly spaced in depth and ending at
        ``output``. A layer that has a number for a name, as in a `torch.nn.Sequential`, comes first. The model's own
        layers if there are none.

    Raises
    ------
    MetameryError
        A pattern matches no layer, a layer is named twice, or there are fewer layers than asked for.

    >>> from metamery.framework.testing import example_model
    >>> choose_layers(example_model(), ["?", "output"]), choose_layers(example_model(), ["2"])
    (('0', '1', '2', '3', '4', 'output'), ('2',))
    """
    if not wanted:
        return tuple(model.objectives or model.layers)
    wanted = [canonical(name) for name in wanted]
    if not any(_is_pattern(name) or name.isdecimal() for name in wanted):
        return tuple(wanted)
    layers = _passed(model)
    if len(wanted) == 1 and wanted[0].isdecimal() and wanted[0] not in layers:
        return spaced_layers(model, int(wanted[0]))
    chosen: dict[str, None] = {}
    for name in wanted:
        if not _is_pattern(name) and list(wanted).count(name) > 1:
            raise MetameryError(f"layer '{name}' is named twice")
        matched = [layer for layer in layers if fnmatchcase(layer, _literal(name))] if _is_pattern(name) else [name]
        if not matched:
            raise unknown("pattern of layers", name, layers)
        chosen |= dict.fromkeys(matched)
    return tuple(chosen)


def spaced_layers(model: Model, count: int) -> tuple[str, ...]:
    """Return a number of layers, evenly spaced in depth from the first to the last.

    They are among the model's own layers, or among all layers of a forward pass if its own are too few.

    Raises
    ------
    MetameryError
        There are fewer layers than asked for.

    >>> from metamery.framework.testing import example_model
    >>> spaced_layers(example_model(), 3)
    ('1', '2', 'output')
    """
    own = model.objectives or model.layers
    among = own if 0 < count <= len(own) else _passed(model)
    if not 0 < count <= len(among):
        raise MetameryError(f"{count} layers are asked for, expected 1 to {len(among)}, or names of layers")
    first, last = 0, len(among) - 1
    if count == 1:
        return (among[last],)
    return tuple(among[round(first + index * (last - first) / (count - 1))] for index in range(count))


def _passed(model: Model) -> list[str]:
    """All layers of a forward pass, in its order."""
    return [layer.name for layer in examine(model).outline if layer.shape is not None and layer.name != "input"]


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _literal(pattern: str) -> str:
    """Escape brackets, which in a layer's name choose an element."""
    return re.sub(r"\[", "[[]", pattern)
