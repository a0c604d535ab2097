"""The database of sessions: lists, leases and places, whatever happens in whatever order; status and withdrawal."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.server.bodies import Opening
from metamery.analysis.experiment.server.database import DATABASE
from metamery.analysis.experiment.server.progress import NOTHING, progress, total
from metamery.analysis.experiment.server.refusals import RefusedError
from metamery.analysis.experiment.server.sessions import LEASE_SECONDS, Opened, Sessions, read
from metamery.analysis.experiment.server.withdrawal import withdraw
from metamery.framework.errors import MetameryError
from small_experiment import CHOICES, write_experiment

IDLE = 60.0

Begin = Callable[..., Sessions]


class Clock:
    def __init__(self) -> None:
        self.now = 1.8e9

    def __call__(self) -> float:
        return self.now


def answer(sessions: Sessions, opened: Opened, tab: str, trial: int, answer: str = "dog") -> bool:
    item = sessions.key.trials(opened.list)[trial]
    record = {"part": "main", "number": trial, "item": item, "answer": answer, "rt_ms": 500}
    return sessions.save(opened.session, opened.token, tab, record, "main", trial)


def complete(sessions: Sessions, opened: Opened, tab: str) -> None:
    for trial in range(len(sessions.key.trials(opened.list))):
        answer(sessions, opened, tab, trial)
    sessions.end(opened.session, opened.token, tab, "completed")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return write_experiment(tmp_path, lists=3)


@pytest.fixture
def begin(tmp_path: Path, key: Key) -> Iterator[Begin]:
    """Open the sessions of the experiment in `tmp_path`, to be closed at the end."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(closing(Sessions(tmp_path, **given)))


def test_lists_are_filled_in_turn(tmp_path: Path, key: Key, begin: Begin) -> None:
    sessions = begin()
    assert [sessions.open(Opening(str(n))).list for n in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_who_stays_away_or_ends_early_leaves_their_place_to_others(tmp_path: Path, key: Key, begin: Begin) -> None:
    clock = Clock()
    sessions = begin(idle_seconds=IDLE, clock=clock)
    opened = [sessions.open(Opening(str(n))) for n in range(3)]
    sessions.end(opened[1].session, opened[1].token, "1", "headphones")
    assert sessions.open(Opening("new")).list == 1
    clock.now += IDLE - 1
    sessions.hold(opened[0].session, opened[0].token, "0")
    clock.now += 2  # list 0 is held, the others' sessions were not heard of
    assert [sessions.open(Opening(f"later{n}")).list for n in range(3)] == [1, 2, 0]


def test_places_are_limited(tmp_path: Path, key: Key, begin: Begin) -> None:
    clock = Clock()
    sessions = begin(participants=2, idle_seconds=IDLE, clock=clock)
    first, second = (sessions.open(Opening(str(n))) for n in range(2))
    complete(sessions, first, "0")
    with pytest.raises(RefusedError, match="all its participants") as refused:
        sessions.open(Opening("new"))
    assert (refused.value.status, refused.value.reason) == (410, "full")
    assert sessions.open(Opening("1", second.session, second.token)).session == second.session
    clock.now += IDLE + 1
    assert sessions.open(Opening("new")).list == 1


def test_participants_are_known_by_what_names_a_person(tmp_path: Path, key: Key, begin: Begin) -> None:
    sessions = begin()
    one = sessions.open(Opening("a", identifiers={"participant": "7", "STUDY_ID": "s"}))
    two = sessions.open(Opening("b", identifiers={"participant": "8", "STUDY_ID": "s"}))
    sessions.release(one.session, one.token, "a")
    assert sessions.open(Opening("c", identifiers={"participant": "7"})).session == one.session
    assert two.session != one.session
    assert sessions.open(Opening("d", identifiers={"STUDY_ID": "s"})).session not in (one.session, two.session)


def test_what_is_read_is_what_was_saved(tmp_path: Path, key: Key, begin: Begin) -> None:
    sessions = begin()
    known = sessions.open(Opening("a", identifiers={"SESSION_ID": "v", "PROLIFIC_PID": "p"}))
    unknown = sessions.open(Opening("b"))
    for trial in (3, 0, 4):
        answer(sessions, known, "a", trial, CHOICES[trial % 3])
    first, second = read(tmp_path)
    assert [(record.number, record.answer) for record in first.records] == [(3, "cat"), (0, "cat"), (4, "dog")]
    assert (first.participant, second.participant) == (key.participant({"PROLIFIC_PID": "p"}), unknown.session)
    assert (first.experiment, first.end) == (key.experiment, "")


def test_a_folder_without_sessions_has_none(tmp_path: Path, key: Key) -> None:
    assert read(tmp_path) == []
    assert total(progress(tmp_path)).come == 0
    assert not (tmp_path / DATABASE).exists()
    with pytest.raises(MetameryError, match="nobody has taken part"):
        withdraw(tmp_path, "5f0e")


def test_a_database_of_another_build_is_refused(tmp_path: Path, key: Key, begin: Begin) -> None:
    begin().close()
    (tmp_path / "key.json").write_text((tmp_path / "key.json").read_text().replace(key.experiment, "other"))
    with pytest.raises(MetameryError, match="another build"):
        begin()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path, key: Key, begin: Begin) -> None:
    begin().close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(MetameryError, match="newer version"):
        read(tmp_path)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look like one" * 100, b"SQLite format 3\0" * 99]
)
def test_a_damaged_database_is_refused_in_one_line(tmp_path: Path, key: Key, content: bytes, begin: Begin) -> None:
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(MetameryError, match="cannot use"):
        begin()


