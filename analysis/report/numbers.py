"""Numbers as the page prints them."""

from __future__ import annotations

import math

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MISSING = "–"


def number(value: float) -> str:
    """Print three significant digits, whole numbers in full, very small and large ones with a power of ten.

    >>> number(0.0123), number(3.2e-5), number(240), number(-1415), number(float("nan")), number(float("-inf"))
    ('0.0123', '3.20 × 10⁻⁵', '240', '−1,415', '–', '−∞')
    """
    if not math.isfinite(value):
        return _not_finite(value)
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value):,}".replace("-", "−")
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:#.3g}".rstrip(".").replace("-", "−") if abs(value) < 999.5 else number(round(value))
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.replace('-', '−')} × {power(int(exponent))}"


def correlation(value: float) -> str:
    """Print three decimals, and near 1 as many as distinguish it from 1.

    >>> correlation(0.5), correlation(-0.0312), correlation(0.99996), correlation(1.0)
    ('0.500', '−0.031', '0.99996', '1')
    """
    if not math.isfinite(value):
        return _MISSING
    short_of_one = 1 - abs(value)
    if short_of_one < 1e-7:
        return "−1" if value < 0 else "1"
    decimals = max(3, math.ceil(-math.log10(short_of_one)))
    return f"{value:.{decimals}f}".replace("-", "−")


def decibels(value: float) -> str:
    """Print one decimal; a perfect match is infinite.

    >>> decibels(31.24), decibels(-0.04), decibels(float("inf")), decibels(float("nan"))
    ('31.2', '0.0', '∞', '–')
    """
    if not math.isfinite(value):
        return _not_finite(value)
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Print an interval; empty text where an end is not finite.

    >>> interval(-0.25, 1.0), interval(float("nan"), 1.0)
    ('(−0.250 to 1)', '')
    """
    return f"({number(low)} to {number(high)})" if math.isfinite(low) and math.isfinite(high) else ""


def _not_finite(value: float) -> str:
    return _MISSING if math.isnan(value) else "∞" if value > 0 else "−∞"


def power(exponent: int) -> str:
    """Print a power of ten.

    >>> power(-4), power(0)
    ('10⁻⁴', '1')
    """
    return f"10{str(exponent).translate(_RAISED)}" if exponent else "1"
