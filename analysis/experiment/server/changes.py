"""Changes from many threads: those that wait for the disk are made together, in one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from .database import transaction

_Result = TypeVar("_Result")


class Changes:
    """Changes of a database.

    A commit ends when the disk has it, which takes milliseconds; while one thread waits for that, others line up, and
    the next one to come makes the changes of all of them. Each change is made wholly or not at all.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def make(self, change: Callable[[], _Result]) -> _Result:
        """Make a change, and return what it returns once it is on the disk; what it raises undoes it alone."""
        made: Future[_Result] = Future()
        self._waiting.append((change, made))
        with self._lock:
            if not made.done():
                self._make_waiting()
        return made.result()

    def _make_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with transaction(self._connection):
                outcomes = [self._outcome(change) for change, _ in batch]
        except BaseException as error:
            for _, made in batch:
                made.set_exception(error)
            return
        for (_, made), (result, refused) in zip(batch, outcomes, strict=True):
            if refused is None:
                made.set_result(result)
            else:
                made.set_exception(refused)

    def _outcome(self, change: Callable[[], Any]) -> tuple[Any, Exception | None]:
        self._connection.execute("SAVEPOINT change")
        try:
            return change(), None
        except sqlite3.Error:  # a full disk: nothing of the transaction can be kept
            raise
        except Exception as error:
            self._connection.execute("ROLLBACK TO change")
            return None, error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE change")
