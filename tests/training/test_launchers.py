"""Processes that torchrun, srun or a person started train as one process does; what they are told is checked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError, Plugins, Recipe
from metamery.framework.folders import RUN_FILE
from metamery.framework.run import Run
from metamery.framework.study import Reference
from metamery.training.checkpoints import load
from metamery.training.driver import run_training
from metamery.training.hardware import Hardware
from metamery.training.launchers import SlurmStep, is_first, launch
from metamery.training.loop import LAST

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5", "LOCAL_RANK": "1"}
STEP = {
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "host[3-4]", "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_JOB_ID": "123456", "SLURM_NTASKS": "64",
}  # fmt: skip
BY_HAND = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
import metamery.training.data
from metamery.framework import MetameryError, Plugins
from metamery.framework.run import Run
from metamery.training.driver import run_training
from metamery.training.hardware import Hardware

torch.set_num_threads(1)
metamery.training.data.MAX_CACHED_BYTES = 0  # all is read by a loader
try:
    run_training(Run.read(Path("asked")), Path("run"), Plugins(), Hardware(**json.loads(sys.argv[1])))
except MetameryError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture(autouse=True)
def _not_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*TORCHRUN, *STEP, *BY_HAND}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "given", "devices", "nodes", "first"),
    [
        ({}, (None, None), 1, 1, True),
        ({}, (3, None), 3, 1, True),
        (TORCHRUN, (None, None), 4, 2, False),
        (TORCHRUN, (4, 2), 4, 2, False),
        (TORCHRUN | {"RANK": "0"}, (None, None), 4, 2, True),
        (STEP, (None, None), 4, 2, False),
        (STEP | {"SLURM_PROCID": "0"}, (4, None), 4, 2, True),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "0"}, (2, None), 2, 1, True),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, (None, None), 1, 1, True),  # a batch script, outside of srun
        (BY_HAND, (4, 2), 4, 2, False),
    ],
)
def test_the_processes_are_those_that_were_started(
    environment: dict[str, str], given: Any, devices: int, nodes: int, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    started = launch(*given)
    assert (started.devices, started.nodes) == (devices, nodes)
    assert is_first() == first


@pytest.mark.parametrize(
    ("environment", "given", "said"),
    [
        (TORCHRUN, (2, None), "devices is 2, and torchrun started 4: expected 4, or none given"),
        (STEP, (None, 3), "nodes is 3, and srun started 2: expected 2, or none given"),
        (
            STEP | {"SLURM_STEP_NUM_TASKS": "7"},
            (None, None),
            "srun started 7 processes on 2 machines: expected",
        ),
        (STEP | {"SLURM_STEP_NUM_NODES": "two"}, (None, None), "SLURM_STEP_NUM_NODES in the environment is 'two'"),
        ({}, (1, 2), "nodes is 2, and MASTER_ADDR is not set: expected a start by torchrun or srun, or one by hand"),
        (BY_HAND | {"NODE_RANK": "2"}, (1, 2), "NODE_RANK is 2, and nodes is 2: expected 0 to 1"),
    ],
)
def test_another_start_is_refused(
    environment: dict[str, str], given: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MetameryError, match=said):
        launch(*given)


def test_the_first_process_of_a_step_is_on_its_first_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    step = SlurmStep()
    assert (step.main_address, step.main_port) == ("host3", 15000 + 3456)
    assert (step.world_size(), step.global_rank(), step.local_rank(), step.node_rank()) == (8, 5, 1, 1)
    monkeypatch.setenv("MASTER_PORT", "4000")
    assert step.main_port == 4000


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def torchrun(port: str, *options: object) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *map(str, options), f"--master-port={port}"]


def by_torchrun(port: str) -> list[tuple[list[str], dict[str, str]]]:
    return [(torchrun(port, "--nproc-per-node", 2), {})]


def by_torchrun_on_two_machines(port: str) -> list[tuple[list[str], dict[str, str]]]:
    machines = [["--nnodes=2", f"--node-rank={rank}", "--master-addr=127.0.0.1"] for rank in (0, 1)]
    return [(torchrun(port, "--nproc-per-node", 1, *options), {}) for options in machines]


def by_srun_on_two_machines(port: str) -> list[tuple[list[str], dict[str, str]]]:
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "127.0.0.1,host4"}
    own = [{"SLURM_PROCID": rank, "SLURM_NODEID": rank, "SLURM_LOCALID": "0", "MASTER_PORT": port} for rank in "01"]
    return [([sys.executable], step | each) for each in own]


def by_hand_on_two_machines(port: str) -> list[tuple[list[str], dict[str, str]]]:
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [([sys.executable], own | {"NODE_RANK": rank}) for rank in "01"]


@pytest.fixture
def asked(tmp_path: Path, drawn: Any) -> Callable[[Mapping[str, Any], str], Run]:
    """``asked(changes, norm)``: a run on 11 pictures, measured on 9."""
    names = [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)]
    learned = Reference("folder", {"path": str(drawn(tmp_path / "learned", names[:-1]))})
    held_out = Reference("folder", {"path": str(drawn(tmp_path / "held out", names[1:-2]))})

    def make(changes: Mapping[str, Any], norm: str = "group") -> Run:
        recipe = Recipe(epochs=2, batch_size=5, learning_rate=0.01).changed(changes)
        return Run(Reference("small-cnn", {"norm": norm, "width": 4}), learned, held_out, ("cat", "dog"), recipe)

    return make


def conduct(
    start: Any, folders: Sequence[Path], run: Run, commands: Sequence[Any], **given: Any
) -> list[tuple[int, str]]:
    """Start a command in each folder; return the status and what is printed of each."""
    for folder in folders:
        (folder / "asked").mkdir(parents=True, exist_ok=True)
        (folder / "asked" / RUN_FILE).write_text(run.to_toml())
        (folder / "train.py").write_text(SCRIPT)
    started = [
        start(
            [*command, "train.py", json.dumps(given)],
            cwd=folder,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for folder, (command, own) in zip(folders, commands, strict=True)
    ]
    return [(each.returncode, said) for each in started for said in [each.communicate()[0]]]


needs_processes = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here"),
]


@pytest.mark.parametrize(
    ("commands", "recipe", "norm", "given"),
    [
        pytest.param(by_torchrun, {}, "batch", {"sync_batch_norm": True}, marks=needs_processes),
        pytest.param(by_torchrun_on_two_machines, {"accumulate": 2}, "group", {}, marks=needs_processes),
        pytest.param(by_srun_on_two_machines, {"clip_norm": 0.1, "ema": 0.5}, "group", {}, marks=needs_processes),
        pytest.param(by_hand_on_two_machines, {"awp": 0.01}, "group", {"nodes": 2}, marks=needs_processes),
    ],
)
def test_two_started_processes_train_as_one(
    asked: Any, start: Any, tmp_path: Path, commands: Any, recipe: Any, norm: str, given: Any
) -> None:
    """A batch of 5 is 3 and 2 signals, and the last of the validation signals is alone in its batch."""
    run = asked(recipe, norm)
    run_training(run, tmp_path / "one", Plugins())
    own = commands(free_port())
    said = conduct(start, [tmp_path / "two"] * len(own), run, own, **given)
    for status, text in said:
        assert status == 0, text
    one, two = load(tmp_path / "one" / LAST), load(tmp_path / "two" / "run" / LAST)
    assert one[0].keys() == two[0].keys()
    for name, tensor in one[0].items():
        torch.testing.assert_close(two[0][name], tensor, rtol=0, atol=1e-5)
    for row, other in zip(one[1]["history"], two[1]["history"], strict=True):
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            assert other[name] == pytest.approx(row[name], abs=1e-5)


@pytest.mark.parametrize("commands", [pytest.param(by_hand_on_two_machines, marks=needs_processes)])
def test_machines_that_do_not_share_the_folder_are_refused(
    asked: Any, start: Any, tmp_path: Path, commands: Any
) -> None:
    run = asked({})
    (tmp_path / "first").mkdir()
    run_training(run, tmp_path / "first" / "run", Plugins())
    folders, how = [tmp_path / "first", tmp_path / "second"], {"devices": 1, "nodes": 2}
    for status, said in conduct(start, folders, run, commands(free_port()), **how):
        assert status == 1
        assert "refused: process 1 has another 'run/last.safetensors' than process 0: expected a folder that" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 1}, "a batch has 1 signals, expected at least one for each of 2 processes"),
        ({"replays": 2}, "a batch has 5 signals, expected a multiple of the number of processes, 2"),
    ],
)
def test_batches_that_cannot_be_divided_are_refused(
    asked: Any, tmp_path: Path, changes: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_fabric.Fabric.world_size", 2)
    with pytest.raises(MetameryError, match=said):
        run_training(asked(changes), tmp_path / "run", Plugins(), Hardware())