def test_progress_list_by_list(tmp_path: Path, key: Key, begin: Begin) -> None:
    clock = Clock()
    sessions = begin(idle_seconds=IDLE, clock=clock)
    gone = [sessions.open(Opening(f"gone{n}")) for n in range(2)]  # lists 0 and 1
    answer(sessions, gone[0], "gone0", 0)
    clock.now += IDLE + 1
    at_it = [sessions.open(Opening(str(n))) for n in range(4)]  # lists 0, 1, 2, 0
    complete(sessions, at_it[0], "0")
    sessions.end(at_it[1].session, at_it[1].token, "1", "practice")
    lists = progress(tmp_path, participants=7, clock=clock)
    assert [(each.come, each.finished, each.at_it, each.left) for each in lists] == [
        (3, 1, 1, 1), (2, 0, 0, 2), (1, 0, 1, 1),
    ]  # fmt: skip
    every = total(lists)
    assert (every.come, every.left) == (6, 4)
    assert every.ended == {"practice": 1}
    assert every.gone == {"main": 1, NOTHING: 1}
    assert [each.left for each in progress(tmp_path, clock=clock)] == [0, 2, 1]


@pytest.mark.parametrize("name", ["identifier", "participant", "session"])
def test_who_withdraws_leaves_nothing_in_the_file(tmp_path: Path, key: Key, name: str, begin: Begin) -> None:
    sessions = begin()  # which goes on while the data are deleted
    who = {"PROLIFIC_PID": "5f0e11aa", "STUDY_ID": "s1"}
    person, other = sessions.open(Opening("a", identifiers=who)), sessions.open(Opening("b"))
    for trial in range(5):
        answer(sessions, person, "a", trial)
        answer(sessions, other, "b", trial)
    text = "a text that only this person wrote"
    record = {"part": "survey", "number": 0, "answer": text}
    sessions.save(person.session, person.token, "a", record, "survey", 0)
    traces = [text.encode(), person.session.encode(), key.pseudonym("5f0e11aa").encode()]

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob(f"{DATABASE}*"))

    assert all(trace in files() for trace in traces)
    given = {"identifier": "5f0e11aa", "participant": key.participant(who), "session": person.session}[name]
    found = withdraw(tmp_path, given)
    assert (found.sessions, found.records, found.identifiers) == ((person.session,), 6, 2)
    assert not any(trace in files() for trace in traces)
    assert [session.session for session in read(tmp_path)] == [other.session]
    with pytest.raises(RefusedError, match="does not exist"):
        answer(sessions, person, "a", 0)
    sessions.end(other.session, other.token, "b", "completed")
    assert sessions.open(Opening("c", identifiers=who)).list == person.list  # its place is free again
    with pytest.raises(MetameryError, match="no session of '5f0e11ab'"):
        withdraw(tmp_path, "5f0e11ab")


