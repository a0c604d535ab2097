"""The measures of match, as the page names and prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .numbers import correlation, decibels, number


@dataclass(frozen=True)
class Metric:
    """One measure of match.

    Parameters
    ----------
    name
        Name in the store.
    symbol, title
        Name in running text, and as a chart's title.
    units
        Units as an axis shows them.
    text
        Function that prints a value.
    lower_is_closer
        Whether 0 is a perfect match.
    """

    name: str
    symbol: str
    title: str
    units: str
    text: Callable[[float], str]
    lower_is_closer: bool = False

    @property
    def axis(self) -> str:
        """Title of an axis."""
        return f"{self.title} ({self.units})"


METRICS = (
    Metric("pearson", "r", "Pearson’s r", "unitless", correlation),
    Metric("spearman", "ρ", "Spearman’s ρ", "unitless", correlation),
    Metric("snr_db", "SNR", "signal-to-noise ratio", "dB", decibels),
    Metric("snr_db_2023", "SNR of 2023", "SNR as the code of 2023 prints it", "dB", decibels),
    Metric("relative_l2", "relative L2", "relative L2 distance", "unitless", number, lower_is_closer=True),
)

JUDGED = METRICS[:3]
"""The metrics that success is judged by, and that have a null."""
