"""What a page records of one participant, however it is saved: a session and its records, as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...framework.errors import MetameryError

FORMAT = 1

PARTS = ("consent", "instructions", "level", "headphones", "practice", "main", "survey", "debriefing")
"""Parts of an experiment, in their order."""

ENDS = ("completed", "consent", "headphones", "practice")
"""Why a session ended: it is complete, or the participant did not consent or pass the part of this name."""

LONGEST_ANSWER = 1000
"""Number of characters that an answer may have."""


@dataclass(frozen=True)
class Record:
    """One answer.

    Parameters
    ----------
    part, number
        Part of the experiment, one of `PARTS`, and number within it from 0: together unique in a session.
    item
        Name of the file that was shown; empty without one.
    answer
        What the participant chose or wrote.
    rt_ms
        Time from when answers could be given to the answer, in milliseconds.
    shown_ms
        Time for which the picture was measured to be on the screen, or between the sound's start and its end; −1
        without one.
    at_ms
        Time from the start of the page to the answer.
    hidden
        Whether the page was not visible at some time during the trial.
    """

    part: str
    number: int
    item: str = ""
    answer: str = ""
    rt_ms: float = -1.0
    shown_ms: float = -1.0
    at_ms: float = -1.0
    hidden: bool = False

    @classmethod
    def parse(cls, given: object) -> Record:
        """Read a record; unknown entries are refused.

        Raises
        ------
        MetameryError
            It is not one: an entry is unknown, of another type, or out of its range.
        """
        if not isinstance(given, dict):
            raise MetameryError("a record is a table of its entries")
        table = {name: value for name, value in given.items() if name != "kind"}
        for name, value in table.items():
            expected = _TYPES.get(name)
            fits = expected is not None and isinstance(value, expected)
            if not fits or (expected is not bool and isinstance(value, bool)):
                raise MetameryError(f"a record's entry '{name[:40]}' is unknown or of another type")
        try:
            record = cls(**table)
        except TypeError:
            raise MetameryError("a record needs a part and a number") from None
        if record.part not in PARTS or not 0 <= record.number < 2**31:
            raise MetameryError("a record's part or number does not exist")
        if len(record.answer) > LONGEST_ANSWER or len(record.item) > LONGEST_ANSWER:
            raise MetameryError(f"a record's answer is longer than {LONGEST_ANSWER} characters")
        for name in ("rt_ms", "shown_ms", "at_ms"):
            value = getattr(record, name)
            if not (value == -1 or 0 <= value < 1e10):
                raise MetameryError(f"a record's '{name}' is not a duration in milliseconds")
        return record

    def table(self) -> dict[str, Any]:
        return asdict(self)


_TYPES: dict[str, Any] = {
    "part": str, "number": int, "item": str, "answer": str, "rt_ms": (int, float), "shown_ms": (int, float),
    "at_ms": (int, float), "hidden": bool,
}  # fmt: skip


@dataclass(frozen=True)
class Session:
    """One participant's visit.

    Parameters
    ----------
    experiment
        UUID of the experiment.
    session
        Identifier of the visit.
    list_
        Number of the list of trials.
    participant
        Pseudonym of the participant: a keyed hash where an identifier is known, else the session.
    browser
        Facts of the browser: ``agent``, ``screen``, ``pixel_ratio``, ``refresh_hz``, ``protocol``, ``language``.
    started
        Time in UTC, ISO 8601.
    end
        One of `ENDS`; empty if the session did not end.
    records
        Answers in their order.
    identifiers
        What a recruiting service passed on, such as ``PROLIFIC_PID``; never in a table.
    """

    experiment: str
    session: str
    list_: int
    participant: str = ""
    browser: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    end: str = ""
    records: tuple[Record, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_lines(text: str) -> list[Session]:
    """Read sessions from lines of JSON, as pages save them: a session's line, its records, and its end.

    A record that is there twice, as after a retry, counts once.

    Raises
    ------
    MetameryError
        A line is not JSON, or not what a page writes; the message has the line's number.
    """
    sessions: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            kind = given["kind"]
            if kind == "session":
                sessions.append({**_opened(given), "records": {}, "end": ""})
            elif kind == "record":
                record = Record.parse(given)
                sessions[-1]["records"].setdefault((record.part, record.number), record)
            elif kind == "end" and given["end"] in ENDS:
                sessions[-1]["end"] = given["end"]
            else:
                raise MetameryError("unknown kind of line")
        except MetameryError as error:
            raise MetameryError(f"line {number}: {error}") from None
        except (ValueError, KeyError, TypeError, IndexError):
            raise MetameryError(f"line {number} is not what an experiment's page writes") from None
    return [Session(**{**each, "records": tuple(each["records"].values())}) for each in sessions]


def _opened(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["format"] > FORMAT:
        raise MetameryError("written by a newer version of metamery")
    words = {name: str(given.get(name, "")) for name in ("started", "participant")}
    identifiers = {str(name): str(value) for name, value in dict(given.get("identifiers", {})).items()}
    return {
        "experiment": str(given["experiment"]),
        "session": str(given["session"]),
        "list_": int(given["list"]),
        "browser": dict(given.get("browser", {})),
        "identifiers": identifiers,
        **words,
    }
