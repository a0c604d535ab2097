"""Joint layers: several layers of a network at which a metamer matches at once, as a weighted sum of their names.

``conv1 + 0.5 conv3`` is a joint layer of two terms. The signs have spaces on both sides, as no layer's name has
outside of quotes; a term without a weight has weight 1, and a term with a minus pushes the signals apart there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import MetameryError

_QUOTED = r"'[^']*'|\"[^\"]*\""
_TERM = re.compile(rf"\s*(?:(?P<weight>\d+(?:\.\d*)?|\.\d+)\s+)?(?P<layer>(?![+-](?:\s|$))(?:{_QUOTED}|[^\s'\"])+)\s*")
_SIGN = re.compile(r"(?<=\s)[+-](?=\s)")


@dataclass(frozen=True)
class Term:
    """One layer of a joint layer.

    Parameters
    ----------
    layer
        Name of the layer.
    weight
        Weight of its distance in the sum that synthesis lowers; not 0.
    """

    layer: str
    weight: float = 1.0


def is_joint(layer: str) -> bool:
    """Whether a layer's name has several terms, or a weight.

    >>> is_joint("conv1 + conv3"), is_joint("0.5 conv1"), is_joint("blocks['a + b']"), is_joint("conv1")
    (True, True, False, False)
    """
    return " " in re.sub(_QUOTED, "", layer.strip())


def terms_of(layer: str) -> tuple[Term, ...]:
    """Return the terms of a layer: itself, or those of a joint layer, without terms of weight 0.

    Raises
    ------
    MetameryError
        The sum is not of this form, has a layer twice, or has no term of positive weight.

    >>> terms_of("conv1 + 0.5 conv3 - fc")
    (Term(layer='conv1', weight=1.0), Term(layer='conv3', weight=0.5), Term(layer='fc', weight=-1.0))
    """
    if not is_joint(layer):
        return (Term(layer),)
    found: dict[str, float] = {}
    sign, position = 1.0, 0
    while match := _TERM.match(layer, position):
        name, position = match["layer"], match.end()
        if name in found:
            raise MetameryError(f"joint layer '{layer}' has '{name}' twice, expected each layer once")
        found[name] = sign * float(match["weight"] or 1)
        if not (following := _SIGN.match(layer, position)):
            break
        sign, position = (-1.0 if following[0] == "-" else 1.0), following.end()
    if position < len(layer):
        raise MetameryError(
            f"'{layer}' is not a layer name: expected a module path, or a sum of these such as 'conv1 + 0.5 conv3'"
        )
    if not any(weight > 0 for weight in found.values()):
        raise MetameryError(f"joint layer '{layer}' matches nowhere: expected a term of positive weight")
    return tuple(Term(name, weight) for name, weight in found.items() if weight)


def single_layers(layers: Iterable[str]) -> tuple[str, ...]:
    """Return the layers of all terms, each once.

    >>> single_layers(["conv1", "conv1 + conv3"])
    ('conv1', 'conv3')
    """
    return tuple(dict.fromkeys(term.layer for layer in layers for term in terms_of(layer)))


def with_terms(layers: Iterable[str]) -> tuple[str, ...]:
    """Return layers followed by those of their terms that are not among them.

    >>> with_terms(["conv1 + conv3", "conv1"])
    ('conv1 + conv3', 'conv1', 'conv3')
    """
    layers = tuple(layers)
    return tuple(dict.fromkeys([*layers, *single_layers(layers)]))


def canonical(layer: str) -> str:
    """Return a layer's name as it is stored: a sum with single spaces, without terms of weight 0; one term by itself.

    >>> canonical("conv1 - 1.0 fc  +  .50 conv3"), canonical("2 conv1 + 0 conv3")
    ('conv1 + 0.5 conv3 - fc', 'conv1')
    """
    return sum_of(terms_of(layer))


def sum_of(terms: Sequence[Term]) -> str:
    """Return the name of the joint layer of some terms, those that pull first, or that of the only one."""
    if len(terms) == 1:
        return terms[0].layer
    text = ""
    for term in sorted(terms, key=lambda term: term.weight < 0):
        sign, size = "-" if term.weight < 0 else "+", abs(term.weight)
        text += (f" {sign} " if text else "") + (f"{size:g} " if size != 1 else "") + term.layer
    return text
