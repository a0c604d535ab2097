"""Workers of Dask: the same store as one process makes, whatever happens to them; what they cannot use is named."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Said
from metamery.analysis.studies import clusters, on_worker, workers
from metamery.analysis.studies.making import make_units
from metamery.analysis.studies.run_study import run_study
from metamery.framework import MetameryError, Plugins, Study, open_study
from metamery.framework.schema import STATES
from metamery.framework.store import StudyStore
from stores import differing
from worker_trials import children, made

pytest.importorskip("distributed")


@contextmanager
def two_workers() -> Iterator[Any]:
    """A scheduler with two workers, which are threads of this process."""
    from distributed import Scheduler, Worker
    from distributed.deploy.spec import SpecCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    worker = {"cls": Worker, "options": {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1"}}
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with SpecCluster(
        workers={"a": worker, "b": worker},
        scheduler={"cls": Scheduler, "options": options},
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


def no_workers() -> Any:
    """A scheduler without workers."""
    from distributed import Scheduler
    from distributed.deploy.spec import SpecCluster

    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    return SpecCluster(workers={}, scheduler={"cls": Scheduler, "options": options}, silence_logs=logging.CRITICAL)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers."""
    with two_workers() as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def _nothing_prepared() -> Iterator[None]:
    on_worker._prepared.cache_clear()
    yield
    wait_until_idle()


def wait_until_idle() -> None:
    """Wait for the workers in this process, which share PyTorch's switches with it, to end what they compute."""
    from distributed import Worker

    end = time.monotonic() + 60
    while any(worker.active_threads for worker in Worker._instances):
        assert time.monotonic() < end, "a worker still computes after a minute"
        time.sleep(0.01)


@pytest.fixture
def study(two_models: Study) -> Study:
    return two_models


def test_workers_come_to_the_store_of_one_process(
    study: Study, made_alone: Path, tmp_path: Path, scheduler: str
) -> None:
    run_study(study, tmp_path / "workers", Plugins(), scheduler=scheduler)
    assert differing(made_alone, tmp_path / "workers") == []


def test_workers_start_from_the_file_that_one_process_starts_from(
    study: Study, drawn: Callable[[Path, list[str]], Path], tmp_path: Path, scheduler: str
) -> None:
    file = drawn(tmp_path / "starts", ["texture"]) / "texture.png"
    study = replace(study, synthesis={**study.synthesis, "start": str(file), "seeds": 1})
    run_study(study, tmp_path / "alone", Plugins())
    run_study(study, tmp_path / "workers", Plugins(), scheduler=scheduler)
    assert differing(tmp_path / "alone", tmp_path / "workers") == []


def test_workers_go_on_where_one_process_stopped(study: Study, made_alone: Path, copied: Path, scheduler: str) -> None:
    store = StudyStore.reopen(copied)
    for key in store.children("models"):
        state = store.read(f"models/{key}/metamers", "state")
        state[:, 2:] = STATES["missing"]
        store.write(f"models/{key}/metamers", {}, {"state": state})
        store.remove_null(key)
    run_study(study, copied, Plugins(), scheduler=scheduler)
    assert differing(made_alone, copied) == []


def test_an_evaluation_on_a_worker_is_the_same(copied: Path, scheduler: str, command: Callable[..., Said]) -> None:
    found = []
    for given in ([], ["--scheduler", scheduler]):
        result = command("evaluate", "recognition", copied, *given)
        assert result.status == 0, result.err
        found.append(open_study(copied)["recognition"].to_dataset().load())
    assert found[0].equals(found[1])
    assert found[0].attrs.keys() == found[1].attrs.keys()


# What goes wrong for a moment


