"""The server's answers: what a page may do, and what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.server import app as server
from metamery.analysis.experiment.server.limits import Rate
from metamery.analysis.experiment.server.sessions import LEASE_SECONDS, Sessions, read
from small_experiment import write_experiment

starlette = pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402


class Clock:
    def __init__(self) -> None:
        self.now = 1.8e9

    def __call__(self) -> float:
        return self.now


class Page:
    """What the page in a participant's browser does."""

    def __init__(self, client: TestClient, key: Key, tab: str = "tab1", **given: Any) -> None:
        self.client, self.key, self.tab = client, key, tab
        self.opened = client.post("/api/sessions", json={"tab": tab, **given})
        body = self.opened.json()
        self.session, self.token, self.list = body.get("session"), body.get("token"), body.get("list")

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "X-Tab": self.tab}

    def record(self, trial: int, **changes: Any) -> dict[str, Any]:
        item = self.key.trials(self.list)[trial]
        times = {"rt_ms": 512.5, "shown_ms": 300.1, "at_ms": 1000.0 * trial}
        return {"part": "main", "number": trial, "item": item, "answer": "dog", **times, **changes}

    def put(self, trial: int, part_: str = "main", **changes: Any) -> Any:
        body = self.record(trial, **changes) if part_ == "main" else {"part": part_, "number": trial, **changes}
        return self.put_body(body, part_, trial)

    def put_body(self, body: Any, part: str = "main", number: int = 0) -> Any:
        path = f"/api/sessions/{self.session}/records/{part}/{number}"
        if isinstance(body, bytes):
            return self.client.put(path, content=body, headers=self.headers())
        return self.client.put(path, json=body, headers=self.headers())

    def post(self, what: str, body: Any = None) -> Any:
        return self.client.post(f"/api/sessions/{self.session}/{what}", json=body, headers=self.headers())

    def complete(self) -> Any:
        for number in range(len(self.key.trials(self.list))):
            assert self.put(number).status_code == 201
        return self.post("end", {"end": "completed"})


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return write_experiment(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(tmp_path: Path, key: Key, clock: Clock) -> Iterator[TestClient]:
    sessions = Sessions(tmp_path, clock=clock)
    made = server.make_app(tmp_path / "site", sessions, server.Completion("C0DE", "https://example.org/done"))
    with TestClient(made) as client:
        yield client


def refusal(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert "\n" not in body["error"]
    return answer.status_code, body["reason"]


def test_a_session_from_its_beginning_to_its_code(client: TestClient, key: Key, tmp_path: Path) -> None:
    page = Page(client, key, identifiers={"PROLIFIC_PID": "5f0e"}, browser={"agent": "Firefox", "refresh_hz": 60})
    assert page.opened.status_code == 201
    assert page.opened.json() == {
        "session": page.session, "token": page.token, "list": 0, "answered": {}, "end": "",
    }  # fmt: skip
    assert page.put(0, "consent", answer="yes").status_code == 201
    assert page.put(0, "practice", item="a" * 20, answer="cat", rt_ms=900).status_code == 201
    assert page.complete().json() == {"code": "C0DE", "redirect": "https://example.org/done"}
    (session,) = read(tmp_path)
    assert (session.end, session.list_, session.participant) == (
        "completed", 0, key.participant({"PROLIFIC_PID": "5f0e"}),
    )  # fmt: skip
    assert session.browser == {"agent": "Firefox", "refresh_hz": 60}
    assert session.started == "2027-01-15T08:00:00.000Z"
    main = [record for record in session.records if record.part == "main"]
    assert [record.table() for record in main] == [{**page.record(n), "hidden": False} for n in range(5)]
    assert [record.part for record in session.records[:2]] == ["consent", "practice"]


def test_a_page_that_is_loaded_again_goes_on(client: TestClient, key: Key) -> None:
    first = Page(client, key)
    first.put(0)
    first.put(1)
    first.post("release", {"token": first.token, "tab": first.tab})
    again = Page(client, key, "tab2", session=first.session, token=first.token)
    assert again.opened.status_code == 200
    assert again.opened.json()["answered"] == {"main": [0, 1]}
    assert (again.session, again.token, again.list) == (first.session, first.token, first.list)
    assert again.put(2).status_code == 201


def test_one_tab_has_a_session(client: TestClient, key: Key, clock: Clock) -> None:
    first = Page(client, key)
    clock.now += 5
    second = Page(client, key, "tab2", session=first.session, token=first.token)
    assert refusal(second.opened) == (409, "tab")
    assert second.opened.headers["Retry-After"] == f"{LEASE_SECONDS - 5:.0f}"
    clock.now += 5
    assert first.post("tab").status_code == 204  # a heartbeat
    clock.now += LEASE_SECONDS - 1
    assert refusal(Page(client, key, "tab2", session=first.session, token=first.token).opened) == (409, "tab")
    clock.now += 2
    second = Page(client, key, "tab2", session=first.session, token=first.token)
    assert second.opened.status_code == 200
    assert refusal(first.put(0)) == (409, "tab")
    assert refusal(first.post("tab")) == (409, "tab")
    assert refusal(first.post("end", {"end": "consent"})) == (409, "tab")
    first.post("release", {"token": first.token, "tab": first.tab})  # of what it does not have
    assert refusal(first.put(0)) == (409, "tab")
    assert second.put(0).status_code == 201


def test_a_known_participant_gets_their_own_session_and_a_new_token(client: TestClient, key: Key) -> None:
    known = {"PROLIFIC_PID": "5f0e", "STUDY_ID": "s1"}
    first = Page(client, key, identifiers=known)
    first.put(0)
    assert refusal(Page(client, key, "tab2", identifiers=known).opened) == (409, "tab")
    first.post("release", {"token": first.token, "tab": first.tab})
    again = Page(client, key, "tab2", identifiers=known)
    assert (again.session, again.list, again.opened.status_code) == (first.session, first.list, 200)
    assert again.opened.json()["answered"] == {"main": [0]}
    assert refusal(first.put(1)) == (403, "token")
    other = Page(client, key, identifiers={"PROLIFIC_PID": "other", "STUDY_ID": "s1"})
    assert other.opened.status_code == 201
    assert other.session != first.session


def test_who_has_taken_part_is_told_so(client: TestClient, key: Key) -> None:
    first = Page(client, key, identifiers={"PROLIFIC_PID": "5f0e"})
    first.complete()
    assert refusal(Page(client, key, "tab2", identifiers={"PROLIFIC_PID": "5f0e"}).opened) == (403, "taken_part")


def test_the_code_is_told_again_to_the_session_that_has_earned_it(client: TestClient, key: Key, clock: Clock) -> None:
    page = Page(client, key)
    page.complete()
    clock.now += 1000
    again = Page(client, key, "tab2", session=page.session, token=page.token)
    assert again.opened.json()["end"] == "completed"
    assert again.post("end", {"end": "completed"}).json()["code"] == "C0DE"
    assert refusal(again.post("end", {"end": "practice"})) == (409, "ended")
    assert again.put(0).status_code == 200  # a retry of what is saved
    assert refusal(again.put(0, "survey", answer="late")) == (409, "ended")


def test_there_is_no_code_before_every_trial_is_saved(client: TestClient, key: Key) -> None:
    page = Page(client, key)
    for number in (0, 1, 3, 4):
        page.put(number)
    answer = page.post("end", {"end": "completed"})
    assert refusal(answer) == (409, "missing")
    assert answer.json()["missing"] == 2
    assert page.post("end", {"end": "practice"}).json() == {"code": None, "redirect": None}


def test_a_trial_is_saved_once(client: TestClient, key: Key, tmp_path: Path) -> None:
    page = Page(client, key)
    assert page.put(0).status_code == 201
    assert page.put(0).status_code == 200
    assert refusal(page.put(0, answer="cat")) == (409, "answered")
    (session,) = read(tmp_path)
    assert [record.answer for record in session.records] == ["dog"]


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "horse"},
        {"answer": ""},
        {"answer": None},
        {"item": "c" * 20},
        {"rt_ms": -5},
        {"rt_ms": -1},
        {"rt_ms": "fast"},
        {"rt_ms": 1e300},
        {"rt_ms": 10**400},
        {"number": 1},
        {"part": "practice"},
        {"hidden": 1},
        {"correct": True},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_record_that_no_participant_can_make(client: TestClient, key: Key, tmp_path: Path, changes: Any) -> None:
    page = Page(client, key)
    assert refusal(page.put(0, **changes)) == (422, "body")
    assert read(tmp_path)[0].records == ()


def test_other_parts_have_their_own_bounds(client: TestClient, key: Key) -> None:
    page = Page(client, key)
    assert page.put(0, "survey", answer="any text").status_code == 201
    assert page.put(0, "headphones", item="b" * 20, answer="2").status_code == 201
    assert refusal(page.put(1, "headphones", item=key.trials(0)[0], answer="2")) == (422, "body")
    assert refusal(page.put(1000, "survey", answer="")) == (422, "body")
    assert refusal(page.put(1, "survey", answer="x" * 1001)) == (422, "body")
    assert refusal(page.put(0, "practice", item="a" * 20, answer="horse", rt_ms=1)) == (422, "body")
    assert refusal(page.put(0, "lunch")) == (422, "body")
    assert refusal(page.put_body(page.record(0), number=5)) == (422, "body")


@pytest.mark.parametrize("number", ["-1", "1.5", "9" * 5000, "%C2%B2", "x"])
def test_a_record_without_a_number(client: TestClient, key: Key, number: str) -> None:
    page = Page(client, key)
    path = f"/api/sessions/{page.session}/records/main/{number}"
    assert refusal(client.put(path, json=page.record(0), headers=page.headers())) == (404, "address")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_reaction_time_that_is_not_a_number(client: TestClient, key: Key, number: str) -> None:
    page = Page(client, key)
    body = f'{{"part": "main", "number": 0, "item": "{key.trials(0)[0]}", "answer": "dog", "rt_ms": {number}}}'
    assert refusal(page.put_body(body.encode())) == (400, "body")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 10_000, 400),
        (b'{"a": "\\ud800"}', 400),
        (b'{"a": ' + b"9" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b"x" * 20_000, 413),
    ],
    ids=["empty", "unclosed", "not-utf8", "deep", "surrogate", "digits", "list", "null", "no-entries", "large"],
)
def test_a_body_that_is_malformed_or_too_large(client: TestClient, key: Key, body: bytes, status: int) -> None:
    page = Page(client, key)
    assert refusal(page.put_body(body)) == (status, "body")
    assert refusal(client.post("/api/sessions", content=body)) == (status, "body")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"tab": 3},
        {"tab": "x" * 65},
        {"tab": "t", "session": "only"},
        {"tab": "t", "identifiers": ["PROLIFIC_PID"]},
        {"tab": "t", "identifiers": {"PROLIFIC_PID": "x" * 201}},
        {"tab": "t", "identifiers": {"PROLIFIC_PID": {"nested": 1}}},
        {"tab": "t", "identifiers": {str(n): "x" for n in range(11)}},
        {"tab": "t", "browser": {"agent": "x" * 501}},
        {"tab": "t", "browser": {"agent": ["x"]}},
        {"tab": "t", "browser": {"refresh_hz": 10**400}},
    ],
    ids=lambda given: str(given)[:40],
)
def test_a_request_for_a_session_that_is_none(client: TestClient, given: Any, tmp_path: Path) -> None:
    assert refusal(client.post("/api/sessions", json=given)) == (422, "body")
    assert read(tmp_path) == []


