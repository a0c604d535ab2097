"""Tables of an experiment: one row for each trial, for each other answer, and for each participant."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from .exclusions import answered, catch_trials, headphone_checks, reaction_times
from .key import Key
from .records import Record, Session

if TYPE_CHECKING:
    import pandas as pd

TRIAL_COLUMNS: Mapping[str, tuple[str, str]] = {
    "participant": ("string", "pseudonym of the participant"),
    "session": ("string", "identifier of the visit"),
    "list": ("Int64", "number of the list of trials, from 0"),
    "block": ("Int64", "number of the block, from 0"),
    "number": ("Int64", "number of the trial in the main part, from 0, catch trials included"),
    "role": ("string", "main or catch"),
    "stimulus": ("string", "natural signal that is shown or that the metamer was made of; empty for catch trials"),
    "category": ("string", "right answer"),
    "model": ("string", "network that the metamer was made for; empty for natural signals that belong to all"),
    "layer": ("string", "layer at which the metamer was made; natural for natural signals"),
    "seed": ("Int64", "repetition of the synthesis; missing for natural signals"),
    "shown": ("string", "what was shown: metamer, natural, icon"),
    "reason": ("string", "why something else was shown than intended; empty if it was not"),
    "alternatives": ("string", "answers that were offered, a list in JSON; empty for all of the experiment's"),
    "answer": ("string", "the participant's answer"),
    "correct": ("boolean", "whether it is the right one"),
    "reaction_time": ("Float64", "time from when answers could be given to the answer, in s"),
    "display_time": ("Float64", "measured time of the signal's presentation, in s"),
    "hidden": ("boolean", "whether the page was not visible at some time during the trial"),
    "excluded": ("string", "why the session is excluded; empty if it is not"),
}
"""Columns of the trials of the main part: type and description."""

ANSWER_COLUMNS: Mapping[str, tuple[str, str]] = {
    **{name: TRIAL_COLUMNS[name] for name in ("participant", "session")},
    "part": ("string", "part of the experiment"),
    "number": ("Int64", "number within the part, from 0"),
    "item": ("string", "name of the file that was shown, or of the question"),
    "category": ("string", "right answer; empty where there is none"),
    **{name: TRIAL_COLUMNS[name] for name in ("answer", "correct", "reaction_time", "display_time", "hidden")},
}
"""Columns of the answers in the other parts: type and description."""

SESSION_COLUMNS: Mapping[str, tuple[str, str]] = {
    **{name: TRIAL_COLUMNS[name] for name in ("participant", "session", "list")},
    "started": ("string", "time of the start, UTC"),
    "end": ("string", "how the session ended; empty if it did not"),
    "trials": ("Int64", "number of trials of the main part that were answered"),
    "catch_trials": ("Int64", "number of catch trials that were answered"),
    "catch_right": ("Int64", "number of those with the right answer"),
    "headphones_right": ("Int64", "fewest right answers in a headphone check; missing without one"),
    "median_reaction_time": ("Float64", "median reaction time in the main part, in s"),
    "hidden_trials": ("Int64", "number of trials during which the page was hidden"),
    "agent": ("string", "browser"),
    "screen": ("string", "size of the screen in pixels"),
    "refresh_rate": ("Float64", "refresh rate of the screen, in Hz"),
    "excluded": TRIAL_COLUMNS["excluded"],
}
"""Columns of the sessions: type and description."""


def trials(key: Key, sessions: Sequence[Session], reasons: Mapping[str, str]) -> pd.DataFrame:
    """Return the trials of the main part, with the columns `TRIAL_COLUMNS`.

    Parameters
    ----------
    reasons
        Why each session is excluded, as `exclusions.excluded` returns it.
    """
    rows = []
    for session in sessions:
        starts = [0]
        for block in key.lists[session.list_]:
            starts.append(starts[-1] + len(block))
        for record in sorted(answered(key, session), key=lambda each: each.number):
            item = key.items[record.item]
            rows.append(
                {
                    "participant": session.participant,
                    "session": session.session,
                    "list": session.list_,
                    "block": sum(start <= record.number for start in starts[1:]),
                    "number": record.number,
                    "role": item.role,
                    "stimulus": item.stimulus,
                    "category": item.answer,
                    "model": item.model,
                    "layer": item.layer,
                    "seed": item.seed if item.seed >= 0 else None,
                    "shown": item.shown,
                    "reason": item.reason,
                    "alternatives": json.dumps(item.alternatives, ensure_ascii=False) if item.alternatives else "",
                    **_answer(record, item.answer),
                    "excluded": reasons[session.session],
                }
            )
    return _frame(rows, TRIAL_COLUMNS)


def other_answers(key: Key, sessions: Sequence[Session]) -> pd.DataFrame:
    """Return the answers in parts other than the main one, with the columns `ANSWER_COLUMNS`."""
    rows = []
    for session in sessions:
        for record in session.records:
            if record.part != "main":
                right = key.items[record.item].answer if record.item in key.items else ""
                rows.append(
                    {
                        "participant": session.participant,
                        "session": session.session,
                        "part": record.part,
                        "number": record.number,
                        "item": record.item,
                        "category": right,
                        **_answer(record, right),
                    }
                )
    return _frame(rows, ANSWER_COLUMNS)


def visits(key: Key, sessions: Sequence[Session], reasons: Mapping[str, str]) -> pd.DataFrame:
    """Return the sessions, with the columns `SESSION_COLUMNS`."""
    rows = []
    for session in sessions:
        times = reaction_times(key, session)
        right, shown = catch_trials(key, session)
        given = answered(key, session)
        screen = session.browser.get("screen", "")
        rows.append(
            {
                "participant": session.participant,
                "session": session.session,
                "list": session.list_,
                "started": session.started,
                "end": session.end,
                "trials": len(given),
                "catch_trials": shown,
                "catch_right": right,
                "headphones_right": min(headphone_checks(key, session).values(), default=None),
                "median_reaction_time": median(times) if times else None,
                "hidden_trials": sum(record.hidden for record in given),
                "agent": str(session.browser.get("agent", "")),
                "screen": "x".join(map(str, screen)) if isinstance(screen, list) else str(screen),
                "refresh_rate": _number(session.browser.get("refresh_hz")),
                "excluded": reasons[session.session],
            }
        )
    return _frame(rows, SESSION_COLUMNS)


def _answer(record: Record, right: str) -> dict[str, Any]:
    return {
        "answer": record.answer,
        "correct": record.answer == right if right else None,
        "reaction_time": record.rt_ms / 1000 if record.rt_ms >= 0 else None,
        "display_time": record.shown_ms / 1000 if record.shown_ms >= 0 else None,
        "hidden": record.hidden,
    }


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype({name: kind for name, (kind, _) in columns.items()})
