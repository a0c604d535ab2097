"""Which participants are excluded, by rules that are stated before; nothing is deleted."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ...framework.checks import check_types, flag, number, whole
from ...framework.errors import unknown
from .key import Key
from .records import ENDS, Record, Session


@dataclass(frozen=True)
class Rules:
    """Rules of exclusion. Each applies to a session as a whole.

    Parameters
    ----------
    complete
        Exclude sessions that lack an answer to a trial of their list.
    first_visit
        Exclude a participant's later sessions: those after the first in which a trial of the main part was answered.
    catch
        Exclude below this proportion of catch trials with the right answer; 0 applies no rule.
    headphones
        Exclude below this number of right answers in a headphone check; 0 applies no rule.
    fast_median
        Exclude below this median reaction time in the main part, in seconds; 0 applies no rule.
    fast_trial
        Reaction time in seconds below which a trial counts as fast.
    fast_share
        Exclude above this proportion of fast trials; 1 applies no rule.
    """

    complete: bool = True
    first_visit: bool = True
    catch: float = 0.75
    headphones: int = 5
    fast_median: float = 0.2
    fast_trial: float = 0.2
    fast_share: float = 0.1

    def __post_init__(self) -> None:
        flag("complete", self.complete)
        flag("first_visit", self.first_visit)
        number("catch", self.catch, 0, 1)
        whole("headphones", self.headphones)
        number("fast_median", self.fast_median, 0)
        number("fast_trial", self.fast_trial, 0)
        number("fast_share", self.fast_share, 0, 1)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make rules from named settings.

        Raises
        ------
        MetameryError
            A setting is unknown, of another type, or out of its range.
        """
        known = [each.name for each in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown("rule of exclusion", name, known)
        check_types(cls, "rules of exclusion", options)
        return cls(**options)

    def table(self) -> dict[str, Any]:
        return asdict(self)


def excluded(key: Key, sessions: Sequence[Session], rules: Rules) -> dict[str, str]:
    """Return why each session is excluded: its reasons, joined by ``; ``, or empty text.

    Parameters
    ----------
    sessions
        Sessions in the order of their start.
    """
    seen: set[str] = set()
    reasons: dict[str, str] = {}
    for session in sessions:
        found = _reasons(key, session, rules)
        if rules.first_visit and session.participant in seen:
            found.insert(0, "took part before")
        if any(record.part == "main" for record in session.records):
            seen.add(session.participant)
        reasons[session.session] = "; ".join(found)
    return reasons


def catch_trials(key: Key, session: Session) -> tuple[int, int]:
    """Number of catch trials with the right answer, and of those that were answered."""
    given = [record for record in answered(key, session) if key.items[record.item].role == "catch"]
    return sum(record.answer == key.items[record.item].answer for record in given), len(given)


def headphone_checks(key: Key, session: Session) -> dict[str, int]:
    """Number of right answers in each headphone check, by what its sounds are: ``tone`` or ``noise``."""
    right: dict[str, int] = {}
    for record in session.records:
        item = key.items.get(record.item)
        if record.part == "headphones" and item is not None:
            right[item.shown] = right.get(item.shown, 0) + (record.answer == item.answer)
    return right


def reaction_times(key: Key, session: Session) -> list[float]:
    """Reaction times in the main part, in seconds."""
    return [record.rt_ms / 1000 for record in answered(key, session) if record.rt_ms >= 0]


def answered(key: Key, session: Session) -> list[Record]:
    """Records of the main part that fit the session's list: the right item at each number."""
    trials = key.trials(session.list_)
    return [
        record
        for record in session.records
        if record.part == "main" and record.number < len(trials) and record.item == trials[record.number]
    ]


def _reasons(key: Key, session: Session, rules: Rules) -> list[str]:
    found = []
    if session.end in ENDS[1:]:
        found.append({"consent": "did not consent"}.get(session.end, f"did not pass the part '{session.end}'"))
    given, asked = len(answered(key, session)), len(key.trials(session.list_))
    if rules.complete and given < asked:
        found.append(f"incomplete: {given} of {asked} trials")
    checks = headphone_checks(key, session)
    if (least := min(checks.values(), default=rules.headphones)) < rules.headphones:
        found.append(f"headphone check: {least} right, fewer than {rules.headphones}")
    right, shown = catch_trials(key, session)
    if shown and right / shown < rules.catch:
        found.append(f"catch trials: {right} of {shown} right, less than {rules.catch:g}")
    times = reaction_times(key, session)
    if times and (median := statistics.median(times)) < rules.fast_median:
        found.append(f"too fast: median {median:.3f} s, below {rules.fast_median:g} s")
    fast = sum(time < rules.fast_trial for time in times)
    if times and fast / len(times) > rules.fast_share:
        found.append(f"too fast: {fast} of {len(times)} trials below {rules.fast_trial:g} s")
    return found