def test_a_forged_token_opens_and_saves_nothing(client: TestClient, key: Key, tmp_path: Path) -> None:
    page, other = Page(client, key, "tab1"), Page(client, key, "tab2")
    other.session, right = page.session, other.session
    assert refusal(other.put(0)) == (403, "token")  # another's session with one's own token
    assert refusal(other.post("end", {"end": "consent"})) == (403, "token")
    assert refusal(other.post("release", {"token": other.token, "tab": page.tab})) == (403, "token")
    other.session = right
    other.token = "forged"
    assert refusal(other.put(0)) == (403, "token")
    assert refusal(other.post("tab")) == (403, "token")
    assert refusal(Page(client, key, session=page.session, token="forged").opened) == (403, "token")
    path = f"/api/sessions/{page.session}/records/main/0"
    assert refusal(client.put(path, json=page.record(0))) == (403, "token")
    for header in ("Bearer é".encode(), b"Basic eDp5", b"Bearer", b""):
        assert refusal(client.put(path, json=page.record(0), headers={"Authorization": header, "X-Tab": "tab1"})) == (
            403, "token",
        )  # fmt: skip
    assert all(not session.records and not session.end for session in read(tmp_path))
    assert page.put(0).status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/../key.json",
        "/..%2fkey.json",
        "/%2e%2e/key.json",
        "/%2e%2e%2fkey.json",
        "/media/..%2f..%2fkey.json",
        "/media/..%5c..%5ckey.json",
        "/....//key.json",
        "/%00",
        "/key.json",
        "/sessions.sqlite",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/link",
        "/api",
        "/api/sessions/x",
        "/api/admin",
        "/docs",
    ],
)
def test_an_address_outside_the_page_is_not_found(client: TestClient, tmp_path: Path, path: str) -> None:
    (tmp_path / "site" / "link").symlink_to(tmp_path / "key.json")
    answer = client.get(f"http://testserver{path}")
    assert answer.status_code == 404
    assert b"secret" not in answer.content


