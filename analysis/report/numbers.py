"""Numbers as the page prints them."""

from __future__ import annotations

import math

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """Print three significant digits, whole numbers in full, very small and large ones with a power of ten.

    >>> number(0.0123), number(3.2e-5), number(240), number(float("nan"))
    ('0.0123', '3.20 × 10⁻⁵', '240', '–')
    """
    if not math.isfinite(value):
        return "–"
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value):_}".replace("-", "−").replace("_", "\N{NARROW NO-BREAK SPACE}")
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:#.3g}".rstrip(".").replace("-", "−") if abs(value) < 999.5 else number(round(value))
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.replace('-', '−')} × {power(int(exponent))}"


def power(exponent: int) -> str:
    """Print a power of ten.

    >>> power(-4), power(0)
    ('10⁻⁴', '1')
    """
    return f"10{str(exponent).translate(_RAISED)}" if exponent else "1"
