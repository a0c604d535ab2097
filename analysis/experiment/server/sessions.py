"""Sessions of participants: who gets which list, what is saved, and which tab may save it."""

from __future__ import annotations

import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial, wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..key import PERSON_IDENTIFIERS, PSEUDONYM_DIGITS, Key
from ..records import Record, Session
from . import bodies
from .bodies import Opening
from .changes import Changes
from .database import DATABASE, IDLE_SECONDS, connect, naming, opened
from .refusals import RefusedError

LEASE_SECONDS = 15.0
"""Seconds without a word from a tab after which another one may go on with its session."""

SEEN_SECONDS = 20.0
"""Seconds between two notes on the disk that a session was heard of."""

_FILLS = "(end = 'completed' OR (end = '' AND seen > :alive))"
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_ENTRIES = ", ".join(entry.name for entry in fields(Record))


@dataclass(frozen=True)
class Opened:
    """The state of a session, as sent to its page; `answered` lists the numbers of the saved records of each part."""

    session: str
    token: str
    list: int
    answered: Mapping[str, Sequence[int]]
    end: str
    is_new: bool = False


def _one_change(
    method: Callable[Concatenate[Sessions, _Given], _Result],
) -> Callable[Concatenate[Sessions, _Given], _Result]:
    """Make a method one change of the database, which is on the disk when it returns."""

    @wraps(method)
    def change(self: Sessions, /, *given: _Given.args, **named: _Given.kwargs) -> _Result:
        return self._changes.make(partial(method, self, *given, **named))

    return change


class Sessions:
    """The sessions of an experiment. Every method is one change of the database, and safe to call from any thread.

    Parameters
    ----------
    folder
        Folder of the experiment, with its key.
    participants
        Number of participants, complete or at it, from which new ones are refused; None for any number.
    idle_seconds
        See `IDLE_SECONDS`.
    clock
        Time in seconds since 1970.

    Raises
    ------
    MetameryError
        There is no experiment, or its database cannot be opened; see `connect`.
    """

    def __init__(
        self,
        folder: Path,
        participants: int | None = None,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.key = Key.read(folder)
        self._participants, self._idle_seconds, self._clock = participants, idle_seconds, clock
        self._leases: dict[str, tuple[str, float]] = {}  # by session: the tab, and until when; lost with the process
        self._connection = connect(folder, self.key)
        self._changes = Changes(self._connection)
        with naming(folder / DATABASE):
            self._connection.execute("UPDATE about SET idle_seconds = ?", (idle_seconds,))

    def close(self) -> None:
        self._connection.close()

    @_one_change
    def open(self, given: Opening) -> Opened:
        """Open a session, or go on with the one that a token or a known identifier belongs to.

        Raises
        ------
        RefusedError
            The token is wrong, another tab has the session, its participant has taken part, or no list is free.
        """
        if given.session:
            row = self._row(given.session, given.token)
            return self._resumed(row, given.token, given.tab)
        if known := self._known(given.identifiers):
            if known["end"]:
                raise RefusedError(403, "taken_part", "you have taken part in this experiment already")
            return self._resumed(known, _new_token(), given.tab)
        return self._new(given)

    @_one_change
    def save(self, session: str, token: str, tab: str, given: Mapping[str, Any], part: str, number: int) -> bool:
        """Save a record; return whether it is new.

        Raises
        ------
        RefusedError
            The token is wrong, another tab has the session, the record does not fit the session, another answer is
            saved under its part and number, or the session has ended.
        """
        row = self._row(session, token)
        record = bodies.record(given, part, number, self.key, row["list"])
        saved = self._connection.execute(
            "SELECT item, answer FROM records WHERE session = ? AND part = ? AND number = ?",
            (session, part, number),
        ).fetchone()
        if saved is not None:
            if (saved["item"], saved["answer"]) != (record.item, record.answer):
                raise RefusedError(409, "answered", "another answer to this trial is saved already")
            return False
        if row["end"]:
            raise RefusedError(409, "ended", "the session has ended")
        self._hold(row, tab)
        self._connection.execute(
            f"INSERT INTO records (session, {_ENTRIES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (session, *astuple(record)),
        )
        return True

    @_one_change
    def hold(self, session: str, token: str, tab: str) -> None:
        """Keep a session for a tab, for `LEASE_SECONDS` from now."""
        self._hold(self._row(session, token), tab)

    @_one_change
    def release(self, session: str, token: str, tab: str) -> None:
        """Give a session up, if this tab has it, so that another can go on with it at once."""
        row = self._row(session, token)
        if self._leases.get(row["session"], ("", 0))[0] == tab:
            del self._leases[row["session"]]

    @_one_change
    def end(self, session: str, token: str, tab: str, how: str) -> None:
        """End a session; a complete one needs all records of its list.

        Raises
        ------
        RefusedError
            The token is wrong, another tab has the session, it has ended otherwise, or trials are missing.
        """
        row = self._row(session, token)
        if row["end"] == how:
            return
        if row["end"]:
            raise RefusedError(409, "ended", f"the session has ended already: {row['end']}")
        self._hold(row, tab)
        if how == "completed":
            saved = set(self._answered(session).get("main", ()))
            missing = next((n for n in range(len(self.key.trials(row["list"]))) if n not in saved), None)
            if missing is not None:
                raise RefusedError(409, "missing", f"trial {missing} is not saved", missing=missing)
        self._connection.execute("UPDATE sessions SET end = ? WHERE session = ?", (how, session))

    def _row(self, session: str, token: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM sessions WHERE session = ?", (session,)
        ).fetchone()
        if row is None or not hmac.compare_digest(row["token"], _hash(token)):
            raise RefusedError(403, "token", "the session does not exist, or the token is not its own")
        return row

    def _known(self, identifiers: Mapping[str, str]) -> sqlite3.Row | None:
        """Return the last session of the person whom the identifiers name, if there is one."""
        name = next((name for name in PERSON_IDENTIFIERS if name in identifiers), "")
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT sessions.* FROM sessions JOIN identifiers USING (session)"
            " WHERE name = ? AND hash = ? ORDER BY arrival DESC",
            (name, self.key.pseudonym(identifiers.get(name, ""))),
        ).fetchone()
        return row

    def _resumed(self, row: sqlite3.Row, token: str, tab: str) -> Opened:
        self._hold(row, tab)
        self._connection.execute("UPDATE sessions SET token = ? WHERE session = ?", (_hash(token), row["session"]))
        return Opened(row["session"], token, row["list"], self._answered(row["session"]), row["end"])

    def _new(self, given: Opening) -> Opened:
        now, session, token = self._clock(), secrets.token_hex(16), _new_token()
        list_ = self._least_filled(now)
        started = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._connection.execute(
            "INSERT INTO sessions (session, token, list, browser, started, seen) VALUES (?, ?, ?, ?, ?, ?)",
            (session, _hash(token), list_, json.dumps(dict(given.browser)), started, now),
        )
        self._connection.executemany(
            "INSERT INTO identifiers VALUES (?, ?, ?)",
            [(session, name, self.key.pseudonym(value)) for name, value in given.identifiers.items()],
        )
        self._leases = {each: lease for each, lease in self._leases.items() if lease[1] > now}
        self._leases[session] = (given.tab, now + LEASE_SECONDS)
        return Opened(session, token, list_, {}, "", is_new=True)

    def _least_filled(self, now: float) -> int:
        filled = dict.fromkeys(range(len(self.key.lists)), 0)
        filled |= dict(
            self._connection.execute(
                f"SELECT list, COUNT(*) FROM sessions WHERE {_FILLS} GROUP BY list", {"alive": now - self._idle_seconds}
            ).fetchall()
        )
        if self._participants is not None and sum(filled.values()) >= self._participants:
            raise RefusedError(410, "full", "the experiment has all its participants")
        return min(filled, key=lambda number: (filled[number], number))

    def _hold(self, row: sqlite3.Row, tab: str) -> None:
        now = self._clock()
        holder, until = self._leases.get(row["session"], (tab, now))
        if holder != tab and until > now:
            raise RefusedError(409, "tab", "the experiment is open in another tab or window", wait=until - now)
        self._leases[row["session"]] = (tab, now + LEASE_SECONDS)
        if now - row["seen"] >= SEEN_SECONDS:
            self._connection.execute("UPDATE sessions SET seen = ? WHERE session = ?", (now, row["session"]))

    def _answered(self, session: str) -> dict[str, list[int]]:
        answered: dict[str, list[int]] = {}
        for part, number in self._connection.execute(
            "SELECT part, number FROM records WHERE session = ? ORDER BY part, number", (session,)
        ):
            answered.setdefault(part, []).append(number)
        return answered