def test_headers_of_every_answer(client: TestClient, key: Key) -> None:
    answers = [client.get("/"), client.get("/none"), Page(client, key).opened, client.get(f"/media/{'a' * 20}.png")]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
    kept = [answer.headers["Cache-Control"] for answer in answers]
    assert kept == ["no-cache", "no-cache", "no-store", "max-age=86400"]


def test_markup_in_free_text_is_text(client: TestClient, key: Key, tmp_path: Path) -> None:
    text = "<script>alert('\u2028')</script>\n\"; DROP TABLE records; --"
    page = Page(client, key)
    page.put(0, "survey", answer=text)
    assert read(tmp_path)[0].records[0].answer == text
    answer = page.put(0, "survey", answer="<b>other</b>")
    assert answer.headers["Content-Type"] == "application/json"
    assert "<" not in answer.text


def test_identifiers_are_kept_as_hashes_alone(client: TestClient, key: Key, tmp_path: Path) -> None:
    page = Page(client, key, identifiers={"PROLIFIC_PID": "5f0e11aa22bb", "SESSION_ID": "visit77"})
    files = b"".join(path.read_bytes() for path in tmp_path.glob("sessions.sqlite*"))
    assert key.pseudonym("5f0e11aa22bb").encode() in files
    for secret in ("5f0e11aa22bb", "visit77", page.token):
        assert secret.encode() not in files


