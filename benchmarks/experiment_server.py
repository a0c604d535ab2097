"""Does an experiment's server keep everything when 200 participants are at it at once, and how fast does it answer?

Simulated participants, each from an address of their own, do what the page does: they open a session, load the page and
the picture of each trial, save each answer after a pause, send a heartbeat every five seconds, repeat some requests as
after a lost reply, and end the session. The real server runs as a process of its own, behind this script as its proxy.
At the end the database is compared with what was answered; any difference is an error:
``python benchmarks/experiment_server.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from metamery.analysis.experiment.key import Item, Key
from metamery.analysis.experiment.server.sessions import read
from table import Benchmark, Column, skip

CHOICES = ("cat", "dog", "bird")
REPEATED = 0.1
"""Part of the answers that are sent twice."""

HEARTBEAT_SECONDS = 5.0
PERCENTILES = (50, 95, 99, 100)
SERVER = (
    Column("answers", "1/s", ""),  # participants pause
    Column("processor time, its start included", "s"),
)
REQUESTS = (
    Column("number", "", ""),
    Column("median", "ms"),
    Column("95 %", "ms"),
    Column("99 %", "ms", ""),
    Column("most", "ms", ""),
)


@dataclass
class Measured:
    """Seconds that each kind of request took, and what each session answered."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)
    answers: dict[str, dict[int, str]] = field(default_factory=dict)


def write_experiment(folder: Path, lists: int, trials: int, picture_bytes: int) -> Key:
    names = [f"{number:020x}" for number in range(lists * trials)]
    items = {name: Item("main", "cat", f"photo{n}", "net", "layer1", 0, "metamer") for n, name in enumerate(names)}
    order = tuple((tuple(names[number * trials : (number + 1) * trials]),) for number in range(lists))
    key = Key("3f0c5d4e-0000-5000-8000-000000000000", "Load", "picture", "5e" * 32, CHOICES, items, order)
    media = folder / "site" / "media"
    media.mkdir(parents=True)
    key.write(folder)
    (folder / "experiment.toml").write_text('[completion]\ncode = "C0DE"\n')
    (folder / "site" / "index.html").write_text("<!doctype html>")
    for name in names:
        (media / f"{name}.png").write_bytes(os.urandom(picture_bytes))
    return key


