"""How much longer does a study take on an object store? Times on the disk and on an S3 server on the same machine.

The server is moto's, a process of its own. 32 words of spoken digits, metamers at two layers of coch-cnn-digits with
10 updates, in units of 8; then the finished study is resumed, opened with all of its arrays, evaluated and reported.

``python benchmarks/object_store.py``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from metamery.analysis import evaluate, run_study, write_report
from metamery.framework import Plugins, Study, open_study
from table import Benchmark, Column, skip

STUDY = """
stimuli = {{ name = "spoken-digits", limit = {limit} }}
models = [{{ name = "coch-cnn-digits", layers = ["relu1", "relu3"] }}]
synthesis = {{ steps = {steps}, batch_size = 8 }}
"""
SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""
COLUMNS = (
    Column("disk", "s"),
    Column("S3", "s"),
    Column("S3 / disk", "×", limit="the same on the disk"),
    *(Column(kind, "requests") for kind in ("read", "written", "listed", "others")),
)
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def counting(requests: Counter[str]) -> None:
    """Count the requests of this process by their kind."""
    import s3fs

    original = s3fs.S3FileSystem._call_s3

    async def call(self: Any, method: Any, *arguments: Any, **more: Any) -> Any:
        requests[str(method).partition("_")[0]] += 1
        return await original(self, method, *arguments, **more)

    s3fs.S3FileSystem._call_s3 = call


def steps(folder: str, study: Study) -> dict[str, Callable[[], Any]]:
    plugins = Plugins()
    return {
        "make metamers": lambda: run_study(study, folder, plugins),
        "resume, with all made": lambda: run_study(study, folder, plugins),
        "open, with all arrays": lambda: open_study(folder).load(),
        "evaluate accuracy": lambda: evaluate("accuracy", folder, output=folder, plugins=plugins),
        "report": lambda: write_report(folder),
    }


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--words", type=int, default=32)
    benchmark.option("--steps", type=int, default=10, help="updates")
    given = benchmark.parse()
    if not find_spec("s3fs") or not find_spec("moto"):
        skip("needs s3fs and moto (pip install metamery[s3] moto[server])")
    import s3fs

    benchmark.head("moto")
    requests: Counter[str] = Counter()
    counting(requests)
    with (
        tempfile.TemporaryDirectory() as disk,
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=server.stdout.readline().strip())
        s3fs.S3FileSystem().mkdir("bucket")
        run_study(Study.from_toml(STUDY.format(limit=given.words, steps=1)), f"{disk}/warm", Plugins())
        study = Study.from_toml(STUDY.format(limit=given.words, steps=given.steps))
        table = benchmark.table(f"A study of {given.words} words, {given.steps} updates", ["step"], COLUMNS)
        here, there = steps(f"{disk}/study", study), steps("s3://bucket/study", study)
        for name, step in here.items():
            began = time.perf_counter()
            step()
            local = time.perf_counter() - began
            requests.clear()
            there[name]()
            remote = time.perf_counter() - began - local
            kinds = [requests.pop(kind, 0) for kind in ("get", "put", "list")] + [requests.total()]
            table.row(name, local, remote, remote / local, *kinds)
        server.stdin.close()


if __name__ == "__main__":
    main()
