"""An experiment's sessions, gathered from where they were saved: the server's database, JATOS, DataPipe, downloads."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ...framework.errors import MetameryError
from .archives import MAX_FILE, members, text_of
from .key import KEY_FILE, Key
from .records import Session, read_lines

DATABASE = "sessions.sqlite"

ENDINGS = (".jsonl", ".ndjson", ".json", ".txt", ".jrzip", ".zip")
"""Endings of the files that are read in a folder or in an archive; a file that is named itself may have any."""


@dataclass(frozen=True)
class Gathered:
    """What the sources hold.

    Parameters
    ----------
    folder, key
        The experiment's folder and its key.
    sessions
        Sessions of this experiment, in the order of their start, each once, with a pseudonym and without identifiers.
    remarks
        What was left out, one line each.
    """

    folder: Path
    key: Key
    sessions: tuple[Session, ...]
    remarks: tuple[str, ...] = ()


def gather(sources: Sequence[Path]) -> Gathered:
    """Read the sessions of an experiment.

    Parameters
    ----------
    sources
        The experiment's folder, which has the key and perhaps the server's database, and files or folders of results:
        lines of JSON as the page saves them, a results archive (``.jrzip``) or text export of JATOS, files of DataPipe
        as OSF stores them, or a ZIP archive of such files.

    Raises
    ------
    MetameryError
        There is no experiment among the sources, or there are two; or a source cannot be read.
    """
    for source in sources:
        if not source.exists():
            raise MetameryError(f"'{source}' does not exist")
    folders = [source for source in sources if (source / KEY_FILE).is_file()]
    if not folders:
        given = ", ".join(f"'{source}'" for source in sources) or "nothing"
        raise MetameryError(f"no experiment among {given}: expected a folder with {KEY_FILE}, as build makes it")
    keys = [Key.read(folder) for folder in folders]
    if any(key != keys[0] for key in keys):
        raise MetameryError(f"'{folders[0]}' and '{folders[1]}' are different experiments: expected one")
    key = keys[0]
    remarks: list[str] = []
    found: dict[str, Session] = {}
    for where, session in _sessions(sources):
        if session.experiment != key.experiment:
            remarks.append(f"{where}: a session of another experiment ({session.experiment}) is left out")
        elif not 0 <= session.list_ < len(key.lists):
            remarks.append(f"{where}: a session has list {session.list_}, which does not exist, and is left out")
        elif session.session in found:
            found[session.session] = _joined(found[session.session], session)
        else:
            found[session.session] = session
    named = [_pseudonymous(session, key) for session in found.values()]
    in_order = sorted(named, key=lambda session: (session.started, session.session))
    return Gathered(folders[0], key, tuple(in_order), tuple(dict.fromkeys(remarks)))


def _sessions(sources: Sequence[Path]) -> Iterator[tuple[str, Session]]:
    """Yield every session with the words for where it is."""
    for source in sources:
        if (source / KEY_FILE).is_file():
            if (source / DATABASE).is_file():
                from .server.sessions import read

                yield from ((f"'{source / DATABASE}'", session) for session in read(source))
        elif source.is_dir():
            for path in sorted(source.rglob("*")):
                if path.is_file() and path.suffix.lower() in ENDINGS and path.name != "metadata.json":
                    yield from _of_file(path)
        else:
            yield from _of_file(source)


def _of_file(path: Path) -> Iterator[tuple[str, Session]]:
    if zipfile.is_zipfile(path):
        for name, text in members(path):
            inside = PurePosixPath(name)
            is_data = inside.suffix.lower() in ENDINGS[:4] and inside.name != "metadata.json"
            if is_data and "files" not in inside.parts[:-1]:  # JATOS keeps uploaded files there
                yield from _parsed(f"'{path}': '{name}'", text)
        return
    try:
        if path.stat().st_size > MAX_FILE * 16:
            raise MetameryError(f"'{path}' is too large for the results of an experiment")
        content = path.read_bytes()
    except OSError as error:
        raise MetameryError(f"cannot read '{path}': {error.strerror or error}") from None
    yield from _parsed(f"'{path}'", text_of(content, f"'{path}'"))


def _parsed(where: str, text: str) -> Iterator[tuple[str, Session]]:
    try:
        yield from ((where, session) for session in read_lines(text))
    except MetameryError as error:
        raise MetameryError(f"{where}, {error}") from None


def _joined(first: Session, second: Session) -> Session:
    """Join two copies of a session, of which one may be shorter; the first answer to a trial counts."""
    records = {(record.part, record.number): record for record in (*second.records, *first.records)}
    ordered = sorted(records.values(), key=lambda record: record.at_ms)
    return replace(
        first,
        end=first.end or second.end,
        records=tuple(ordered),
        started=first.started or second.started,
        identifiers={**second.identifiers, **first.identifiers},
    )


def _pseudonymous(session: Session, key: Key) -> Session:
    known = session.participant or key.participant(session.identifiers) or session.session
    return replace(session, participant=known, identifiers={})
