"""What the bodies of requests may hold: everything else is refused before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....framework.errors import MetameryError
from ..key import Key
from ..records import ENDS, Record
from .refusals import RefusedError

MAX_IDENTIFIERS, MAX_NAME, MAX_VALUE = 10, 64, 200
MAX_FACTS, MAX_FACT = 20, 500

MAX_NUMBER = 1000
"""Number of records that a part other than the main one may have."""

_ITEM_ROLES: Mapping[str, tuple[str, ...]] = {
    "practice": ("practice", "catch"),
    "headphones": ("headphones",),
    "level": ("level",),
}
"""Roles of the files that a part may show; other parts show none."""


@dataclass(frozen=True)
class Opening:
    """A request for a session: a new one, or with `session` and `token` one that is resumed."""

    tab: str
    session: str = ""
    token: str = ""
    identifiers: Mapping[str, str] = field(default_factory=dict)
    browser: Mapping[str, str | int | float | None] = field(default_factory=dict)


def parsed(body: bytes) -> dict[str, Any]:
    """Read a body of JSON, which must be a table without NaN or infinity."""
    try:
        given = json.loads(body.decode(), parse_constant=_no_constant)
        json.dumps(given, ensure_ascii=False).encode()  # halves of surrogate pairs cannot be stored
    except (ValueError, RecursionError):
        raise RefusedError(400, "body", "the body is not JSON") from None
    if not isinstance(given, dict):
        raise RefusedError(422, "body", "the body is not a table of its entries")
    return given


def opening(given: Mapping[str, Any]) -> Opening:
    """Read a request for a session."""
    words = {name: _word(given, name) for name in ("tab", "session", "token")}
    if not words["tab"]:
        raise RefusedError(422, "body", "'tab' is missing: a text that this tab made for itself")
    if bool(words["session"]) != bool(words["token"]):
        raise RefusedError(422, "body", "'session' and 'token' belong together")
    identifiers = _table(given, "identifiers", MAX_IDENTIFIERS)
    if not all(isinstance(value, str) and len(value) <= MAX_VALUE for value in identifiers.values()):
        raise RefusedError(422, "body", f"an identifier is not a text of at most {MAX_VALUE} characters")
    browser = _table(given, "browser", MAX_FACTS)
    if not all(_is_fact(value) for value in browser.values()):
        raise RefusedError(422, "body", f"a fact of the browser is neither a number nor a text up to {MAX_FACT} long")
    return Opening(identifiers={name: value for name, value in identifiers.items() if value}, browser=browser, **words)


def record(given: Mapping[str, Any], part: str, number: int, key: Key, list_: int) -> Record:
    """Read a record, and check that a participant with this list can have made it."""
    try:
        read = Record.parse(given)
    except MetameryError as error:
        raise RefusedError(422, "body", str(error)) from None
    if (read.part, read.number) != (part, number):
        raise RefusedError(422, "body", "the record has another part or number than the address")
    if part == "main":
        _check_main(read, key.trials(list_))
    elif number >= MAX_NUMBER:
        raise RefusedError(422, "body", f"part '{part}' has more than {MAX_NUMBER} records")
    elif read.item and (read.item not in key.items or key.items[read.item].role not in _ITEM_ROLES.get(part, ())):
        raise RefusedError(422, "body", f"part '{part}' does not show this item")
    if part in ("main", "practice"):
        if read.answer not in (key.offered(read.item) if read.item in key.items else key.choices):
            raise RefusedError(422, "body", "the answer is not among the choices")
        if read.rt_ms < 0:
            raise RefusedError(422, "body", "the reaction time is missing")
    return read


def number(given: str) -> int:
    """Read the number of a record in an address."""
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise RefusedError(404, "address", "a record's address ends with its number")
    return int(given)


def end(given: Mapping[str, Any]) -> str:
    """Read how a session ends."""
    if given.get("end") not in ENDS:
        raise RefusedError(422, "body", f"'end' is none of {', '.join(ENDS)}")
    return str(given["end"])


def credentials(given: Mapping[str, Any]) -> tuple[str, str]:
    """Read the token and the tab of a request that cannot send headers."""
    return _word(given, "token"), _word(given, "tab")


def _check_main(read: Record, trials: list[str]) -> None:
    if read.number >= len(trials):
        raise RefusedError(422, "body", f"the list has {len(trials)} trials, numbered from 0")
    if read.item != trials[read.number]:
        raise RefusedError(422, "body", "the list has another item at this number")


def _word(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise RefusedError(422, "body", f"'{name}' is not a text of at most {MAX_NAME} characters")
    return value


def _table(given: Mapping[str, Any], name: str, most: int) -> dict[str, Any]:
    table = given.get(name, {})
    if not isinstance(table, dict) or len(table) > most or any(not each or len(each) > MAX_NAME for each in table):
        raise RefusedError(
            422, "body", f"'{name}' is not a table of at most {most} entries with names of {MAX_NAME} characters"
        )
    return table


def _is_fact(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return len(value) <= MAX_FACT
    return isinstance(value, int | float) and abs(value) < 1e300


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
