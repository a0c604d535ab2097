"""Studies on object stores: the same as on the disk, whatever happens; what refuses is one line and loses nothing."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from conftest import Said, forget_object_stores
from metamery.analysis import to_table
from metamery.analysis.studies.on_worker import StoredStudy
from metamery.analysis.studies.run_study import run_study
from metamery.framework import MetameryError, Plugins, Study, claims, open_study, snapshot
from metamery.framework.folders import CREATING, RESULTS
from metamery.framework.remote import RemotePath, folder_at
from metamery.framework.schema import STATES
from metamery.framework.store import StudyStore
from metamery.framework.study import ModelReference, Reference
from stores import differing
from studies import IMAGE, make_study

pytest.importorskip("s3fs")

KEY = "models/example+net"


def study_of(tiny: str, pictures: Path, limit: int = 2) -> Study:
    """A study of one unit for each stimulus."""
    return Study(
        models=(ModelReference(tiny, ("1",)),),
        stimuli=Reference("folder", {"path": str(pictures), "limit": limit}),
        synthesis={"preset": "fast", "steps": 3, "batch_size": 1},
    )


def done(url: str) -> int:
    """Return how many metamers of a study are done, -1 where there is none."""
    try:
        tree = open_study(url)
    except MetameryError as error:
        return -1 if str(error).startswith("no results in") else -2
    with tree:
        (model,) = tree["models"].children.values()
        return int((model["metamers/state"] == STATES["done"]).sum())


@pytest.fixture
def made(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RemotePath:
    """A study with invented results, of which nothing that was read is kept."""
    monkeypatch.setattr(snapshot, "KEPT_SECONDS", 0.0)
    make_study(tmp_path / "made", {"example:net": IMAGE}, finished=True)
    folder = folder_at(f"{bucket}/study")
    assert isinstance(folder, RemotePath)
    filesystem, path = fsspec.url_to_fs(str(folder))
    filesystem.put(f"{tmp_path / 'made'}/", f"{path}/", recursive=True)
    return folder


def test_every_command_takes_a_study_on_an_object_store(
    tiny: str, pictures: Path, bucket: str, command: Callable[..., Said], tmp_path: Path
) -> None:
    file, url = tmp_path / "study.toml", f"{bucket}/deep/study"
    file.write_text(study_of(tiny, pictures).to_toml())
    there, here = folder_at(url), tmp_path / "here"
    assert command("run", file, "-o", here).status == 0
    said = command("run", file, "-o", url)
    assert said.status == 0
    assert f"results: {url}/{RESULTS}" in said.out
    assert f"report:  {url}/report.html" in said.out
    assert differing(here, there) == []
    assert (there / "study.toml").read_text() == (here / "study.toml").read_text()
    assert sorted(each.name for each in there.iterdir()) == ["report.html", RESULTS, "study.toml"]

    before = {name: (there / name).read_bytes() for name in there.objects() if "/c/" in name}
    assert command("run", url).status == 0  # all is made
    assert before == {name: (there / name).read_bytes() for name in there.objects() if "/c/" in name}

    for each in (url, here):
        assert command("evaluate", "accuracy", each).status == 0
    assert open_study(url)["accuracy"].dataset.equals(open_study(here)["accuracy"].dataset)
    assert "accuracy" in (there / "report.html").read_text()
    assert command("report", url, "-o", tmp_path / "page.html").status == 0
    assert (tmp_path / "page.html").read_text() == (there / "report.html").read_text()
    assert command("evaluate", "accuracy", url, "--remove").status == 0
    assert "accuracy" not in open_study(url)
    assert not (there / RESULTS / "accuracy").exists()

    assert command("compare", url, here, "-o", f"{bucket}/comparison").status == 0
    assert (folder_at(f"{bucket}/comparison") / "report.html").exists()
    assert command("export", url, "-o", tmp_path / "exported").status == 0
    assert len(list((tmp_path / "exported").rglob("*.png"))) == 4
    assert to_table(url).equals(to_table(here))


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_some_requests_and_resumed_is_never_stopped(
    tiny: str, pictures: Path, bucket: str, start: Any, tmp_path: Path
) -> None:
    study = study_of(tiny, pictures, 3)
    run_study(study, tmp_path / "whole", Plugins())
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"study": study.to_toml(), "bucket": bucket}))
    script = Path(__file__).with_name("killed_on_an_object_store.py")
    with start([sys.executable, script, spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:

        def ask(**kill: Any) -> dict[str, Any]:
            server.stdin.write(json.dumps(kill) + "\n")
            server.stdin.flush()
            answer: dict[str, Any] = json.loads(server.stdout.readline())
            return answer

        puts = ask(name="counted", put=0)["puts"]
        kills = {"creating": 20, "null": puts["null"] + 3, "unit": puts["state"] + 5}
        assert max(kills.values()) < puts["all"]
        seen = {}
        for name, put in kills.items():
            assert ask(name=name, put=put)["signal"] == signal.SIGKILL
            seen[name] = done(f"{bucket}/{name}")
            assert ask(name=name, put=0)["signal"] == 0
            assert differing(tmp_path / "whole", folder_at(f"{bucket}/{name}")) == []
            assert sorted(each.name for each in folder_at(f"{bucket}/{name}").iterdir()) == [RESULTS, "study.toml"]
        server.stdin.close()
    assert seen == {"creating": -1, "null": 0, "unit": 1}


def test_parts_and_workers_make_the_same_study(tiny: str, pictures: Path, bucket: str, tmp_path: Path) -> None:
    study, url = study_of(tiny, pictures), f"{bucket}/study"
    run_study(study, tmp_path / "whole", Plugins())
    for part in ("1/2", "2/2"):
        store = run_study(study, url, Plugins(), part=part)
    assert differing(tmp_path / "whole", folder_at(url)) == []
    assert StoredStudy.of(store).folder == url
    assert StoredStudy.of(store).open().attributes == store.attributes


def test_a_second_process_is_refused_and_loses_nothing(
    made: RemotePath, command: Callable[..., Said], tmp_path: Path
) -> None:
    file = tmp_path / "study.toml"
    file.write_text('stimuli = "spoken-digits"\nmodels = [{ name = "coch-cnn-digits" }]\n')
    before = made.objects()
    with claims.work(made):
        said = command("run", file, "-o", made)
    assert said.status == 2
    assert f"'{made}' is being written to by" in said.error
    assert made.objects() == before


def test_an_evaluation_that_was_killed_is_absent_and_made_again(made: RemotePath) -> None:
    whole = open_study(made)["models/example+net/null"].dataset.load()
    store = StudyStore.reopen(made)
    store.add("result", whole)
    (made / RESULTS / "result" / "zarr.json").unlink()  # it comes last, and goes first
    with open_study(made) as tree:
        assert "result" not in tree
    StudyStore.reopen(made).add("result", whole.isel(layer=[0]))
    with open_study(made) as tree:
        assert tree["result"].dataset.sizes["layer"] == 1
        assert len([name for name in made.objects() if "/result/" in name]) > 5
    StudyStore.reopen(made).remove("result")
    assert not [name for name in made.objects() if "/result/" in name]


def test_a_reader_sees_that_a_result_was_replaced_by_an_equal_one(made: RemotePath) -> None:
    null = open_study(made)["models/example+net/null"].dataset.load()
    states = set()
    for _ in range(3):
        StudyStore.reopen(made).add("result", null)
        states.add((made / RESULTS / "zarr.json").state())
    assert len(states) == 3


def test_results_that_a_killed_process_was_creating_are_created_anew(
    tiny: str, pictures: Path, bucket: str, tmp_path: Path
) -> None:
    folder = folder_at(f"{bucket}/study")
    (folder / CREATING).write_bytes(b"")
    (folder / RESULTS / "models" / "of another" / "zarr.json").write_text("{}")
    run_study(study_of(tiny, pictures), folder, Plugins())
    run_study(study_of(tiny, pictures), tmp_path / "whole", Plugins())
    assert differing(tmp_path / "whole", folder) == []
    assert not (folder / CREATING).exists()


def test_the_same_objects_without_that_mark_are_damaged(made: RemotePath, command: Callable[..., Said]) -> None:
    (made / RESULTS / "zarr.json").unlink()
    before = made.objects()
    said = command("synthesise", "coch-cnn-digits", "--stimuli", "spoken-digits", "-o", made)
    assert said.status == 2
    assert said.error == f"error: '{made}' holds a {RESULTS} that cannot be read; choose another folder"
    assert made.objects() == before


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        (f"{KEY}/match/match/zarr.json", f"{KEY}/match/match' is damaged: it has no zarr.json"),
        (f"{KEY}/match/zarr.json", f"{KEY}/match' is damaged: it has no zarr.json"),
        (f"{KEY}/metamers/stimulus/c/0", f"{KEY}/metamers/stimulus' is damaged: 0 of its 1 chunks exist"),
    ],
)
def test_what_is_lost_is_named(made: RemotePath, command: Callable[..., Said], lost: str, says: str) -> None:
    (made / RESULTS / lost).unlink()
    assert f"'{made}/{RESULTS}/{says}" in command("report", made).error


def test_what_cannot_be_read_now_is_not_taken_for_lost(
    made: RemotePath, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    original = s3fs.S3FileSystem._cat_file

    async def away(self: Any, path: str, *arguments: Any, **more: Any) -> bytes:
        if path.endswith("signal/c/0/0/0/0/0/0"):
            raise OSError("the server is busy")
        content: bytes = await original(self, path, *arguments, **more)
        return content

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", away)
    said = command("report", made)
    assert said.status == 2
    assert said.error.endswith("signal/c/0/0/0/0/0/0': the server is busy")


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers that nothing is allowed."""

    def do_GET(self) -> None:
        content = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def refusing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        forget_object_stores()
        yield
        forget_object_stores()
        server.shutdown()


