"""The file that keeps the sessions: SQLite, each change one transaction, which is on the disk at its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ....framework.errors import MetameryError
from ..key import Key

DATABASE = "sessions.sqlite"

VERSION = 1

BUSY_SECONDS = 2.0
"""Seconds for which a change waits for another process's."""

IDLE_SECONDS = 30 * 60.0
"""Seconds without a word from a session that has not ended after which its place in its list is free again."""

_SCHEMA = """
CREATE TABLE about (experiment TEXT NOT NULL, idle_seconds REAL NOT NULL);
CREATE TABLE sessions (
    arrival INTEGER PRIMARY KEY,
    session TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    list INTEGER NOT NULL,
    browser TEXT NOT NULL,
    started TEXT NOT NULL,
    seen REAL NOT NULL,
    end TEXT NOT NULL DEFAULT ''
);
CREATE TABLE identifiers (
    session TEXT NOT NULL REFERENCES sessions (session) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (session, name)
);
CREATE INDEX identifiers_by_hash ON identifiers (hash);
CREATE TABLE records (
    arrival INTEGER PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (session) ON DELETE CASCADE,
    part TEXT NOT NULL,
    number INTEGER NOT NULL,
    item TEXT NOT NULL,
    answer TEXT NOT NULL,
    rt_ms REAL NOT NULL,
    shown_ms REAL NOT NULL,
    at_ms REAL NOT NULL,
    hidden INTEGER NOT NULL,
    UNIQUE (session, part, number)
);
"""


def connect(folder: Path, key: Key, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open an experiment's database, which is created if it is missing.

    Any thread may use the connection, one at a time.

    Raises
    ------
    MetameryError
        The file cannot be opened or created, is damaged, was written by a newer version, or holds sessions of an
        experiment that was built differently.
    """
    path = folder / DATABASE
    with naming(path):
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}")
        with transaction(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO about VALUES (?, ?)", (key.experiment, IDLE_SECONDS))
                connection.execute(f"PRAGMA user_version = {VERSION}")
        if version > VERSION:
            raise MetameryError(f"'{path}' was written by a newer version of metamery")
        if connection.execute("SELECT experiment FROM about").fetchone()[0] != key.experiment:
            raise MetameryError(f"'{path}' holds sessions of another build: build the experiment into another folder")
    return connection


@contextmanager
def opened(folder: Path, key: Key, busy_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """Open an experiment's database, which exists, for a command beside the server; see `connect`."""
    with closing(connect(folder, key, busy_seconds)) as connection, naming(folder / DATABASE):
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make one transaction of a block: all of it is kept, or nothing if an error is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into a `MetameryError` that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise MetameryError(f"cannot use '{path}': {error}") from None
