"""`--profile FILE`: a trace of some steps, of the work that comes last."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Said
from metamery.framework import MetameryError
from metamery.framework.profiling import FIRST, PROFILED, Profile
from metamery.framework.progress import ProgressBar


def work(progress: Profile, steps: int, operation: str) -> None:
    progress.start(steps)
    for _ in range(steps):
        getattr(torch, operation)(torch.ones(3))
        progress.advance(2)  # signals, in one step


def operations(path: Path) -> list[str]:
    text = path.read_bytes()
    events = json.loads(gzip.decompress(text) if path.suffix == ".gz" else text)["traceEvents"]
    return [event["name"] for event in events if event.get("cat") == "cpu_op"]


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_some_steps_of_the_last_part_are_in_it(tmp_path: Path, name: str) -> None:
    with Profile(tmp_path / name) as profile:
        work(profile, FIRST + PROFILED + 30, "sin")
        work(profile, FIRST + PROFILED + 30, "cos")
    found = operations(tmp_path / name)
    assert "aten::sin" not in found
    assert found.count("aten::cos") == PROFILED
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_part_that_ends_earlier_is_in_it_as_far_as_it_goes(tmp_path: Path) -> None:
    with Profile(tmp_path / "trace.json") as profile:
        work(profile, FIRST + 3, "sin")
    assert operations(tmp_path / "trace.json").count("aten::sin") == 3


def test_work_of_a_few_steps_has_no_profile(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("an earlier one")
    with (
        pytest.warns(UserWarning, match=f"no profile was written: no part of the work has more than {FIRST} steps"),
        Profile(tmp_path / "trace.json") as profile,
    ):
        work(profile, 5, "sin")
    assert (tmp_path / "trace.json").read_text() == "an earlier one"


@pytest.mark.parametrize(
    ("path", "said"),
    [("trace.txt", "expected a file that ends with .json"), ("absent/trace.json", "there is no folder")],
)
def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path, path: str, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        ProgressBar(profile=tmp_path / path)


def test_the_command_line_writes_one(tmp_path: Path, command: Callable[..., Said]) -> None:
    said = command(
        "synthesise", "audio:coch-cnn-digits", "--stimuli", "audio:spoken-digits", "--limit", "2", "--layers", "relu1",
        "--steps", "50", "-o", str(tmp_path / "study"), "--profile", str(tmp_path / "trace.json.gz"),
    )  # fmt: skip
    assert said.status == 0, said.err
    found = operations(tmp_path / "trace.json.gz")
    assert found.count("aten::convolution_backward") >= PROFILED
