"""Factories of the bundled distances."""

from __future__ import annotations

from ...analysis import distances
from ...analysis.matching import Distance


def relative_l2() -> Distance:
    return distances.relative_l2


def cosine() -> Distance:
    return distances.cosine


def correlation() -> Distance:
    return distances.correlation