def start_server(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the server; return its process and its address."""
    command = [sys.executable, "-c", "from metamery.framework.start import entry; entry()", "experiment", "serve"]
    process = subprocess.Popen(
        [*command, str(folder), "--port", "0", "--proxy", "127.0.0.1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().rpartition(" ")[2].strip()


class Connection:
    """A connection that is kept between requests. Of HTTP it knows what the server answers, so that it costs little."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self.host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")
        self.port, self.headers = int(port), headers
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Ask again if there is no answer, as the page does: the server may just have closed the connection."""
        for _ in range(3):
            try:
                return await self._ask(method, path, b"" if body is None else json.dumps(body).encode())
            except (OSError, asyncio.IncompleteReadError):
                self.close()
        raise OSError(f"no answer to {method} {path}")

    async def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.streams = self.streams or await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        lines = [f"{name}: {value}" for name, value in {**self.headers, "Content-Length": len(body)}.items()]
        writer.write("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        _, has_body, rest = head.partition("content-length: ")
        return int(head.split()[1]), await reader.readexactly(int(rest.split()[0]) if has_body else 0)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None


class Participant:
    def __init__(self, number: int, address: str, key: Key, pause: float, measured: Measured) -> None:
        self.number, self.key, self.pause, self.measured = number, key, pause, measured
        self.random = random.Random(number)
        self.headers = {"X-Forwarded-For": f"10.0.{number // 250}.{number % 250 + 1}", "X-Tab": f"tab{number}"}
        self.page, self.heart = Connection(address, self.headers), Connection(address, self.headers)

    async def ask(self, kind: str, method: str, path: str, expected: int, body: object = None) -> bytes:
        connection = self.heart if kind == "heartbeats" else self.page
        began = time.perf_counter()
        status, answer = await connection.ask(method, path, body)
        self.measured.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        assert status == expected or status == 200, f"{method} {path}: {status} {answer!r}"
        return answer

    async def take_part(self) -> None:
        await asyncio.sleep(self.random.uniform(0, self.pause))
        await self.ask("files", "GET", "/", 200)
        body = {"tab": self.headers["X-Tab"], "identifiers": {"PROLIFIC_PID": f"person{self.number}"}}
        opened = json.loads(await self.ask("sessions opened", "POST", "/api/sessions", 201, body))
        self.headers["Authorization"] = f"Bearer {opened['token']}"
        self.measured.lists[opened["session"]] = opened["list"]
        path = f"/api/sessions/{opened['session']}"
        beats = asyncio.create_task(self.beat(path))
        try:
            await self.answer(path, opened, self.measured.answers.setdefault(opened["session"], {}))
        finally:
            beats.cancel()
            self.heart.close()
        ended = await self.ask("sessions ended", "POST", f"{path}/end", 200, {"end": "completed"})
        assert json.loads(ended)["code"] == "C0DE"
        self.page.close()

    async def answer(self, path: str, opened: dict[str, Any], answers: dict[int, str]) -> None:
        for number, item in enumerate(self.key.trials(opened["list"])):
            await self.ask("files", "GET", f"/media/{item}.png", 200)
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * self.pause)
            answers[number] = self.random.choice(CHOICES)
            record = {"part": "main", "number": number, "item": item, "answer": answers[number], "rt_ms": 700.5}
            one = f"{path}/records/main/{number}"
            await self.ask("answers saved", "PUT", one, 201, record)
            if self.random.random() < REPEATED:
                await self.ask("answers repeated", "PUT", one, 200, record)

    async def beat(self, path: str) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self.ask("heartbeats", "POST", f"{path}/tab", 204)


async def play(address: str, key: Key, participants: int, pause: float) -> Measured:
    measured = Measured()
    people = [Participant(number, address, key, pause, measured) for number in range(participants)]
    await asyncio.gather(*[person.take_part() for person in people])
    return measured


def check(folder: Path, key: Key, measured: Measured) -> None:
    """Compare what the server keeps with what was answered."""
    sessions = read(folder)
    assert sorted(session.session for session in sessions) == sorted(measured.lists), "sessions lost or doubled"
    for session in sessions:
        trials = key.trials(session.list_)
        assert session.list_ == measured.lists[session.session], "a list misassigned"
        assert session.end == "completed", "a session that did not end"
        assert [record.number for record in session.records] == list(range(len(trials))), "trials lost or doubled"
        for record in session.records:
            assert record.answer == measured.answers[session.session][record.number], "an answer changed"
            assert record.item == trials[record.number], "a trial misassigned"
    filled = Counter(session.list_ for session in sessions)
    fills = [filled[number] for number in range(len(key.lists))]
    assert max(fills) - min(fills) <= 1, f"lists filled unevenly: {fills}"


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--participants", type=int, default=200)
    benchmark.option("--lists", type=int, default=24)
    benchmark.option("--trials", type=int, default=50)
    benchmark.option("--pause", type=float, default=1.5, help="mean seconds between a picture and its answer")
    benchmark.option("--picture", type=int, default=100_000, help="bytes of a picture")
    given = benchmark.parse()
    if not find_spec("uvicorn"):
        skip("needs uvicorn (pip install metamery[experiment])")
    benchmark.head("starlette", "uvicorn")
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        key = write_experiment(folder, given.lists, given.trials, given.picture)
        process, address = start_server(folder)
        try:
            began = time.perf_counter()
            measured = asyncio.run(play(address, key, given.participants, given.pause))
            seconds = time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        check(folder, key, measured)
    count = sum(map(len, measured.seconds.values()))
    saved = len(measured.seconds["answers saved"])
    benchmark.note(f"{given.participants} participants, {saved} answers: none lost, doubled or misassigned")
    benchmark.note(f"lists filled to within one; {count} requests in {seconds:.0f} s")
    table = benchmark.table(f"The server with {given.participants} participants", ["of"], SERVER)
    table.row("all", saved / seconds, used.ru_utime + used.ru_stime)
    table = benchmark.table("How long answers take", ["request"], REQUESTS)
    for kind, times in sorted(measured.seconds.items()):
        table.row(kind, len(times), *(1000 * np.percentile(times, PERCENTILES)).tolist())


if __name__ == "__main__":
    main()
