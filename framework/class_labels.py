"""The classes of a network to be trained."""

from __future__ import annotations

from collections.abc import Sequence

from .checks import whole
from .errors import MetameryError

MAX_SIZE = 2**24
"""Largest number of a network's classes or channels: beyond it the weights of one layer would not fit in memory."""


def class_labels(
    model: str, num_classes: int | None, labels: Sequence[str] | None, default: int
) -> tuple[int, tuple[str, ...] | None]:
    """Return the number of classes and their names, which are None if they are not given.

    >>> class_labels("small-cnn", None, ["cat", "dog"], default=10)
    (2, ('cat', 'dog'))

    Raises
    ------
    MetameryError
        The number of classes is below 1 or is not the number of labels, or the labels are a single string.
    """
    if isinstance(labels, str):
        raise MetameryError(f"model '{model}': labels are {labels!r}, expected a list of names")
    names = None if labels is None else tuple(labels)
    count = num_classes if num_classes is not None else default if names is None else len(names)
    check_number(model, "num_classes", count)
    if names is not None and len(names) != count:
        raise MetameryError(f"model '{model}': {len(names)} labels for {count} classes")
    return count, names


def labels_for(model: str, classes: int | None, labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of a network's classes, None if they are not given.

    Raises
    ------
    MetameryError
        Their number differs from that of the classes, or the network has no classes.
    """
    if labels is None:
        return None
    if classes is None:
        raise MetameryError(f"{model} has no last layer, so there are no classes to name; num_classes adds a new one")
    return class_labels(model, classes, labels, classes)[1]


def check_number(model: str, option: str, value: int, least: int = 1) -> None:
    """Raise `MetameryError` unless a value is a whole number of at least `least`."""
    whole(f"model '{model}': {option}", value, least, MAX_SIZE)