def read(folder: Path) -> list[Session]:
    """Return the sessions of an experiment's folder with their records, in the order in which they began.

    Raises
    ------
    MetameryError
        There is no experiment, or its database cannot be read.
    """
    key = Key.read(folder)
    if not (folder / DATABASE).exists():
        return []
    with opened(folder, key) as connection:
        connection.execute("BEGIN")  # one state of all tables
        identifiers: dict[str, dict[str, str]] = {}
        for session, name, hash_ in connection.execute("SELECT session, name, hash FROM identifiers"):
            identifiers.setdefault(session, {})[name] = hash_
        saved: dict[str, list[Record]] = {}
        for session, *entries in connection.execute(f"SELECT session, {_ENTRIES} FROM records ORDER BY arrival"):
            record = Record(*entries)
            saved.setdefault(session, []).append(replace(record, hidden=bool(record.hidden)))
        return [
            Session(
                experiment=key.experiment,
                session=row["session"],
                list_=row["list"],
                participant=_pseudonym(identifiers.get(row["session"], {})) or row["session"],
                browser=json.loads(row["browser"]),
                started=row["started"],
                end=row["end"],
                records=tuple(saved.get(row["session"], ())),
            )
            for row in connection.execute("SELECT * FROM sessions ORDER BY arrival")
        ]


def _pseudonym(hashes: Mapping[str, str]) -> str:
    """Return what `Key.participant` does, of identifiers that are hashes already."""
    return next((hashes[name] for name in PERSON_IDENTIFIERS if name in hashes), "")[:PSEUDONYM_DIGITS]


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