def test_a_unit_whose_file_server_did_not_answer_is_made_again(
    study: Study, made_alone: Path, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count()

    def make(*arguments: Any, **options: Any) -> None:
        if next(calls) in (1, 4):
            raise OSError("stale file handle")
        make_units(*arguments, **options)

    monkeypatch.setattr(on_worker, "make_units", make)
    run_study(study, tmp_path / "workers", Plugins(), scheduler=scheduler)
    assert differing(made_alone, tmp_path / "workers") == []
    assert next(calls) == 20  # 18 units


def test_a_file_server_that_never_answers_is_not_asked_for_ever(
    study: Study, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_arguments: Any, **_options: Any) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(on_worker, "make_units", make)
    with pytest.raises(OSError, match="stale file handle"):
        run_study(study, tmp_path, Plugins(), scheduler=scheduler)


@pytest.mark.parametrize("asked_of", ["scheduler_info", "submit"])
def test_a_scheduler_that_is_lost_is_one_line_and_the_study_goes_on(
    study: Study, made_alone: Path, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch, asked_of: str
) -> None:
    from distributed import Client
    from distributed.comm import CommClosedError

    asked, answer = count(), getattr(Client, asked_of)

    def lost(*arguments: Any, **options: Any) -> Any:
        if next(asked) > 5:
            raise CommClosedError("in <TCP (closed)>")
        return answer(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Client, asked_of, lost)
        with pytest.raises(MetameryError, match="the scheduler of Dask was lost; the same command resumes"):
            run_study(study, tmp_path / "study", Plugins(), scheduler=scheduler)
    wait_until_idle()
    run_study(study, tmp_path / "study", Plugins())
    assert differing(made_alone, tmp_path / "study") == []


@pytest.mark.parametrize("name", ["distributed", "distributed.client", "tornado.application", "asyncio"])
def test_what_dask_logs_is_left_out(
    scheduler: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    logger, handler = logging.getLogger(name), logging.StreamHandler()
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.ERROR)
    with workers.open_workers(scheduler, Plugins(), torch.device("cpu")):
        logger.error("not to be seen")
    assert logger.handlers == [handler]
    assert "not to be seen" not in capfd.readouterr().err


# What workers cannot use


def test_a_worker_of_another_version_is_refused(
    study: Study, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "versions", lambda: ("0.0.9", torch.__version__))
    with pytest.raises(
        MetameryError, match=r"on worker 'tcp://.*': it has metamery .*, the command 0.0.9: expected the"
    ):
        run_study(study, tmp_path, Plugins(), scheduler=scheduler)


def test_a_worker_without_the_file_of_a_model_says_so(study: Study, tmp_path: Path, scheduler: str) -> None:
    def load(*_arguments: Any) -> None:
        raise MetameryError("no file 'tiny.py'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_worker, "load_part", load)
        with pytest.raises(MetameryError, match=r"on worker 'tcp://.*': no file '"):
            run_study(study, tmp_path / "other", Plugins(), scheduler=scheduler)
    run_study(study, tmp_path / "other", Plugins(), scheduler=scheduler)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_device_is_that_of_the_workers(
    study: Study, tmp_path: Path, scheduler: str, command: Callable[..., Said]
) -> None:
    """The machine that gives the order, such as a login node, may have none; nor do these workers."""
    (tmp_path / "study.toml").write_text(study.to_toml())
    given = ["run", tmp_path / "study.toml", "-o", tmp_path / "study", "--device", "cuda", "--scheduler"]
    assert "on worker 'tcp://" in (said := command(*given, scheduler).error)
    assert "device 'cuda' is not available" in said
    assert command(*given, "local:1").error.startswith("error: device 'cuda' is not available")


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="expected a folder that all machines share"):
        on_worker.StoredStudy(str(tmp_path / "elsewhere"), "").open()


def test_a_study_that_took_the_place_of_another_is_not_written_to(made_alone: Path) -> None:
    stored = on_worker.StoredStudy.of(StudyStore.reopen(made_alone))
    assert stored.open().path == made_alone / "results.zarr"
    with pytest.raises(MetameryError, match="holds another study by now"):
        replace(stored, created="2020").open()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tcp://127.0.0.1:9", "no scheduler of Dask answers at 'tcp://127.0.0.1:9'"),
        ("local:0", "local:N is 0, expected a whole number of at least 1"),
        ("local:99999", "expected a whole number of at most 10000"),
        ("slurm", "scheduler is 'slurm', expected local:N, tcp://HOST:PORT or FILE.toml"),
        ("nowhere.toml", "cannot read the cluster 'nowhere.toml': No such file or directory"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_line(
    study: Study, tmp_path: Path, command: Callable[..., Said], given: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 1)
    (tmp_path / "study.toml").write_text(study.to_toml())
    result = command("run", tmp_path / "study.toml", "-o", tmp_path / "study", "--scheduler", given)
    assert result.status == 2
    assert said in result.error
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('cluster = "slrm"', "unknown cluster of '.*' 'slrm'; did you mean 'slurm'"),
        ("workers = 3", "unknown cluster of"),
        ('cluster = "slurm"\nworker = 3', "unknown key of '.*' 'worker'; did you mean 'workers'"),
        ('cluster = "slurm"\nworkers = 0', "workers is 0, expected a whole number of at least 1"),
        (
            'cluster = "slurm"\n[options]\nquee = "gpu"',
            "unknown option of a slurm job in '.*' 'quee'; did you mean 'queue'",
        ),
        ('cluster = "slurm"\n[options]\nmemory = "1GB"', "cores is None, expected a whole number of at least 1"),
        (
            'cluster = "slurm"\n[options]\ncores = 1\nmemory = "much"',
            "memory is 'much', expected a size such as '16GB'",
        ),
        ('cluster = "slurm"\noptions = 3', "options is 3, expected a table"),
        ("cluster = slurm", "cannot read the cluster"),
    ],
)
def test_a_file_that_describes_no_cluster_is_refused(tmp_path: Path, text: str, said: str) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "cluster.toml").write_text(text)
    opened = clusters.open_cluster(str(tmp_path / "cluster.toml"), torch.device("cpu"))
    with pytest.raises(MetameryError, match=said), opened:
        pass