def test_a_thousand_sessions_from_one_address(tmp_path: Path, key: Key) -> None:
    now = 0.0
    rates = server.Rates(opened=Rate(100, 0.2, lambda: now), requests=Rate(10_000, 50, lambda: now))
    with TestClient(server.make_app(tmp_path / "site", Sessions(tmp_path), rates=rates)) as client:
        answers = [client.post("/api/sessions", json={"tab": str(number)}) for number in range(1000)]
    assert [answer.status_code for answer in answers] == [201] * 100 + [429] * 900
    assert refusal(answers[-1]) == (429, "rate")
    assert answers[-1].headers["Retry-After"] == "5"
    assert len(read(tmp_path)) == 100


def test_requests_of_one_address_have_a_rate(tmp_path: Path, key: Key) -> None:
    rates = server.Rates(requests=Rate(3, 1, lambda: 0.0))
    with TestClient(server.make_app(tmp_path / "site", Sessions(tmp_path), rates=rates)) as client:
        page = Page(client, key)
        assert [page.put(number).status_code for number in range(4)] == [201, 201, 429, 429]


def test_a_locked_database_asks_the_page_to_try_again(
    tmp_path: Path, key: Key, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(client, key)
    with sqlite3.connect(tmp_path / "sessions.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = page.put(0)
        assert refusal(answer) == (503, "busy")
        assert answer.headers["Retry-After"] == "2"
        other.execute("ROLLBACK")
    other.close()
    assert page.put(0).status_code == 201


def test_a_full_disk_asks_the_page_to_try_again(tmp_path: Path, key: Key) -> None:
    sessions = Sessions(tmp_path)
    with TestClient(server.make_app(tmp_path / "site", sessions)) as client:
        page = Page(client, key)
        page.put(0)
        sessions._connection.execute(
            "PRAGMA max_page_count = 1"
        )  # what SQLite says then is what it says on a full disk
        refused = [page.put(number, "survey", answer="x" * 1000) for number in range(30)]
        full = [answer for answer in refused if answer.status_code != 201]
        assert full
        assert {refusal(answer) for answer in full} == {(503, "busy")}
        sessions._connection.execute("PRAGMA max_page_count = 1000000")
        assert page.put(999, "survey", answer="x" * 1000).status_code == 201
    kept = {record.number for record in read(tmp_path)[0].records if record.part == "survey"}
    assert kept == {999, *(n for n, answer in enumerate(refused) if answer.status_code == 201)}
