"""Withdrawal: one person's data are deleted, so that nothing of them stays in the file."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from ....framework.errors import MetameryError
from ..key import PERSON_IDENTIFIERS, PSEUDONYM_DIGITS, Key
from .database import DATABASE, opened, transaction

WAIT_SECONDS = 30.0
"""Seconds for which a server that writes at the same time is waited for."""

_NAMES = (*PERSON_IDENTIFIERS, "SESSION_ID")


@dataclass(frozen=True)
class Withdrawn:
    """What was deleted: identifiers of the sessions, the numbers of their records and of their identifiers' hashes."""

    sessions: tuple[str, ...]
    records: int
    identifiers: int


def withdraw(folder: Path, identifier: str) -> Withdrawn:
    """Delete the data of one person from an experiment, also while it is served.

    Parameters
    ----------
    folder
        Folder of the experiment.
    identifier
        What a recruiting service calls the person or their visit, the participant of the tables, or a session.

    Raises
    ------
    MetameryError
        There is no such session, or the database cannot be changed.
    """
    key = Key.read(folder)
    path = folder / DATABASE
    if not path.exists():
        raise MetameryError(f"nobody has taken part in '{folder}' yet: it has no {DATABASE}")
    with opened(folder, key, WAIT_SECONDS) as connection:
        with transaction(connection):
            sessions = _sessions(connection, key, identifier)
            if not sessions:
                raise MetameryError(
                    f"no session of '{identifier}' in '{path}': expected the identifier of a recruiting service, "
                    "a participant of the tables, or a session"
                )
            counts = [
                sum(
                    connection.execute(f"DELETE FROM {table} WHERE session = ?", (session,)).rowcount
                    for session in sessions
                )
                for table in ("records", "identifiers", "sessions")
            ]
        _clear(connection, path)
    return Withdrawn(tuple(sessions), counts[0], counts[1])


def _sessions(connection: sqlite3.Connection, key: Key, identifier: str) -> list[str]:
    marks = ", ".join("?" * len(_NAMES))
    rows = connection.execute(
        "SELECT session FROM sessions WHERE session = ? UNION"
        f" SELECT session FROM identifiers WHERE name IN ({marks}) AND (hash = ? OR substr(hash, 1, ?) = ?)",
        (identifier, *_NAMES, key.pseudonym(identifier), PSEUDONYM_DIGITS, identifier),
    )
    return [row["session"] for row in rows]


def _clear(connection: sqlite3.Connection, path: Path) -> None:
    """Write the database anew without free pages, and empty the log of changes, in which deleted rows remain."""
    until = time.monotonic() + WAIT_SECONDS
    connection.execute("PRAGMA temp_store = MEMORY")  # no copy in a folder of temporary files
    connection.execute("VACUUM")
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > until:
            raise MetameryError(f"deleted, but '{path}-wal' cannot be emptied while others read it: stop the server")
        time.sleep(0.05)