def runs(tiny: str, pictures: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """The first words of a command that makes a study."""
    file = tmp_path / "study.toml"
    file.write_text(study_of(tiny, pictures).to_toml())
    return ("run", file, "-o")


def test_a_bucket_that_does_not_exist(
    tiny: str, pictures: Path, bucket: str, command: Callable[..., Said], tmp_path: Path
) -> None:
    said = command(*runs(tiny, pictures, tmp_path), f"{bucket}-other/study")
    assert said.status == 2
    assert said.error.endswith("The specified bucket does not exist")
    assert f"cannot write to '{bucket}-other/study" in said.error
    for words in (("report",), ("evaluate", "accuracy"), ("export", "-o", tmp_path / "out"), ("run",)):
        said = command(*words, f"{bucket}-other/study")
        assert said.status == 2
        assert f"'{bucket}-other/study" in said.error


def test_a_bucket_that_refuses(
    tiny: str, pictures: Path, bucket: str, refusing: None, command: Callable[..., Said], tmp_path: Path
) -> None:
    for words in (runs(tiny, pictures, tmp_path), ("report",), ("evaluate", "accuracy")):
        said = command(*words, f"{bucket}/study")
        assert said.status == 2
        assert f"'{bucket}/study" in said.error
        assert said.error.endswith(("Access Denied", "Forbidden"))


@pytest.fixture
def opened_anew() -> Iterator[None]:
    """Object stores are opened in the environment of the test, and then again in that of others."""
    forget_object_stores()
    yield
    forget_object_stores()


def test_no_credentials(
    bucket: str, opened_anew: None, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    said = command("report", f"{bucket}/study")
    assert said.status == 2
    assert f"cannot read '{bucket}/study': Unable to locate credentials" in said.error


def test_a_server_that_is_not_there(
    bucket: str, opened_anew: None, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        said = command("report", f"{bucket}/study")
    assert said.status == 2
    assert f"cannot read '{bucket}/study': Could not connect to the endpoint" in said.error


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s4://bucket/study", "unknown protocol 's4'; did you mean 's3'?"),
        ("s3://", "'s3://' names no bucket: expected s3://BUCKET/FOLDER"),
        ("absent://bucket/study", "'absent://bucket/study' needs the package 'absent_package': pip install"),
    ],
)
def test_urls_that_cannot_be_read(
    url: str, says: str, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.registry import known_implementations

    monkeypatch.setitem(known_implementations, "absent", {"class": "absent_package.FileSystem", "err": "install it"})
    for words in (("report",), ("synthesise", "coch-cnn-digits", "--stimuli", "spoken-digits", "-o")):
        said = command(*words, url)
        assert said.status == 2
        assert says in said.error


@pytest.mark.parametrize(
    "words",
    [
        ("train", "coch-cnn-digits", "--stimuli", "spoken-digits", "-o"),
        ("experiment", "build"),
        ("demo", "--experiment", "-o"),
    ],
)
def test_commands_that_need_the_disk_say_so(words: tuple[str, ...], command: Callable[..., Said]) -> None:
    said = command(*words, "memory://bucket/study")
    assert said.status == 2
    assert said.error == "error: 'memory://bucket/study' is on an object store: expected a folder on the disk here"
    assert not os.path.exists("memory:")