def test_the_name_of_a_study_withdraws_nobody(tmp_path: Path, key: Key, begin: Begin) -> None:
    begin().open(Opening("a", identifiers={"PROLIFIC_PID": "5f0e", "STUDY_ID": "s1"}))
    with pytest.raises(MetameryError, match="no session of 's1'"):
        withdraw(tmp_path, "s1")


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "resume", "answer", "answer", "answer", "wrong", "complete", "stop", "wait", "restart"]
        ),
        st.integers(0, 5),
        st.integers(0, 4),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(operations=OPERATIONS)
def test_whatever_happens_in_whatever_order(operations: list[tuple[str, int, int]]) -> None:
    """Against a model in a few lines: who has which answers, ends and places."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = write_experiment(folder, lists=3)
        sessions = Sessions(folder, participants=4, idle_seconds=IDLE, clock=clock)
        people: list[Opened] = []
        saved: dict[str, dict[int, str]] = {}
        ends: dict[str, str] = {}
        seen: dict[str, float] = {}

        def filled() -> Counter[int]:
            return Counter(
                each.list
                for each in people
                if ends[each.session] == "completed"
                or (not ends[each.session] and seen[each.session] > clock.now - IDLE)
            )

        for what, who, trial in operations:
            if what == "open":
                before = filled()
                if before.total() >= 4:
                    with pytest.raises(RefusedError, match="all its participants"):
                        sessions.open(Opening(f"tab{len(people)}"))
                    continue
                one = sessions.open(Opening(f"tab{len(people)}"))
                assert before[one.list] == min(before[number] for number in range(3))
                people.append(one)
                saved[one.session], ends[one.session], seen[one.session] = {}, "", clock.now
                continue
            if what == "wait":
                clock.now += 20 * (who + 1)
            if what == "restart":
                sessions.close()
                sessions = Sessions(folder, participants=4, idle_seconds=IDLE, clock=clock)
            if what in ("wait", "restart") or not people:
                continue
            number = who % len(people)
            one, tab = people[number], f"tab{number}"
            mine, ended = saved[one.session], ends[one.session]
            if what == "resume":
                again = sessions.open(Opening(tab, one.session, one.token))
                assert (again.list, again.end) == (one.list, ended)
                assert again.answered == ({"main": sorted(mine)} if mine else {})
                seen[one.session] = clock.now
            elif what in ("answer", "wrong"):
                given_answer = "dog" if what == "answer" else "cat"
                if trial in mine:
                    if mine[trial] == given_answer:
                        assert not answer(sessions, one, tab, trial, given_answer)
                    else:
                        with pytest.raises(RefusedError, match="another answer"):
                            answer(sessions, one, tab, trial, given_answer)
                elif ended:
                    with pytest.raises(RefusedError, match="has ended"):
                        answer(sessions, one, tab, trial, given_answer)
                else:
                    assert answer(sessions, one, tab, trial, given_answer)
                    mine[trial], seen[one.session] = given_answer, clock.now
            else:
                how = "completed" if what == "complete" else "consent"
                if ended == how:
                    sessions.end(one.session, one.token, tab, how)
                elif ended:
                    with pytest.raises(RefusedError, match="ended already"):
                        sessions.end(one.session, one.token, tab, how)
                elif how == "completed" and len(mine) < len(key.trials(one.list)):
                    with pytest.raises(RefusedError, match="is not saved"):
                        sessions.end(one.session, one.token, tab, how)
                else:
                    sessions.end(one.session, one.token, tab, how)
                    ends[one.session], seen[one.session] = how, clock.now
        sessions.close()
        found = {session.session: session for session in read(folder)}
        assert set(found) == {one.session for one in people}
        for one in people:
            session = found[one.session]
            assert (session.list_, session.end) == (one.list, ends[one.session])
            assert {record.number: record.answer for record in session.records} == saved[one.session]
            assert len(session.records) == len(saved[one.session])
            assert all(record.item == key.trials(one.list)[record.number] for record in session.records)


def test_a_lease_lapses(tmp_path: Path, key: Key, begin: Begin) -> None:
    clock = Clock()
    sessions = begin(clock=clock)
    opened = sessions.open(Opening("a"))
    clock.now += LEASE_SECONDS - 0.1
    with pytest.raises(RefusedError, match="another tab") as refused:
        sessions.hold(opened.session, opened.token, "b")
    assert refused.value.wait == pytest.approx(0.1, abs=1e-3)
    clock.now += 0.2
    sessions.hold(opened.session, opened.token, "b")
