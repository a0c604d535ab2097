"""The server as a process of its own: killed, doubled, behind a proxy, and without its packages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.server.sessions import read
from metamery.framework.cli import main
from small_experiment import write_experiment

METAMERY = [sys.executable, "-c", "from metamery.framework.start import entry; entry()"]
SECONDS = 60


class Server:
    """A server, and the address that it prints."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*METAMERY, "experiment", "serve", str(folder), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "METAMERY_PLUGINS": ""},
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.address = self.said.rpartition(" ")[2].strip().rstrip("/")
        assert self.address.startswith("http://"), self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit status and what was printed since."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out + errors

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        request.data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        return status, json.loads(text or b"null")

    def raw(self, text: str) -> bytes:
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            connection.sendall(text.encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer


@pytest.fixture
def key(tmp_path: Path) -> Key:
    pytest.importorskip("uvicorn")
    return write_experiment(tmp_path)


@pytest.fixture
def serve(tmp_path: Path, key: Key) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*options: str) -> Server:
        started.append(Server(tmp_path, *options))
        return started[-1]

    yield start
    for server in started:
        with suppress(ProcessLookupError):
            server.process.kill()
        server.process.communicate(timeout=SECONDS)


def test_a_server_that_is_killed_has_lost_nothing(serve: Callable[..., Server], tmp_path: Path, key: Key) -> None:
    server = serve()
    _, opened = server.ask("POST", "/api/sessions", {"tab": "t"})
    headers = {"Authorization": f"Bearer {opened['token']}", "X-Tab": "t"}
    path = f"/api/sessions/{opened['session']}"

    def put(server: Server, number: int) -> int:
        item = key.trials(opened["list"])[number]
        record = {"part": "main", "number": number, "item": item, "answer": "dog", "rt_ms": 400}
        return server.ask("PUT", f"{path}/records/main/{number}", record, **headers)[0]

    assert [put(server, number) for number in range(3)] == [201] * 3
    server.stop(signal.SIGKILL)
    again = serve()
    assert put(again, 2) == 200  # its answer may have been lost on the way
    assert again.ask("POST", "/api/sessions", {"tab": "t", "session": opened["session"], "token": opened["token"]}) == (
        200, {**opened, "answered": {"main": [0, 1, 2]}},
    )  # fmt: skip
    assert [put(again, number) for number in (3, 4)] == [201, 201]
    assert again.ask("POST", f"{path}/end", {"end": "completed"}, **headers) == (
        200, {"code": "C0DE", "redirect": "https://example.org/done"},
    )  # fmt: skip
    status, said = again.stop()
    assert (status, said.splitlines()[-1]) == (
        130, "stopped: every answer is saved; the same command serves the experiment again",
    )  # fmt: skip
    (session,) = read(tmp_path)
    assert [record.number for record in session.records] == [0, 1, 2, 3, 4]
    assert not list(tmp_path.glob("sessions.sqlite-*"))


def test_one_process_serves_an_experiment(
    serve: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    assert main(["experiment", "serve", str(tmp_path), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert f"is being written to by `python` (process {server.process.pid}" in error
    assert error.count("\n") == 1
    assert main(["experiment", "status", str(tmp_path)]) == 0
    assert f"server:       runs: `python` (process {server.process.pid}" in capsys.readouterr().out


def test_a_person_withdraws_while_the_experiment_is_served(
    serve: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    body = {"tab": "t", "identifiers": {"PROLIFIC_PID": "5f0e"}}
    _, opened = server.ask("POST", "/api/sessions", body)
    headers = {"Authorization": f"Bearer {opened['token']}", "X-Tab": "t"}
    assert main(["experiment", "withdraw", str(tmp_path), "5f0e"]) == 0
    assert capsys.readouterr().out == f"deleted: 0 records and 1 identifiers of {opened['session']}\n"
    assert server.ask("POST", f"/api/sessions/{opened['session']}/tab", **headers)[0] == 403
    assert server.ask("POST", "/api/sessions", body)[0] == 201


def test_no_path_leads_out_of_the_page(serve: Callable[..., Server]) -> None:
    server = serve()
    for target in ("/../key.json", "/media/../../key.json", "/%2e%2e/key.json", "//../key.json", "/..%5ckey.json"):
        answer = server.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"secret" not in answer
        assert b"server:" not in answer.lower()


def test_addresses_that_a_proxy_passes_on_are_believed_from_it_alone(serve: Callable[..., Server]) -> None:
    """By the number of sessions that one address may open: 100 at once."""

    def opened(server: Server) -> list[int]:
        return [
            server.ask("POST", "/api/sessions", {"tab": "t"}, **{"X-Forwarded-For": f"203.0.113.{number}"})[0]
            for number in range(101)
        ]

    server = serve("--proxy", "127.0.0.1")
    assert opened(server) == [201] * 101
    assert server.stop()[0] == 130
    assert opened(serve())[-1] == 429


def test_nothing_that_names_a_participant_is_printed(serve: Callable[..., Server]) -> None:
    server = serve()
    server.raw("GET /?PROLIFIC_PID=5f0e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    server.raw("GET /none?PROLIFIC_PID=5f0e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    server.raw("PROLIFIC_PID=5f0e\r\n\r\n")
    server.ask("POST", "/api/sessions", {"tab": "t", "identifiers": {"PROLIFIC_PID": "5f0e"}})
    assert "5f0e" not in server.said + server.stop()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid, port 8000: "),
        (["--host", "203.0.113.1"], "cannot listen at 203.0.113.1, port 8000: "),
        (["--proxy", "nginx"], "--proxy is 'nginx', expected an address or a network, such as 127.0.0.1"),
    ],
)
def test_an_address_that_cannot_be_used(
    tmp_path: Path, key: Key, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["experiment", "serve", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob(".claim*"))


def test_a_port_that_is_taken(tmp_path: Path, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["experiment", "serve", str(tmp_path), "--port", str(port)]) == 2
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "status", "withdraw"])
def test_a_folder_that_is_not_an_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["experiment", command, str(tmp_path / "none"), *(["5f0e"] if command == "withdraw" else [])]) == 2
    assert "is not an experiment: it has no key.json" in capsys.readouterr().err


def test_an_experiment_that_saves_elsewhere_is_not_served(
    tmp_path: Path, key: Key, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment.toml").write_text('[saving]\nto = "jatos"\n')
    assert main(["experiment", "serve", str(tmp_path)]) == 2
    assert "saves to jatos, expected saving.to = 'server'" in capsys.readouterr().err


def test_status_of_an_experiment(tmp_path: Path, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiment.toml").write_text("[allocation]\nparticipants = 5\n")
    assert main(["experiment", "status", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "'Pets', 2 lists",
        "server:       does not run",
        "have come:    0",
        "finished:     0",
        "at it:        0",
        "ended early:  0",
        "gone:         0",
        "left:         5 of 5",
        "",
        " list  finished  at it  ended early  gone  left",
        "    0         0      0            0     0     3",
        "    1         0      0            0     0     2",
    ]


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_what_to_install_is_said(
    tmp_path: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("app", "serving"):
        monkeypatch.delitem(sys.modules, f"metamery.analysis.experiment.server.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["experiment", "serve", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: experiment serve needs the package '{package}': pip install 'metamery[experiment]'\n"
    )
    assert main(["experiment", "status", str(tmp_path)]) == 0
