"""How far an experiment is: who has come, finished, ended early or left, list by list."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..key import Key
from .database import DATABASE, opened

NOTHING = "nothing answered"


@dataclass
class ListProgress:
    """Numbers of the sessions of one list.

    Parameters
    ----------
    finished
        Complete ones.
    at_it
        Those that have not ended and were heard of lately.
    ended
        Those that ended early, by the part that ended them.
    gone
        Those that have not ended and were not heard of lately, by the part of their last answer.
    left
        Places that are still free: up to the number of participants that the settings ask for, or else to that of the
        fullest list.
    """

    finished: int = 0
    at_it: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    left: int = 0

    @property
    def come(self) -> int:
        return self.finished + self.at_it + self.ended.total() + self.gone.total()


def progress(folder: Path, participants: int = 0, clock: Callable[[], float] = time.time) -> list[ListProgress]:
    """Return how far each list of an experiment is.

    Parameters
    ----------
    folder
        Folder of the experiment.
    participants
        Number of participants that are wanted; 0 for no limit.
    clock
        Time in seconds since 1970.

    Raises
    ------
    MetameryError
        There is no experiment, or its database cannot be read.
    """
    key = Key.read(folder)
    lists = [ListProgress() for _ in key.lists]
    if (folder / DATABASE).exists():
        _count(folder, key, lists, clock())
    filled = [each.finished + each.at_it for each in lists]
    for number, each in enumerate(lists):
        wanted = (participants + len(lists) - 1 - number) // len(lists) if participants else max(1, *filled)
        each.left = max(0, wanted - filled[number])
    return lists


def total(lists: list[ListProgress]) -> ListProgress:
    """Return the numbers of all lists together."""
    return ListProgress(
        finished=sum(each.finished for each in lists),
        at_it=sum(each.at_it for each in lists),
        ended=sum((each.ended for each in lists), Counter()),
        gone=sum((each.gone for each in lists), Counter()),
        left=sum(each.left for each in lists),
    )


def _count(folder: Path, key: Key, lists: list[ListProgress], now: float) -> None:
    with opened(folder, key) as connection:
        rows = connection.execute(
            "SELECT list, end, seen > ? - idle_seconds AS lately,"
            " (SELECT part FROM records WHERE records.session = sessions.session ORDER BY arrival DESC LIMIT 1) AS part"
            " FROM sessions, about",
            (now,),
        )
        for row in rows:
            each = lists[row["list"]]
            if row["end"] == "completed":
                each.finished += 1
            elif row["end"]:
                each.ended[row["end"]] += 1
            elif row["lately"]:
                each.at_it += 1
            else:
                each.gone[row["part"] or NOTHING] += 1
