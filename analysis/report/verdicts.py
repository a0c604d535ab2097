"""The page's verdict on a metamer: whether it succeeds, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...framework.schema import VERDICTS

if TYPE_CHECKING:
    from ...framework.model_results import ModelResults


@dataclass(frozen=True)
class Verdict:
    """A verdict: its class in the style sheet, its symbol, and its text."""

    kind: str
    sign: str
    text: str
    order: int  # from best to worst, for sorting


SUCCEEDS = Verdict("succeeds", "●", "succeeds", 0)
OTHER_LABEL = Verdict("fails", "◐", "other label", 1)
NO_MATCH = Verdict("fails", "○", "does not match", 2)
UNATTAINABLE = Verdict("open", "◌", "unattainable", 3)
UNKNOWN = Verdict("open", "", "", 4)


def verdict(success: int, matches: int, agrees: int) -> Verdict:
    """Put the store's flags into words; unknown where the metamer was not judged.

    >>> verdict(0, 1, 0).text, verdict(0, 0, 1).text, verdict(2, 2, 1).text
    ('other label', 'does not match', 'unattainable')
    """
    if success == VERDICTS["yes"]:
        return SUCCEEDS
    if success == VERDICTS["unattainable"]:
        return UNATTAINABLE
    if success == VERDICTS["no"]:
        return NO_MATCH if matches == VERDICTS["no"] or agrees == 1 else OTHER_LABEL
    return UNKNOWN


def verdicts(model: ModelResults, prefix: str = "") -> list[list[list[Verdict]]]:
    """Return the verdict on each metamer, by layer, stimulus and seed; `prefix` may be ``quantised_``."""
    success, matches, agrees = (model.answers(prefix + name, -1) for name in ("success", "matches", "agrees"))
    return [
        [[verdict(*map(int, each)) for each in zip(*seeds, strict=True)] for seeds in zip(*stimuli, strict=True)]
        for stimuli in zip(success, matches, agrees, strict=True)
    ]
