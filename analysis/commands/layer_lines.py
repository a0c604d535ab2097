"""Layers of a network as text, for the command `show`: a table of some, or the tree of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...framework.models import Model
    from ...framework.outline import LayerOutline

_NUMBERS = f"{'units':>10} {'ReLU':>5} {'MB each':>8}"


def layer_table(model: Model, layers: Sequence[LayerOutline]) -> Iterator[str]:
    """Yield a line for each of the model's own layers, by its full name."""
    widths = _token_widths(model)
    rows = [(layer.name, layer.kind, _shape(layer, widths), _numbers(layer)) for layer in layers]
    yield from _aligned([row for row in rows if row[0] in model.layers])


def layer_tree(model: Model, layers: Sequence[LayerOutline]) -> Iterator[str]:
    """Yield a line for each layer, indented by its path, parents before their parts; the model's own have a star."""
    widths = _token_widths(model)
    root = _Node()
    for layer in layers:
        node = root
        for part in layer.name.split("."):
            node = node.parts.setdefault(part, _Node())
        node.layer = layer
    kinds = {path: type(module).__name__ for path, module in model.module.named_modules()}

    def rows(node: _Node, path: str, depth: int) -> Iterator[tuple[str, str, str, str]]:
        for name, part in node.parts.items():
            full = f"{path}.{name}" if path else name
            star = " *" if full in model.layers else ""
            if part.layer is None:  # a container that is not called itself
                yield f"{'  ' * depth}{name}", kinds.get(full, ""), "", ""
            else:
                shape = _shape(part.layer, widths)
                yield f"{'  ' * depth}{name}{star}", part.layer.kind, shape, _numbers(part.layer)
            yield from rows(part, full, depth + 1)

    yield from _aligned(list(rows(root, "", 0)))
    yield "\nA layer's name is its path, with points: of a line, and of those above it that are less indented."
    yield "*: the model's own layers."


@dataclass
class _Node:
    layer: LayerOutline | None = None
    parts: dict[str, _Node] = field(default_factory=dict)


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    titled = [("layer", "module", "shape", _NUMBERS), *rows]
    name, kind, shape = (max(len(row[column]) for row in titled) for column in range(3))
    yield ""
    for row in titled:
        yield f"{row[0]:<{name}}  {row[1]:<{kind}}  {row[2]:>{shape}} {row[3]}".rstrip()


def _numbers(layer: LayerOutline) -> str:
    kept = f"{layer.kept_bytes / 1e6:.{1 if layer.kept_bytes >= 1e5 else 3}f}"
    return f"{layer.units:>10} {'yes' if layer.ends_in_relu else '':>5} {kept:>8}"


def _shape(layer: LayerOutline, token_widths: set[int]) -> str:
    if layer.shape is None:
        return "no tensor"
    if len(layer.shape) == 2 and layer.shape[1] in token_widths:
        return f"{layer.shape[0]} tokens × {layer.shape[1]}"
    return " × ".join(map(str, layer.shape)) or "one number"


def _token_widths(model: Model) -> set[int]:
    """Return the widths of a transformer: those that its LayerNorms work on."""
    from torch import nn

    return {part.normalized_shape[0] for part in model.module.modules() if isinstance(part, nn.LayerNorm)}
