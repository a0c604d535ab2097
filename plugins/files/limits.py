"""A part of a large set of stimuli."""

from __future__ import annotations

from ...framework.checks import whole


def check_limit(limit: int | None) -> None:
    """Raise `MetameryError` unless `limit` is None or a whole number above 0."""
    if limit is not None:
        whole("limit", limit, 1)


def spread(count: int, limit: int | None) -> range | list[int]:
    """Choose at most `limit` of `count` positions, evenly spread, in order.

    Sets are often sorted by class; the first hundred would then show a single one.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    >>> spread(3, None)
    range(0, 3)
    """
    check_limit(limit)
    if limit is None or limit >= count:
        return range(count)
    return [position * count // limit for position in range(limit)]
