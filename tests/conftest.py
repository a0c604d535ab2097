"""Fixtures of many tests: a tiny network in a file, a folder of tiny pictures, temporary plugins, the program."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings
from inputs import TINY, draw_pictures
from metamery.framework import hookimpl, manager, remote
from metamery.framework.cli import main

# How long an example takes is not tested: other things may run beside it.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

collect_ignore = ["example_plugin"]  # a project of its own, tested where it is installed


S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
S3_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


def forget_object_stores() -> None:
    """Close what is open of object stores, so that they are opened again in the environment of now."""
    import fsspec.asyn
    import s3fs
    from zarr.core.sync import sync

    for fs in s3fs.S3FileSystem._cache.values():
        if fs._s3 is not None and fs.asynchronous:
            sync(fs._s3.__aexit__(None, None, None))
        elif fs._s3 is not None:
            fsspec.asyn.sync(fs.loop, fs._s3.__aexit__, None, None, None)
    remote._file_system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@dataclass(frozen=True)
class Said:
    """What a run of the program came to."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error that begins with ``error:``; nothing like it may be on standard output."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err + self.out
        assert "error:" not in self.out
        return lines[0]


@pytest.fixture(autouse=True, scope="session")
def _only_what_is_bundled() -> Iterator[None]:
    """No installed plugin, no cache, and Python files are trusted; a test that wants otherwise says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAMERY_PLUGINS", "")
        patch.setenv("METAMERY_CACHE", "")
        patch.setenv("METAMERY_TRUST", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The name of the tiny network, ``FILE.py:build``."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY, encoding="utf-8")
    return f"{file}:build"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with five pictures in three classes."""
    return draw_pictures(tmp_path / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])


@pytest.fixture(scope="session")
def drawn() -> Callable[[Path, list[str]], Path]:
    """``drawn(folder, names)`` draws pictures of those names into a folder."""
    return draw_pictures


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """``command("list", "models")`` runs the program in this process."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start([program, …], …)`` starts a program; with the test it ends, and whatever it has started."""
    started: list[subprocess.Popen[str]] = []

    def begin(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(command, text=True, start_new_session=True, **options)
        started.append(process)
        return process

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server, a process that ends with this one."""
    for package in ("moto", "s3fs"):
        pytest.importorskip(package)
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", S3_SERVER], text=True, **options) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket, with the environment in which it can be used."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(4)}"
    s3fs.S3FileSystem(use_listings_cache=False, max_concurrency=1).mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``install(name=module, broken="no_such_module")`` makes entry points, and lets them load."""

    def make(**plugins: ModuleType | str) -> None:
        points = []
        for name, module in plugins.items():
            place = module if isinstance(module, str) else f"installed_{name}"
            if isinstance(module, ModuleType):
                monkeypatch.setitem(sys.modules, place, module)
            points.append(EntryPoint(name, place, "metamery"))
        monkeypatch.setattr(manager, "entry_points", lambda group: points if group == "metamery" else [])
        monkeypatch.delenv("METAMERY_PLUGINS")

    return make


@pytest.fixture
def fake_plugin() -> Callable[..., ModuleType]:
    """``fake_plugin("name", register_models=function, …)`` is a plugin's module."""

    def make(name: str, **hooks: Any) -> ModuleType:
        module = ModuleType(name)
        for hook, function in hooks.items():
            setattr(module, hook, hookimpl(function))
        return module

    return make


def add_one(value: float = 1.0) -> Callable[[float], float]:
    """A factory that any kind of name which asks for a callable can point at."""
    return lambda given: given + value


@pytest.fixture
def distances_of() -> Callable[..., Callable[..., None]]:
    """``distances_of("a", "b")`` is a hook that registers distances of these names."""

    def make(*names: str) -> Callable[..., None]:
        def register_distances(register: Any) -> None:
            for name in names:
                register(name, add_one, f"made up, {name}")

        return register_distances

    return make