def test_jobs_are_asked_for_as_described(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "cluster.toml").write_text(
        """
        cluster = "slurm"
        [options]
        queue = "gpu"
        cores = 4
        memory = "16GB"
        walltime = "04:00:00"
        job_extra_directives = ["--gres=gpu:1"]
        job_script_prologue = ["module load cuda"]
        """
    )
    with clusters.job_cluster(tmp_path / "cluster.toml", torch.device("cuda")) as (cluster, count):
        script = cluster.job_script()
    assert count == 1
    for line in ("#SBATCH -p gpu", "#SBATCH -n 1", "#SBATCH --cpus-per-task=4", "#SBATCH -t 04:00:00"):
        assert line in script
    assert "#SBATCH --gres=gpu:1\nmodule load cuda\nexport OMP_NUM_THREADS=4\n" in script
    assert script.index("--nthreads 4") < script.index("--nthreads 1 --resources GPU=1")  # the last one counts


# Processes that end


def test_workers_that_do_not_come_back_are_replaced() -> None:
    from distributed.core import Status

    running, closed = SimpleNamespace(status=Status.running), SimpleNamespace(status=Status.failed)
    asked: list[int] = []
    cluster = SimpleNamespace(worker_spec={0: {}, 1: {}}, workers={0: running, 1: closed}, scale=asked.append)
    replaced = clusters.Replacement(cluster)
    assert replaced() == 1
    assert (cluster.workers, asked) == ({0: running}, [2])
    assert replaced() == 0  # it is on its way
    cluster.workers[1] = running
    assert (replaced(), asked) == (0, [2, 2])


def test_a_job_that_was_cancelled_before_its_worker_connected_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed.core import Status

    class SLURMCluster(SimpleNamespace):
        pass

    now, queue, asked = [0.0], {"10", "12"}, list[int]()
    monkeypatch.setattr(clusters.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(clusters, "_queue", lambda: queue)
    jobs = {number: SimpleNamespace(status=Status.running, job_id=str(10 + number)) for number in range(4)}
    jobs[4] = SimpleNamespace(status=Status.running, job_id=None)  # not submitted yet
    connected = {"workers": {"tcp://1": {"name": 0}, "tcp://2": {"name": 1}}}  # the queue may leave out what works
    cluster = SLURMCluster(worker_spec=dict(jobs), workers=dict(jobs), scheduler_info=connected, scale=asked.append)
    replaced = clusters.Replacement(cluster)
    for _ in range(int(clusters.LOST_SECONDS / clusters.LOOK_SECONDS)):
        now[0] += clusters.LOOK_SECONDS
        assert (replaced(), asked) == (0, [])
    now[0] += clusters.LOOK_SECONDS
    assert (replaced(), asked) == (1, [5])
    assert sorted(cluster.workers) == [0, 1, 2, 4]  # 2 waits in the queue


def test_a_queue_that_does_not_answer_loses_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (["false"], ["no-such-command"]):
        monkeypatch.setattr(clusters, "QUEUE", command)
        assert clusters._queue() is None
    monkeypatch.setattr(clusters, "QUEUE", ["printf", "7\n8\n"])
    assert clusters._queue() == {"7", "8"}


def test_workers_that_never_start_are_given_up(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "Replacement", lambda _cluster: lambda: 1)
    monkeypatch.setattr(workers, "MOST_LOST", 3)
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(clusters, "_local", lambda _count, _device: no_workers())
    with pytest.raises(MetameryError, match=r"^nulls? were given up: 3 workers ended while they started, and none"):
        run_study(study, tmp_path / "out", Plugins(), scheduler="local:1")


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(
    study: Study, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Workers are killed while they compute and start, then the command is stopped; one process makes the rest."""
    long = replace(study, synthesis={**study.synthesis, "steps": 600})
    run_study(long, tmp_path / "alone", Plugins())
    (tmp_path / "study.toml").write_text(long.to_toml())
    command = [sys.executable, "-m", "metamery.framework", "run", str(tmp_path / "study.toml"), "--trust"]
    command += ["-o", str(tmp_path / "workers"), "--scheduler", "local:2"]
    said = tmp_path / "said"
    with said.open("w") as file:
        process = start(command, stderr=file, stdout=subprocess.DEVNULL)
    _wait_for(lambda: made(tmp_path / "workers") and children(process.pid))
    os.kill(children(process.pid)[0], signal.SIGKILL)
    before = made(tmp_path / "workers")
    _wait_for(lambda: made(tmp_path / "workers") > before and "a worker was lost: Worker process" in said.read_text())
    for pid in children(process.pid):
        os.kill(pid, signal.SIGKILL)
    started: list[int] = []
    _wait_for(lambda: started.extend(children(process.pid)) or started)
    os.kill(started[0], signal.SIGKILL)  # while it starts
    before = made(tmp_path / "workers")
    _wait_for(lambda: made(tmp_path / "workers") > before)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    assert process.returncode == 130, said.read_text()
    assert "stopped: the same command resumes where this one stopped" in said.read_text()
    assert "Traceback" not in said.read_text()
    run_study(long, tmp_path / "workers", Plugins())
    assert differing(tmp_path / "alone", tmp_path / "workers") == []


def _wait_for(condition: Callable[[], Any]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("nothing happened for five minutes")
