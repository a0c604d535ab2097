"""Factories of the bundled distances."""

from __future__ import annotations

from ...analysis.proof import distances
from ...framework.protocols import Distance


def relative_l2() -> Distance:
    return distances.relative_l2


def cosine() -> Distance:
    return distances.cosine


def correlation() -> Distance:
    return distances.correlation
